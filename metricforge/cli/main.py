"""The ``metricforge`` command."""

from __future__ import annotations

from pkgutil import resolve_name

from metricforge.cli.parser import build_command_parser, build_parser
from metricforge.cli.run_command import run_command


def main(argv: list[str] | None = None, *, command: str | None = None) -> None:
    """Parse the command line and run what it asks for.

    Args:
        argv: the arguments; by default those of this process.
        command: the only command, for a script of its own; by default the first argument says which.
    """
    parser = build_parser() if command is None else build_command_parser(command)
    arguments = parser.parse_args(argv)
    run_command(lambda: resolve_name(arguments.run)(arguments))
