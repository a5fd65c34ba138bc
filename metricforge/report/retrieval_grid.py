"""A picture of queries and their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from PIL import Image, ImageOps

from metricforge.evaluation.context import EvaluationContext
from metricforge.report.save_figure import save_figure
from metricforge.structures import EmbeddingSet

# Everything in inches; y grows downwards.
CELL = 0.92
FRAME = 0.035
COLUMN_GAP = 0.14
ROW_GAP = 0.10
QUERY_GAP = 0.34
LABEL = 0.22
MARGIN = 0.18
HEADER = 0.62
HEADER_LINE = 0.24
LEGEND = 1.84
DOTS_PER_INCH = 200
LONGEST_NAME = 15
TITLE_SIZE = 10.5

RIGHT, WRONG, QUERY, INK, FAINT = "#2e9e5b", "#d1343f", "#3d4451", "#22262e", "#7b8494"


def draw_retrieval_grid(
    images: Callable[[int], Image.Image],
    context: EvaluationContext,
    queries: Sequence[int],
    path: Path | str,
    neighbours: int = 8,
    title: str = "Nearest neighbours",
    gallery_images: Callable[[int], Image.Image] | None = None,
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
    found = context.neighbours(neighbours)
    right = context.hits(neighbours)
    load_found = gallery_images or images

    width = 2 * MARGIN + CELL + QUERY_GAP + neighbours * CELL + (neighbours - 1) * COLUMN_GAP
    bold, plain = FontProperties(weight="bold"), title.replace("$", r"\$")  # no formula
    title_width = TextPath((0, 0), plain, size=TITLE_SIZE, prop=bold).get_extents().width / 72
    legend_below = title_width + 0.3 + LEGEND > width - 2 * MARGIN
    header = HEADER + HEADER_LINE * legend_below
    height = header + len(queries) * (CELL + LABEL) + (len(queries) - 1) * ROW_GAP + MARGIN / 2
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
    for row, query in enumerate(queries):
        top = header + row * (CELL + LABEL + ROW_GAP)
        _cell(axes, images(query), MARGIN, top, QUERY, _class_name(context.queries, query))
        for rank, left in enumerate(left_of):
            index = int(found[query, rank])
            colour = RIGHT if right[query, rank] else WRONG
            _cell(axes, load_found(index), left, top, colour, _class_name(context.gallery, index))
    axes.set(xlim=(0, width), ylim=(height, 0))
    save_figure(figure, path)


def _legend(axes: Axes, left: float, middle: float) -> None:
    for name, colour, offset in (("same class", RIGHT, 0.0), ("another class", WRONG, 0.9)):
        side = (left + offset, middle - 0.06)
        axes.add_patch(Rectangle(side, 0.12, 0.12, facecolor="none", edgecolor=colour, linewidth=2))
        axes.text(left + offset + 0.19, middle, name, fontsize=7.5, color=INK, va="center")


def _cell(axes: Axes, image: Image.Image, left: float, top: float, colour: str, name: str) -> None:
    inner = round((CELL - 2 * FRAME) * DOTS_PER_INCH)
    picture = ImageOps.pad(image.convert("RGB"), (inner, inner), Image.Resampling.BICUBIC, color="#eef0f3")
    axes.add_patch(Rectangle((left, top), CELL, CELL, facecolor=colour, edgecolor="none"))
    right, bottom = left + CELL - FRAME, top + CELL - FRAME
    axes.imshow(picture, extent=(left + FRAME, right, bottom, top + FRAME), zorder=2, aspect="auto")
    shown = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    middle = top + CELL + LABEL / 2
    ink = INK if colour == QUERY else colour
    axes.text(left + CELL / 2, middle, shown, fontsize=6.8, color=ink, ha="center", va="center", parse_math=False)


def _class_name(images: EmbeddingSet, index: int) -> str:
    label = int(images.labels[index])
    return images.class_names[label].replace("_", " ") if images.class_names else f"class {label}"
