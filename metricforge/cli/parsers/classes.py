"""The arguments of ``metricforge classes``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import at_least_1, file_to_write, named_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument(
        "evaluated", metavar="RUN", type=named_path, help="a run's folder, or a scores.json by any name"
    )
    parser.add_argument(
        "--score", metavar="NAME", help="score to sort the classes by, such as map@r (default: the run's first)"
    )
    parser.add_argument("--worst", type=at_least_1, default=10, metavar="N", help="number of classes (default: 10)")
    parser.add_argument("--pairs", type=at_least_1, default=10, metavar="N", help="number of pairs (default: 10)")
    parser.add_argument("--csv", type=file_to_write, metavar="FILE", help="write every score of every class to FILE")
    parser.add_argument(
        "--json", type=file_to_write, metavar="FILE", help="write the same, and every confused pair, to FILE"
    )
