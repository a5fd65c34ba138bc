"""The arguments of ``metricforge compare``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import file_to_write, score_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, such as runs/pddm_glyphs, or a scores.json by any name"
    )
    parser.add_argument("--scores", type=score_names, metavar="NAMES", help="only these scores, separated by commas")
    parser.add_argument(
        "--resamples",
        type=int,
        default=10_000,
        metavar="N",
        help="number of bootstrap resamples of the classes (default: 10000)",
    )
    parser.add_argument(
        "--level", type=float, default=0.95, metavar="X", help="confidence level of the intervals (default: 0.95)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the bootstrap (default: 0)")
    parser.add_argument(
        "--force", action="store_true", help="also show scores measured in different ways, with a warning"
    )
    parser.add_argument(
        "--json", metavar="FILE", type=file_to_write, help="write the comparison to FILE, in full precision"
    )
