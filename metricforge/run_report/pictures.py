"""The pictures of a report as PNG files, for slides and papers."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from metricforge.arrays import Floats32
from metricforge.report.chart_style import DOTS_PER_INCH, INK, open_chart
from metricforge.report.html.chart_picture import draw_chart
from metricforge.report.pick_queries import pick_queries
from metricforge.report.retrieval_grid import draw_retrieval_grid
from metricforge.report.save_figure import save_figure
from metricforge.run_report.content import Content
from metricforge.run_report.embedding_map import NO_QUERY, RIGHT, TITLES, WRONG, MapPoints

GRID_QUERIES, GRID_NEIGHBOURS = 8, 8
OUTCOMES = (
    (NO_QUERY, "#a8a9b8", "no query with a match"),
    (RIGHT, "#2e9e5b", "nearest is of its class"),
    (WRONG, "#d1343f", "nearest is of another class"),
)


def write_pictures(content: Content, folder: Path) -> list[Path]:
    """Write every chart, the neighbours of some queries, the maps and the explanations of ``content`` as PNG.

    Args:
        content: gathered, with its pictures.
        folder: where; it is made if it is missing, and files of the same names are replaced.

    Returns:
        The files.
    """
    written = []
    for chart in (chart for charts in content.charts.values() for chart in charts):
        written.append(folder / f"{chart.key}.png")
        draw_chart(chart, written[-1])
    images = content.images
    if images is not None and images.dataset.has_pictures:
        context, dataset = images.context, images.dataset
        written.append(folder / "neighbours.png")
        draw_retrieval_grid(
            lambda query: dataset.load(_id(context.queries.ids, query)),
            context,
            pick_queries(context, min(GRID_QUERIES, int(context.task.has_match.sum())), context.seed),
            written[-1],
            min(GRID_NEIGHBOURS, context.gallery_size),
            dataset.describe(),
            lambda image: dataset.load(_id(context.gallery.ids, image)),
        )
    for name, positions in content.layouts.items():
        assert content.points is not None
        written.append(folder / f"map_{name}.png")
        _draw_map(content.points, positions, TITLES[name], written[-1])
    if content.report["why"]:
        written.append(folder / "why.png")
        _draw_explanations(content.report["why"], written[-1])
    return written


def _id(ids: Any, index: int) -> int:
    return int(ids[index])


def _draw_map(points: MapPoints, positions: Floats32, title: str, path: Path) -> None:
    figure, (axes,) = open_chart(1, f"Map by {title}", f"{len(points.ids):,} images", footer=0.2)
    axes.set_axis_off()
    size = float(np.clip(40_000 / len(positions), 0.3, 24))
    for outcome, colour, name in OUTCOMES:
        chosen = points.outcome == outcome
        if chosen.any():
            along, across = positions[chosen].T
            axes.scatter(along, across, s=size, c=colour, alpha=0.6, linewidths=0, label=name)
    larger = (24 / size) ** 0.5  # so that the legend's points are the same size whatever the map's
    figure.legend(loc="lower center", ncols=3, frameon=False, fontsize=7, labelcolor=INK, markerscale=larger)
    save_figure(figure, path)


def _draw_explanations(pairs: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(8.4, 0.5 + 2.25 * len(pairs)), dpi=DOTS_PER_INCH, facecolor="white")
    grid = figure.subplots(len(pairs), 4, squeeze=False)
    for row, pair in zip(grid, pairs, strict=True):
        shown = [side[kind] for side in pair["sides"] for kind in ("picture", "heat")]
        for axes, encoded in zip(row, shown, strict=True):
            axes.imshow(Image.open(io.BytesIO(b64decode(encoded))))
            axes.set_axis_off()
        kind = "match" if pair["is_match"] else "no match"
        for axes, side in ((row[0], pair["sides"][0]), (row[2], pair["sides"][1])):
            axes.set_title(f"{side['role']}: {side['name']}", fontsize=8, color=INK, loc="left", parse_math=False)
        row[1].set_title(f"{kind}, similarity {pair['similarity']:.3f}", fontsize=8, color=INK, loc="left")
    figure.tight_layout()
    save_figure(figure, path)
