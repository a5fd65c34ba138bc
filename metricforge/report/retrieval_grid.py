"""A picture of queries and their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from PIL import Image, ImageOps

from metricforge.arrays import Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.report.save_figure import save_figure
from metricforge.report.shown_text import shown_text
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

# Everything in inches; y grows downwards.
CELL = 0.92
FRAME = 0.035
COLUMN_GAP = 0.14
ROW_GAP = 0.10
QUERY_GAP = 0.34
LABEL = 0.22
NUMBER = 0.15
MARGIN = 0.18
HEADER = 0.62
HEADER_LINE = 0.24
LEGEND = 1.84
DOTS_PER_INCH = 200
LONGEST_NAME = 15
TITLE_SIZE = 10.5

RIGHT, WRONG, QUERY, INK, FAINT = "#2e9e5b", "#d1343f", "#3d4451", "#22262e", "#7b8494"

Loader = Callable[[int], Image.Image]


def draw_retrieval_grid(
    images: Loader,
    context: EvaluationContext,
    queries: Sequence[int],
    path: Path | str,
    neighbours: int = 8,
    title: str = "Nearest neighbours",
    gallery_images: Loader | None = None,
    numbers: bool = False,
    rankings: Mapping[str, EvaluationContext] | None = None,
) -> None:
    """Draw a row for each query: its image, then its nearest neighbours, matches framed green and non-matches red.

    Args:
        images: maps the index of a query to its image, such as a data set's ``load``.
        context: gives the neighbours.
        queries: indices of the queries to draw, as ``pick_queries`` returns them.
        path: the picture to write; its ending says the format (.png, .pdf, .svg).
        neighbours: how many to draw for each query, nearest first.
        title: of the whole picture.
        gallery_images: maps a gallery index to its image; needed where the context has a gallery of its own.
        numbers: whether the similarity's score and the Euclidean distance of the embeddings stand below each neighbour;
            by Euclidean similarity the distance alone, by Hamming similarity the number of bits that differ.
        rankings: by name, such as ``{"floats": context, "bits": context.by(HammingSimilarity())}``: a row for each of
            them, one below the other, in place of the one of ``context``.

    Raises:
        ValueError: without queries, for an index out of range, more neighbours than the gallery has, or missing
            ``gallery_images``; or an unknown file ending.
    """
    outside = [query for query in queries if not 0 <= query < len(context.queries)]
    if not queries or outside:
        raise ValueError(
            f"queries must be positions in 0..{len(context.queries) - 1}, at least one, got {outside or list(queries)}"
        )
    if gallery_images is None and not context.searches_itself:
        raise ValueError("gallery_images is needed to draw neighbours, for the gallery is a set of its own")
    named = {"": context} if rankings is None else dict(rankings)
    rows = [_Row(ranking, query, name) for query in queries for name, ranking in named.items()]
    for ranking in named.values():
        ranking.neighbours(neighbours)  # at once, before an image is read

    width = 2 * MARGIN + CELL + QUERY_GAP + neighbours * CELL + (neighbours - 1) * COLUMN_GAP
    bold, plain = FontProperties(weight="bold"), title.replace("$", r"\$")  # no formula
    title_width = TextPath((0, 0), plain, size=TITLE_SIZE, prop=bold).get_extents().width / 72
    legend_below = title_width + 0.3 + LEGEND > width - 2 * MARGIN
    header = HEADER + HEADER_LINE * legend_below
    row_height = CELL + LABEL + NUMBER * numbers
    height = header + len(rows) * row_height + (len(rows) - 1) * ROW_GAP + MARGIN / 2
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    left_of = [MARGIN + CELL + QUERY_GAP + rank * (CELL + COLUMN_GAP) for rank in range(neighbours)]
    size = TITLE_SIZE * min(1, (width - 2 * MARGIN) / max(title_width, 1e-9))
    axes.text(MARGIN, 0.2, title, fontsize=size, fontweight="bold", color=INK, va="center", parse_math=False)
    _legend(axes, *((MARGIN, 0.2 + HEADER_LINE) if legend_below else (width - MARGIN - LEGEND, 0.2)))
    for left, name in zip([MARGIN, *left_of], ["query", *map(str, range(1, neighbours + 1))], strict=True):
        axes.text(left + CELL / 2, header - 0.12, name, fontsize=7.5, color=FAINT, ha="center", va="center")
    for number, row in enumerate(rows):
        top = header + number * (row_height + ROW_GAP)
        _draw_row(axes, row, top, left_of, images, gallery_images or images, numbers)
    axes.set(xlim=(0, width), ylim=(height, 0))
    save_figure(figure, path)


@dataclass(frozen=True)
class _Row:
    """One query as one ranking finds its neighbours."""

    context: EvaluationContext
    query: int
    name: str


def _draw_row(
    axes: Axes, row: _Row, top: float, left_of: Sequence[float], images: Loader, found_images: Loader, numbers: bool
) -> None:
    context, query, count = row.context, row.query, len(left_of)
    found, right = context.neighbours(count)[query], context.hits(count)[query]  # (K,)
    below = _numbers(context, query, found) if numbers else [""] * count
    class_name = _class_name(context.queries, query)
    _cell(axes, images(query), MARGIN, top, QUERY, class_name, row.name and f"by {row.name}")
    for index, is_right, left, text in zip(found.tolist(), right.tolist(), left_of, below, strict=True):
        name = _class_name(context.gallery, index)
        _cell(axes, found_images(index), left, top, RIGHT if is_right else WRONG, name, text)


@torch.no_grad()
def _numbers(context: EvaluationContext, query: int, found: Indices) -> list[str]:
    """Score and distance of each image ``found`` (K,), in words."""
    embedded = [
        torch.from_numpy(np.asarray(images.embeddings[rows], dtype=np.float32)).to(context.device)
        for images, rows in ((context.queries, [query]), (context.gallery, found))
    ]  # (1, D), (K, D)
    scores = context.similarity.score_lists(embedded[0], embedded[1][None])[0].tolist()
    distances = torch.cdist(embedded[0].double(), embedded[1].double())[0].tolist()
    if context.similarity.search == "hamming":
        return [f"{-score:.0f} bit{'s' * (score != -1)} differ{'s' * (score == -1)}" for score in scores]
    if isinstance(context.similarity, EuclideanSimilarity):
        return [f"distance {distance:.3f}" for distance in distances]
    return [f"{score:.3f} · d {distance:.3f}" for score, distance in zip(scores, distances, strict=True)]


def _legend(axes: Axes, left: float, middle: float) -> None:
    for name, colour, offset in (("same class", RIGHT, 0.0), ("another class", WRONG, 0.9)):
        side = (left + offset, middle - 0.06)
        axes.add_patch(Rectangle(side, 0.12, 0.12, facecolor="none", edgecolor=colour, linewidth=2))
        axes.text(left + offset + 0.19, middle, name, fontsize=7.5, color=INK, va="center")


def _cell(axes: Axes, image: Image.Image, left: float, top: float, colour: str, name: str, below: str = "") -> None:
    inner = round((CELL - 2 * FRAME) * DOTS_PER_INCH)
    picture = ImageOps.pad(image.convert("RGB"), (inner, inner), Image.Resampling.BICUBIC, color="#eef0f3")
    axes.add_patch(Rectangle((left, top), CELL, CELL, facecolor=colour, edgecolor="none"))
    right, bottom = left + CELL - FRAME, top + CELL - FRAME
    axes.imshow(picture, extent=(left + FRAME, right, bottom, top + FRAME), zorder=2, aspect="auto")
    middle = top + CELL + LABEL / 2
    ink = INK if colour == QUERY else colour
    centred: dict[str, Any] = dict(ha="center", va="center", parse_math=False)
    axes.text(left + CELL / 2, middle, shown_text(name, LONGEST_NAME), fontsize=6.8, color=ink, **centred)
    if below:
        axes.text(left + CELL / 2, middle + NUMBER, below, fontsize=6.2, color=FAINT, **centred)


def _class_name(images: EmbeddingSet, index: int) -> str:
    label = int(images.labels[index])
    return images.class_names[label].replace("_", " ") if images.class_names else f"class {label}"
