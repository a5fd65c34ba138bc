"""``metricforge compare RUN RUN ...``: scores side by side, with intervals, if they were measured the same way."""

from __future__ import annotations

import argparse
import json

from metricforge.atomic_write import write_atomically
from metricforge.cli.console import open_console
from metricforge.comparison import compare_runs, print_run_comparison


def compare(arguments: argparse.Namespace) -> None:
    """Print the table, and below it what it does not show and why."""
    console = open_console()
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
