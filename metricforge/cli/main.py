"""The ``metricforge`` command."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pkgutil import resolve_name

from metricforge.cli.parser import build_command_parser, build_parser
from metricforge.cli.parsers.index import with_verb
from metricforge.cli.run_command import run_command
from metricforge.cli.stopped import queued_again


def main(argv: list[str] | None = None, *, command: str | None = None) -> None:
    """Parse the command line and run what it asks for.

    Args:
        argv: the arguments; by default those of this process.
        command: the only command, for a script of its own; by default the first argument says which.
    """
    words = sys.argv[1:] if argv is None else argv

    def parse_and_run() -> None:
        if command is None:
            arguments = build_parser().parse_command(with_verb(words))
        else:
            arguments = build_command_parser(command).parse_command(words)
        with queued_again() if (command or arguments.command) == "train" else nullcontext():
            run = resolve_name(arguments.run)  # imports what it needs, which takes seconds
        run(arguments)

    run_command(parse_and_run)
