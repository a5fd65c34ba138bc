"""The arguments of ``metricforge reproduce``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.cfg_options import add_cfg_options
from metricforge.cli.parsers.run_arguments import add_device, add_seed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument(
        "table", metavar="TABLE", nargs="?", help="a table, such as normsoftmax-table7 (default: list the tables)"
    )
    parser.add_argument("--list", action="store_true", help="list the tables")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would run and which data or weights are missing, without running anything",
    )
    parser.add_argument(
        "--reduced",
        metavar="glyphs|FOLDER",
        help="run the table's reduced form on Glyphs (nothing to download) or on a folder with a sub-folder per class",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="run only rows whose name contains one of these words, such as cub"
    )
    parser.add_argument(
        "--work-dir",
        metavar="FOLDER",
        default="runs/reproduce",
        help="parent folder of the runs (default: %(default)s)",
    )
    add_seed(parser, "the configs")
    add_device(parser)
    parser.add_argument("--tables", metavar="FILE", help="read the tables from FILE (default: the installed ones)")
    add_cfg_options(parser, "every row's config")
