"""The arguments of ``metricforge plugin``."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.cli.parsers.values import named_path

# what metricforge.plugin_kit has templates for; that package is slow to import
KINDS = (
    "backbone",
    "clustering",
    "dataset",
    "evaluator",
    "head",
    "hook",
    "loss",
    "miner",
    "sampler",
    "similarity",
    "transform",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments to ``parser``."""
    commands = parser.add_subparsers(dest="plugin_command", required=True, metavar="COMMAND", title="commands")
    purpose = "create a new plug-in: package, entry point, test, config and README"
    new = commands.add_parser("new", help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    new.add_argument("name", metavar="NAME", help="name of the component, such as ShopLoss or shop-loss")
    new.add_argument(
        "--kind", required=True, choices=KINDS, metavar="KIND", help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
    )
    new.add_argument(
        "--out", type=named_path, default=Path(), metavar="FOLDER", help="parent folder (default: the current folder)"
    )
    new.set_defaults(run="metricforge.cli.plugin:new")
    purpose = "check everything that an installed plug-in registers against the contract of its kind"
    check = commands.add_parser("check", help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    check.add_argument(
        "name", metavar="NAME", help="entry point or distribution of the plug-in, as listed by metricforge plugins"
    )
    check.set_defaults(run="metricforge.cli.plugin:check")
