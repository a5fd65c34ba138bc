"""The arguments of ``metricforge watch``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import named_path, port_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("folder", metavar="RUN", type=named_path, help="a run's folder, such as runs/pddm_glyphs")
    parser.add_argument(
        "--port",
        type=port_number,
        metavar="N",
        help="also serve a page that follows the run; 0: at a port that is free (default: the terminal alone)",
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="the address to serve the page at (default: 127.0.0.1, which this machine alone reaches; 0.0.0.0: all do)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="go on watching after the run has ended, for one that will be resumed"
    )
