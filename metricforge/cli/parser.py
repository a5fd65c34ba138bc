"""The whole command line as one parser, built without importing torch, scikit-learn or mmengine."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from metricforge import __version__
from metricforge.spelling import guess

# Each has its arguments in ``metricforge.cli.parsers.NAME`` and what runs it in ``metricforge.cli.NAME``, which is
# imported once the command line is known to be right: the parsers must stay cheap to import.
COMMANDS = {
    "train": "train an embedding and evaluate it",
    "submit": "train as a Slurm job, requeued when its time limit is reached",
    "test": "evaluate a checkpoint",
    "embed": "embed a collection of images into files",
    "export": "export a model to a folder (a bundle), optionally as ONNX or TorchScript",
    "evaluate": "score embeddings made by any tool",
    "index": "build a searchable index of images, or change one",
    "search": "find the images of an index that are most similar to a given image",
    "duplicates": "group the images of an index that show the same thing",
    "frontier": "measure the accuracy, size and speed of smaller and approximate indexes",
    "serve": "search an index in a browser, and over HTTP",
    "compare": "compare the scores of runs, with confidence intervals",
    "classes": "list a run's worst classes and the classes it confuses",
    "watch": "follow a run while it trains, in the terminal or as a page",
    "report": "write an HTML report on one run, or comparing two",
    "plot": "draw score distributions, convergence, a map of the embeddings, or scores against a setting",
    "data": "prepare the published benchmarks, index tar shards, and check images for errors",
    "configs": "list the installed configs, or copy one to edit",
    "reproduce": "rerun a table of a paper and compare the figures",
    "plugin": "create a plug-in, or check an installed one",
    "plugins": "list the installed plug-ins",
}


class CommandParser(argparse.ArgumentParser):
    """Says of an unknown argument which command does not have it, with that command's usage and the nearest option.

    argparse leaves unknown arguments to the outermost parser, whose usage names none of the options.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_defaults(parser=self)  # of nested commands the innermost stays

    def parse_command(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse ``words``; the namespace has ``parser``, that of the command which they name."""
        arguments, unknown = self.parse_known_args(words)
        if unknown:
            command: CommandParser = arguments.parser
            options = re.findall(r"(?<![\w-])--?[a-z][\w-]*", command.format_usage())
            command.error(f"unrecognized arguments: {' '.join(unknown)}{guess(unknown[0].partition('=')[0], options)}")
        return arguments


def build_parser() -> CommandParser:
    """Build the parser of ``metricforge`` with every sub-command.

    The parsed arguments have ``run``: the function to call with them, as ``"module:function"``.
    """
    parser = CommandParser(
        prog="metricforge",
        description="Train neural networks that map similar images to nearby embeddings, "
        "measure how well they do it, and put them to use.",
        epilog="metricforge COMMAND --help describes a command.",
    )
    if sys.version_info >= (3, 14):
        parser.suggest_on_error = True  # argparse names the nearest command
    parser.add_argument("--version", action="version", version=f"metricforge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        add_command(command, name)
    return parser


def build_command_parser(name: str, prog: str | None = None) -> CommandParser:
    """Build the parser of one command alone, for a script of its own such as ``tools/train.py``."""
    purpose = COMMANDS[name]
    parser = CommandParser(prog=prog, description=f"{purpose[0].upper()}{purpose[1:]}.")
    add_command(parser, name)
    return parser


def add_command(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments of the command ``name`` to its ``parser``, and what runs it."""
    parser.set_defaults(run=f"metricforge.cli.{name}:{name}")
    import_module(f"metricforge.cli.parsers.{name}").add_arguments(parser)
