"""``metricforge train CONFIG``: trains, evaluates, and says where the results are."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from rich.console import Console

from metricforge.cli.arguments import add_run_arguments, run_command
from metricforge.report import print_scores
from metricforge.runner import build_runner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_run_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the run's folder")


def train(arguments: argparse.Namespace) -> None:
    """Trains what the config describes; ends with a table of scores and the next commands to try."""
    console = Console(quiet=os.environ.get("RANK", "0") != "0")
    with console.status("looking at the config and the data"):
        runner = build_runner(
            arguments.config,
            overrides=arguments.cfg_options,
            work_dir=arguments.work_dir,
            resume=arguments.resume,
            seed=arguments.seed,
            device=arguments.device,
            console=console,
        )
    runner.describe()
    runner.train()
    if not runner.processes.is_main:
        return
    console.print()
    rows = {**runner.baseline_scores, f"trained, {runner.trained_epochs} epochs": runner.last_scores}
    if runner.last_scores:
        print_scores(console, rows)
    folder, config = runner.run_dir, Path(arguments.config)
    best = folder / "best.pth"
    weights = best if best.exists() else folder / runner.newest_checkpoint_name()
    python = _python_to_type()
    console.print(
        f"\nThe run is in {folder}: scores.json, {weights.name}, {config.name} with all overrides, and the log.\n"
        "Try next:\n"
        f"  {python} tools/test.py {folder / config.name} {weights} --picture {folder / 'neighbours.png'}\n"
        f"  {python} tools/train.py {folder / config.name} --seed 1",
        highlight=False,
        soft_wrap=True,
    )


def _python_to_type() -> str:
    """``python`` where that is the interpreter at work, else the path that leads to it from here."""
    found = shutil.which("python")
    if found and Path(found) == Path(sys.executable):
        return "python"
    return os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable


def main() -> None:
    """The script ``tools/train.py``."""
    parser = argparse.ArgumentParser(description="Train an embedding and evaluate it.")
    add_arguments(parser)
    run_command(train, parser.parse_args())
