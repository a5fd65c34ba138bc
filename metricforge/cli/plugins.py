"""``metricforge plugins``: which plug-ins are installed, what each registers, or why it failed to load."""

from __future__ import annotations

import argparse
import warnings

from rich.console import Console
from rich.table import Table

from metricforge.plugins import GROUP, load_plugins


def plugins(arguments: argparse.Namespace) -> None:
    """Prints a table of the installed plug-ins."""
    console = Console()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the table says what the warning says
        installed = load_plugins()
    if not installed:
        console.print(f"no plug-in is installed (a plug-in announces itself under the entry-point group {GROUP})")
        return
    table = Table("plug-in", "distribution", "version", "registers")
    for plugin in installed:
        registered = "\n".join(f"{kind} {name}" for kind, name in plugin.registers)
        failed = f"[bold red]failed to load:[/] {plugin.error}"
        table.add_row(plugin.name, plugin.distribution, plugin.version, failed if plugin.error else registered)
    console.print(table)
