"""The arguments of ``metricforge search``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.index import add_search_arguments
from metricforge.cli.parsers.values import named_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("index", metavar="INDEX", type=named_path, help="an index built by metricforge index")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images to search with: paths or URLs")
    add_search_arguments(parser)
    parser.add_argument("--exact", action="store_true", help="compare every vector, whatever the kind of the index")
    parser.add_argument("--json", action="store_true", help="print one JSON object per query")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
