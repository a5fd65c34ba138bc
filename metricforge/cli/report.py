"""``metricforge report RUN [RUN2]``: everything worth a look about a run, or two, as one HTML file."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Literal

from metricforge.cli.console import open_console
from metricforge.errors import ComparisonError, MetricForgeError

EXTRA = ("captum", "jinja2", "plotly", "umap")
MAPS: dict[str, tuple[Literal["umap", "tsne"], ...]] = {
    "both": ("umap", "tsne"),
    "umap": ("umap",),
    "tsne": ("tsne",),
    "none": (),
}


def report(arguments: argparse.Namespace) -> None:
    """Write the report, and say where it is."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise MetricForgeError(
            f"metricforge report needs {', '.join(missing)}, which the extra report installs: "
            "pip install 'metricforge[report]' (in a clone: pip install '.[report]')"
        )
    from metricforge.run_report.write_report import write_report

    if len(arguments.runs) > 2:
        raise ComparisonError(
            f"a report is of one run or of two, got {len(arguments.runs)}; `metricforge compare` takes any number"
        )
    if arguments.training_images and arguments.maps == "none":
        raise MetricForgeError(
            f"--training-images {arguments.training_images}: are for the map, and --map none draws none; leave one out"
        )
    first = arguments.runs[0]
    console = open_console()
    out = write_report(
        arguments.runs,
        arguments.out or (first if first.is_dir() else first.parent) / "report.html",
        queries=arguments.queries,
        png=arguments.png,
        maps=MAPS[arguments.maps],
        **({} if arguments.training_images is None else {"training_images": arguments.training_images}),
        device=arguments.device,
        overrides=arguments.cfg_options,
        force=arguments.force,
        console=console,
    )
    if arguments.png is not None:
        console.print(f"pictures in {arguments.png}", highlight=False, markup=False, soft_wrap=True)
    size = out.stat().st_size / 1e6
    console.print(f"written to {out} ({size:.1f} MB); open it in a browser", highlight=False, soft_wrap=True)
