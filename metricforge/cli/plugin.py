"""``metricforge plugin``: begin a plug-in from a template, or check one that is installed."""

from __future__ import annotations

import argparse
import warnings

from rich.table import Table
from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.errors import PluginError
from metricforge.plugin_kit import check_plugin, new_plugin
from metricforge.plugin_kit.new_plugin import plugin_names


def new(arguments: argparse.Namespace) -> None:
    """Write the folder of a new plug-in, and say what to do with it."""
    folder = new_plugin(arguments.name, arguments.kind, arguments.out)
    names = plugin_names(arguments.name)
    noun = arguments.kind.replace("dataset", "data set")
    print(
        f"{folder} has a working {noun}, {names.class_name}, in {names.package}/{names.entry}.py. Next:\n"
        f"  pip install -e {folder}\n"
        f"  python -m pytest {folder}\n"
        f"  metricforge plugin check {names.entry}\n"
        f"  metricforge train {names.package}::{names.entry}_glyphs"
    )


def check(arguments: argparse.Namespace) -> None:
    """Print a table of the components of a plug-in and whether each keeps the contract.

    Raises:
        PluginError: if one does not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="(?s)plug-in .* failed to load"
        )  # the error says it, if it is this one
        checks = check_plugin(arguments.name)
    table = Table("kind", "type", "contract")
    for each in checks:
        told = Text("broken: ", style="bold red").append(each.fault, style="default") if each.fault else Text("kept")
        table.add_row(each.kind, each.name, told)
    open_console().print(table)
    broken = sum(bool(each.fault) for each in checks)
    if broken:
        raise PluginError(f"{broken} of {len(checks)} components of {arguments.name} break the contract")
