"""The ``metricforge`` command."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from metricforge import __version__
from metricforge.cli.arguments import run_command

# Each is a module of this package with ``add_arguments`` and, of the same name, what runs it.
COMMANDS = {
    "train": "train an embedding and evaluate it",
    "test": "evaluate a checkpoint",
    "evaluate": "score embeddings that any tool made",
    "compare": "scores of runs side by side, with confidence intervals",
    "classes": "the worst classes of a run, and those it takes for each other",
    "plot": "draw score distributions or convergence curves",
    "data": "get the published data sets, and look through any",
    "reproduce": "run a paper's table and compare",
    "plugins": "list the installed plug-ins",
}


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and runs the subcommand."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="metricforge", description="Train, measure and serve embeddings.")
    parser.add_argument("--version", action="version", version=f"metricforge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name in argv:  # the others would take seconds and hundreds of megabytes to import
            module = import_module(f"metricforge.cli.{name}")
            command.set_defaults(run=getattr(module, name, None))
            module.add_arguments(command)
    arguments = parser.parse_args(argv)
    run_command(arguments.run, arguments)
