"""``write_report``: from one or two runs to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from metricforge.atomic_write import check_writable, write_atomically
from metricforge.comparison import compare_runs
from metricforge.errors import ComparisonError
from metricforge.report.html import render_page
from metricforge.report.run_names import run_names
from metricforge.run_report.content import Content
from metricforge.run_report.embedding_map import Method
from metricforge.run_report.opened_run import open_run
from metricforge.run_report.pictures import write_pictures

QUERIES = 240
TRAINING_IMAGES = 2000
MAPS: tuple[Method, ...] = ("umap", "tsne")


def write_report(
    runs: Sequence[Path | str],
    out: Path | str,
    *,
    queries: int = QUERIES,
    maps: Sequence[Method] = MAPS,
    training_images: int = TRAINING_IMAGES,
    png: Path | str | None = None,
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    force: bool = False,
    console: Console | None = None,
) -> Path:
    """Write a report of one run, or of two side by side, into the file ``out``, which needs nothing beside it.

    The numbers are those of each run's ``scores.json``; pictures, map and neighbours come from embedding the test
    images again with the weights that were scored.

    Args:
        runs: one or two folders of runs or of evaluations, or ``scores.json`` files.
        out: the HTML file.
        queries: how many queries its gallery shows at most.
        maps: layouts of its map, "umap" and "tsne"; none: no map.
        training_images: about how many images of training classes, of whole classes, stand on the map of the first run.
        png: a folder for the same pictures as PNG files; None: none.
        device: "cpu", "cuda", ...; by default a GPU if there is one.
        overrides: values to use instead of those of the runs' configs.
        force: also compare scores that were measured in different ways.
        console: where progress is shown; by default nowhere.

    Returns:
        ``out``.

    Raises:
        ComparisonError: for no run or more than two, one without scores, or two that were not measured alike.
        MetricForgeError: for what a run refers to and that is not as it was.
        OSError: if ``out`` cannot be written; nothing is computed then.
    """
    if not 1 <= len(runs) <= 2:
        raise ComparisonError(f"runs must be one run, or two to compare, got {len(runs)}")
    shown = Console(quiet=True) if console is None else console

    def status(doing: str) -> AbstractContextManager[Any]:
        return shown.status(doing) if shown.is_terminal else nullcontext()

    with status("comparing scores"):
        comparison = compare_runs(runs, force=force)
    check_writable(out)
    opened = [
        open_run(
            Path(run),
            name,
            shown,
            device=device,
            overrides=overrides,
            training_images=training_images if maps and not number else 0,
        )
        for number, (run, name) in enumerate(zip(runs, run_names(runs), strict=True))
    ]
    for run in opened:
        if run.missing:
            shown.print(f"{run.name}: {run.missing}", highlight=False, markup=False, soft_wrap=True)
    content = Content(opened, comparison, status)
    content.add_pictures(queries, maps)
    if png is not None:
        with status("drawing pictures"):
            write_pictures(content, Path(png))
    text = render_page(*content.finish())
    write_atomically(out, text)
    return Path(out)
