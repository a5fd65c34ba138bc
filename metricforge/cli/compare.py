"""``metricforge compare RUN RUN ...``: scores side by side, with intervals, if they were measured the same way."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from metricforge.atomic_write import write_atomically
from metricforge.cli.arguments import score_names
from metricforge.comparison import compare_runs, print_run_comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, such as runs/pddm_glyphs, or a scores.json by any name"
    )
    parser.add_argument("--scores", type=score_names, metavar="NAMES", help="only these, with commas between them")
    parser.add_argument(
        "--resamples", type=int, default=10_000, help="how often classes are drawn for an interval (default: 10000)"
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--force", action="store_true", help="show also what was measured differently, flagged")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all of it there, to the last digit")


def compare(arguments: argparse.Namespace) -> None:
    """Prints the table, and below it what it does not show and why."""
    console = Console()
    with console.status("drawing classes"):
        comparison = compare_runs(
            arguments.runs,
            arguments.scores,
            arguments.resamples,
            arguments.level,
            arguments.seed,
            arguments.force,
        )
    print_run_comparison(console, comparison)
    if arguments.json:
        text = json.dumps(comparison.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(arguments.json, text + "\n")
        console.print(f"written to {arguments.json}", highlight=False, markup=False, soft_wrap=True)
