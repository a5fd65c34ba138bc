"""The arguments of ``metricforge configs``."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.cli.parsers.values import named_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.description = "List the installed configs with one line each, or copy one to edit."
    parser.set_defaults(run="metricforge.cli.configs:list_configs")
    commands = parser.add_subparsers(dest="configs_command", metavar="COMMAND", title="commands")
    purpose = "list the installed configs (the default)"
    listing = commands.add_parser("list", help=purpose, description="List the installed configs.")
    listing.set_defaults(run="metricforge.cli.configs:list_configs")
    copying = commands.add_parser(
        "copy",
        help="copy a config and its bases, to edit them",
        description="Copy a config and the bases it builds on, to edit them. Files that differ are never overwritten, "
        "unless --force says so.",
    )
    copying.add_argument("name", metavar="NAME", help="an installed config, such as normsoftmax_folder")
    copying.add_argument(
        "--out",
        type=named_path,
        default=Path(),
        metavar="FOLDER",
        help="where to copy it (default: the current folder)",
    )
    copying.add_argument("--force", action="store_true", help="overwrite files that differ")
    copying.set_defaults(run="metricforge.cli.configs:copy")
