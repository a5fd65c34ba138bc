"""The pictures of a report as entries of a tracker, while a run trains."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from mmengine.hooks import Hook
from PIL import Image

from metricforge.registry import HOOKS

QUERIES, NEIGHBOURS = 8, 8


@HOOKS.register_module()
class PictureHook(Hook):
    """Hands pictures to the back-ends of the config's ``visualizer``: TensorBoard, Weights & Biases, MLflow.

    After each validation come queries with their nearest images, the similarities of pairs and the ROC curve
    (``validation/neighbours``, ...), all of the validation classes; after the test, all that ``metricforge report
    --png`` draws (``test/neighbours``, ``test/map_umap``, ``test/classes``, ...).

    Args:
        interval: validations between two that are drawn; 0: only the test is.
        maps: how the embeddings of the test are laid out, which takes most of the time: "umap", "tsne", "both", "none".

    Raises:
        ValueError: for another value.
    """

    priority = "LOW"  # after what writes scores and history

    def __init__(self, interval: int = 1, maps: Literal["umap", "tsne", "both", "none"] = "umap") -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 0:
            raise ValueError(f"interval must be a whole number >= 0, got {interval!r}")
        if maps not in ("umap", "tsne", "both", "none"):
            raise ValueError(f'maps must be "umap", "tsne", "both" or "none", got {maps!r}')
        self.interval = interval
        self.maps = maps
        self._validations = 0

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        context = runner.val_loop.context
        self._validations += 1
        if not runner.trains_now or not self.interval or self._validations % self.interval or context is None:
            return
        from metricforge.report.html.chart_picture import draw_chart
        from metricforge.report.pick_queries import pick_queries
        from metricforge.report.retrieval_grid import draw_retrieval_grid
        from metricforge.run_report.pairs_part import pair_charts, sample_pairs

        dataset = runner.val_dataloader.dataset
        with TemporaryDirectory() as name:
            folder = Path(name)
            if dataset.has_pictures:
                draw_retrieval_grid(
                    lambda query: dataset.load(int(context.queries.ids[query])),
                    context,
                    pick_queries(context, min(QUERIES, int(context.task.has_match.sum())), context.seed),
                    folder / "neighbours.png",
                    min(NEIGHBOURS, context.gallery_size),
                    dataset.describe(),
                    lambda image: dataset.load(int(context.gallery.ids[image])),
                )
            pairs = sample_pairs(context)
            for chart in [] if pairs is None else pair_charts(pairs, ""):
                draw_chart(chart, folder / f"{chart.key}.png")
            _hand_over(runner, folder, "validation", runner.iter)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        context = runner.test_loop.context
        if not runner.trains_now or context is None:
            return
        from metricforge.comparison import compare_runs, read_run
        from metricforge.run_records.history import read_history
        from metricforge.run_report.content import Content
        from metricforge.run_report.opened_run import OpenedRun, TestImages
        from metricforge.run_report.pictures import write_pictures

        images = TestImages(runner.test_dataloader.dataset, runner.model, context)
        folder = runner.run_dir
        opened = OpenedRun(folder.name, read_run(folder), read_history(folder), None, images)
        content = Content([opened], compare_runs([folder]), lambda doing: nullcontext())
        wanted: dict[str, tuple[Literal["umap", "tsne"], ...]] = {
            "umap": ("umap",),
            "tsne": ("tsne",),
            "both": ("umap", "tsne"),
            "none": (),
        }
        content.add_pictures(QUERIES, wanted[self.maps])
        with TemporaryDirectory() as name:
            write_pictures(content, Path(name))
            _hand_over(runner, Path(name), "test", runner.scored.iterations)


def _hand_over(runner: Any, folder: Path, kind: str, iteration: int) -> None:
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            runner.visualizer.add_image(f"{kind}/{path.stem}", np.asarray(picture.convert("RGB")), step=iteration)
