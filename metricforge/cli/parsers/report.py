"""The arguments of ``metricforge report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.cli.parsers.cfg_options import add_cfg_options
from metricforge.cli.parsers.run_arguments import add_device
from metricforge.cli.parsers.values import at_least_0, at_least_1, file_to_write, named_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.usage = "metricforge report RUN [RUN2] [options]"
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        type=named_path,
        help="a run's folder, such as runs/pddm_glyphs, an evaluation's folder, or a scores.json; a second one is "
        "compared with the first",
    )
    parser.add_argument(
        "--out", type=_html, metavar="FILE", help="the report, ending in .html (default: report.html in RUN)"
    )
    parser.add_argument("--png", type=named_path, metavar="FOLDER", help="also write the same pictures as PNG files")
    parser.add_argument(
        "--queries",
        type=at_least_1,
        default=240,
        metavar="N",
        help="number of queries to include (default: %(default)s)",
    )
    parser.add_argument(
        "--map",
        dest="maps",
        choices=["both", "umap", "tsne", "none"],
        default="both",
        help="layout of the map of the embeddings, which takes most of the time (default: %(default)s)",
    )
    parser.add_argument(
        "--training-images",
        type=at_least_0,
        metavar="N",
        help="approximate number of training images to add to the map; 0: none (default: 2000)",
    )
    parser.add_argument(
        "--force", action="store_true", help="also compare scores measured in different ways, with a warning"
    )
    add_device(parser)
    add_cfg_options(parser, "the runs' configs")


def _html(text: str) -> Path:
    path = file_to_write(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(f"{text}: must end in .html")
    return path
