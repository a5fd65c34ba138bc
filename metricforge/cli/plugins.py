"""``metricforge plugins``: which plug-ins are installed, what each registers, or why it failed to load."""

from __future__ import annotations

import argparse
import warnings
from itertools import groupby

from rich.table import Table
from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.plugins import GROUP, Plugin, load_plugins

# A plug-in may register dozens of one kind, which would push the others off the screen.
LISTED = 3


def plugins(arguments: argparse.Namespace) -> None:
    """Print a table of the installed plug-ins, or with ``--all`` a line for each of their components."""
    console = open_console()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the table says what the warning says
        installed = load_plugins()
    if not installed:
        console.print(f"no plug-in is installed (a plug-in announces itself under the entry-point group {GROUP})")
        return
    if arguments.all:
        for plugin in installed:
            for kind, name in plugin.registers:
                print(plugin.name, kind, name)
            for note in plugin.notes:
                print(plugin.name, note)
            if plugin.error:
                print(plugin.name, "failed to load:", plugin.error)
        return
    table = Table("plug-in", "distribution", "version", "registers")
    for plugin in installed:
        failed = Text.assemble(("failed to load:", "bold red"), f" {plugin.error}")
        told = failed if plugin.error else Text(_summary(plugin))
        for note in plugin.notes:
            told.append(f"\n{note}", style="yellow")
        table.add_row(plugin.name, plugin.distribution, plugin.version, told)
    console.print(table)


def _summary(plugin: Plugin) -> str:
    """What ``plugin`` registers, a line for each; of a kind with many, only how many."""
    lines = []
    for kind, entries in groupby(plugin.registers, key=lambda entry: entry[0]):
        names = [name for _, name in entries]
        lines += (
            [f"{kind} {name}" for name in names] if len(names) <= LISTED else [f"{kind}: {len(names)} names, see --all"]
        )
    return "\n".join(lines)
