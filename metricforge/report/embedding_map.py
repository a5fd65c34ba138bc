"""A map of embeddings: images that the model finds alike lie side by side, as thumbnails."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from scipy.spatial import cKDTree
from sklearn.manifold import TSNE

from metricforge.arrays import Floats, Floats32, Indices
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.context import EvaluationContext
from metricforge.functional import check_at_least, check_count
from metricforge.report.chart_style import FAINT, INK
from metricforge.report.save_figure import save_figure

INCHES = 12.0  # of the map's longer side
DOTS_PER_INCH = 200
MARGIN, HEADER = 0.25, 0.75
FREE_CELLS = 2.4  # cells of the grid for each image: how much room there is between groups
FEWEST = 5


def pick_images(context: EvaluationContext, count: int, classes: int | None = None, seed: int = 0) -> Indices:
    """``count`` random images of the gallery, of at most ``classes`` random classes; all where there are no more.

    Raises:
        ValueError: for ``count`` or ``classes`` below 1.
    """
    check_count("count", count)
    generator = np.random.default_rng(seed)
    labels = context.gallery.labels
    chosen = np.arange(len(labels))
    if classes is not None:
        check_count("classes", classes)
        present = np.unique(labels)
        kept = generator.choice(present, min(classes, len(present)), replace=False)
        chosen = np.flatnonzero(np.isin(labels, kept))
    return np.sort(generator.permutation(chosen)[:count])


def draw_embedding_map(
    images: Callable[[int], Image.Image],
    context: EvaluationContext,
    chosen: Indices,
    path: Path | str,
    perplexity: float = 30.0,
    title: str = "Map of the embeddings",
    seed: int = 0,
) -> None:
    """Lay the ``chosen`` images out by t-SNE of their embeddings, and draw each as a thumbnail.

    van der Maaten, "Accelerating t-SNE using Tree-Based Algorithms" (JMLR 2014), by scikit-learn, from the first two
    principal components on, as Oh Song et al. (CVPR 2016) show theirs. Distances are Euclidean, of embeddings prepared
    as the similarity prepares them: by cosine similarity normalised. Each thumbnail is moved to the nearest free cell
    of a grid, so that none hides another.

    Args:
        images: maps a gallery index to its image.
        context: gives the embeddings, those of its gallery.
        chosen: gallery indices (N,), as ``pick_images`` returns them.
        path: the picture to write; its ending says the format (.png, .pdf, .svg).
        perplexity: how many neighbours each image has, about; at most a third of the images is taken.
        title: of the picture.
        seed: of t-SNE.

    Raises:
        EmbeddingsError: for fewer than 5 images.
        ValueError: for a perplexity that is not above 0, or an unknown ending.
    """
    if len(chosen) < FEWEST:
        raise EmbeddingsError(f"a map needs at least {FEWEST} images, got {len(chosen)}")
    check_at_least("perplexity", perplexity, 0, open_end=True)
    taken = min(perplexity, (len(chosen) - 1) / 3)
    points = _project(_prepared(context, chosen), taken, seed)  # (N, 2)
    columns, rows, cells = _free_cells(points)

    side = INCHES / max(columns, rows)
    width, height = columns * side + 2 * MARGIN, rows * side + HEADER + MARGIN
    figure = Figure(figsize=(max(width, 5.0), height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    pixels = max(8, round(0.94 * side * DOTS_PER_INCH))
    for index, (column, row) in zip(chosen.tolist(), cells.tolist(), strict=True):
        thumbnail = ImageOps.fit(images(index).convert("RGB"), (pixels, pixels), Image.Resampling.BICUBIC)
        left, top = MARGIN + (column + 0.03) * side, HEADER + (row + 0.03) * side
        axes.imshow(thumbnail, extent=(left, left + 0.94 * side, top + 0.94 * side, top), aspect="auto")
    axes.text(MARGIN, 0.26, title, fontsize=12.5, weight="bold", color=INK, va="center")
    classes = len(np.unique(context.gallery.labels[chosen]))
    told = f"t-SNE of {len(chosen):,} images of {classes:,} classes, perplexity {taken:g}"
    axes.text(MARGIN, 0.5, told, fontsize=9, color=FAINT, va="center")
    axes.set(xlim=(0, max(width, 5.0)), ylim=(height, 0))
    save_figure(figure, path)


@torch.no_grad()
def _prepared(context: EvaluationContext, chosen: Indices) -> Floats32:
    rows = torch.from_numpy(np.asarray(context.gallery.embeddings[chosen], dtype=np.float32)).to(context.device)
    return context.similarity.prepare(rows).float().cpu().numpy()  # (N, D)


def _project(embeddings: Floats32, perplexity: float, seed: int) -> Floats:
    """Two coordinates (N, 2) for each embedding, in 0..1 along the longer side."""
    start = "pca" if min(embeddings.shape) >= 2 else "random"
    projection = TSNE(perplexity=perplexity, init=start, random_state=seed, learning_rate="auto")
    points = projection.fit_transform(embeddings).astype(np.float64)
    points -= points.min(axis=0)
    return points / max(points.max(), 1e-12)


def _free_cells(points: Floats) -> tuple[int, int, Indices]:
    """The size of a grid, and the cell (N, 2) of each of ``points`` (N, 2): the nearest that is still free.

    Those in the middle of the map come first, so that a crowd is pushed outwards on all sides.
    """
    spread = np.maximum(points.max(axis=0), 0.25)  # (2,)
    across = math.sqrt(FREE_CELLS * len(points) / spread.prod())  # cells along 1
    columns, rows = (max(1, math.ceil(across * extent)) for extent in spread)
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij"), axis=-1).reshape(-1, 2)
    wanted = points / spread * np.array([columns - 1, rows - 1])  # (N, 2)
    order = np.argsort(np.square(wanted - wanted.mean(axis=0)).sum(axis=1), kind="stable")
    tree = cKDTree(centres)
    free = np.ones(len(centres), dtype=bool)
    cells = np.empty((len(points), 2), dtype=np.int64)
    for point in order:
        among = 16
        while True:
            near = np.atleast_1d(tree.query(wanted[point], k=min(among, len(centres)))[1])
            open_cells = near[free[near]]
            if len(open_cells):
                break
            among *= 4
        free[open_cells[0]] = False
        cells[point] = centres[open_cells[0]]
    return columns, rows, cells
