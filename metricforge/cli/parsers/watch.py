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
        help="also serve a page that follows the run, on this port; 0: any free port (default: terminal only)",
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        help="address to serve the page on (default: 127.0.0.1, reachable from this machine only; 0.0.0.0: from "
        "anywhere)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep watching after the run has ended, in case it is resumed"
    )
