"""The arguments of ``metricforge test``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.run_arguments import add_checkpoint, add_config, add_run_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_config(parser)
    add_checkpoint(parser)
    add_run_arguments(parser, "where the results are written (default: the checkpoint's folder)")
    parser.add_argument(
        "--picture", metavar="FILE", help="draw some queries with their nearest images, matches and non-matches"
    )
