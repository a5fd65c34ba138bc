"""The terminal of the commands, in which text is text: names of folders, classes and files are no markup."""

from __future__ import annotations

from rich.console import Console


def open_console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """A console that prints ``[bold]x`` and ``:smile:`` as they are; what is to be bold is given as rich's ``Text``."""
    return Console(quiet=quiet, stderr=stderr, markup=False, emoji=False)
