"""``metricforge configs`` and ``metricforge configs copy NAME``: the installed configs, and copies to edit."""

from __future__ import annotations

import argparse

from metricforge.cli.console import open_console
from metricforge.cli.next_command import next_command
from metricforge.config_copy import copy_config
from metricforge.config_files import installed_configs


def list_configs(arguments: argparse.Namespace) -> None:
    """Print every installed config with its purpose."""
    configs = installed_configs()
    width = max(len(config.name) for config in configs)
    for config in configs:
        print(f"{config.name:{width}}  {config.purpose}".rstrip())


def copy(arguments: argparse.Namespace) -> None:
    """Copy the config, say which files were written, and how to train with it."""
    copied, written = copy_config(arguments.name, arguments.out, overwrite=arguments.force)
    console = open_console()
    lines = [f"wrote {path}" for path in written] or [f"{copied} and its bases are there already, unchanged"]
    shown = copied if copied.parent.name else f"./{copied}"
    lines += ["Try next:", f"  {next_command('train', shown)}"]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
