"""The arguments of ``metricforge duplicates``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import finite, named_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("index", metavar="INDEX", type=named_path, help="an index built by metricforge index")
    parser.add_argument(
        "--threshold",
        type=finite,
        metavar="SIMILARITY",
        help="images at least this similar show the same thing (default: the threshold set by metricforge index "
        "calibrate)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per group")
