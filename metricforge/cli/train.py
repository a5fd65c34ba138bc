"""``metricforge train CONFIG``: train, evaluate, and say where the results are."""

from __future__ import annotations

import argparse
import os
import sys

from metricforge.cli.console import open_console
from metricforge.cli.interruption import ends_soon, resume_command
from metricforge.cli.next_command import next_command
from metricforge.cli.replay import replay
from metricforge.cli.stopped import queued_again
from metricforge.config_files import find_config
from metricforge.engine.metric_runner import MetricRunner
from metricforge.errors import TrainingStopped
from metricforge.report.score_table import print_scores
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.runner import build_runner


def train(arguments: argparse.Namespace) -> None:
    """Train what the config describes; end with a table of scores and the next commands to try."""
    console = open_console(quiet=os.environ.get("RANK", "0") != "0")
    if arguments.replay:
        replay(arguments, console)
        return
    with queued_again():
        with console.status("looking at the config and the data"):
            runner = build_runner(
                arguments.config,
                overrides=arguments.cfg_options,
                work_dir=arguments.work_dir,
                resume=arguments.resume,
                allow_changes=arguments.allow_changes,
                seed=arguments.seed,
                device=arguments.device,
                console=console,
            )
        runner.describe()
    _train(runner, arguments)
    if not runner.processes.is_main:
        return
    console.print()
    chosen = f"trained, {runner.scored.epochs} of {runner.epoch} epoch{'s' if runner.epoch != 1 else ''}"
    if runner.scored.layer is not None:
        chosen = f"chosen: {runner.scored.layer}"
    rows = {**runner.baseline_scores, chosen: runner.last_scores}
    if runner.last_scores:
        print_scores(console, rows)
    folder, weights = runner.run_dir, runner.scored.file
    takes_images = runner.model.backbone.takes_images
    pictures = ("--picture", folder / "neighbours.png") if takes_images else ()
    config = folder / find_config(arguments.config).name
    console.print(
        f"\nThe run is in {folder}: scores.json, {weights.name}, {config.name} with all overrides, and the log.\n"
        "Try next:\n"
        f"  {next_command('report', folder)}\n  {next_command('test', config, weights, *pictures)}\n"
        f"  {next_command('train', config, '--seed', 1)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _train(runner: MetricRunner, arguments: argparse.Namespace) -> None:
    """Train; if that is interrupted, say how to go on."""

    def say_interrupted() -> None:
        if runner.processes.is_main:
            saved = checkpoint_files(runner.run_dir)
            kept = f"{saved[0]} is saved, what came after it is not" if saved else "nothing was saved yet"
            print(f"\ninterrupted after {runner.iter:,} updates; {kept}", file=sys.stderr)
            _say_how_to_go_on(runner, arguments)

    try:
        with ends_soon(say_interrupted):
            runner.train()
    except TrainingStopped as stop:
        if runner.processes.is_main:
            _say_how_to_go_on(runner, arguments)
        sys.exit(stop.exit_code)


def _say_how_to_go_on(runner: MetricRunner, arguments: argparse.Namespace) -> None:
    print(f"go on with\n  {resume_command(arguments, runner.run_dir)}", file=sys.stderr)
