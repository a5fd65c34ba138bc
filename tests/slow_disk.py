"""A disk that takes its time for checkpoints, and says when it begins and ends a file."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metricforge import atomic_write as atomic_writes

WRITE_SECONDS = 0.004  # that it takes for each piece of a file
TOLD = "SLOW_DISK_TOLD"  # where this variable names a file, whoever imports this module writes slowly and tells it


class SlowFile(io.BufferedWriter):
    """A file that passes each piece on to the disk at once, and takes its time for it."""

    def write(self, piece: Any) -> int:
        """Write ``piece``, slowly."""
        time.sleep(WRITE_SECONDS)
        count = super().write(piece)
        self.flush()
        return count


def slow_down(tell: Callable[[str, str], None]) -> None:
    """Make this process's disk slow, and ``tell`` which checkpoint "begins" and "ends"."""
    fast, rename = atomic_writes._create, Path.replace

    def create(unfinished: Path, target: Path) -> Any:
        if target.suffix != ".pth":
            return fast(unfinished, target)
        tell("begins", target.name)
        return SlowFile(io.FileIO(unfinished, "x"))  # type: ignore[arg-type]

    def replace(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if target.suffix == ".pth":
            tell("ends", target.name)
        return moved

    atomic_writes._create = create  # type: ignore[assignment]
    Path.replace = replace  # type: ignore[method-assign,assignment]


def _append(what: str, name: str) -> None:
    with Path(os.environ[TOLD]).open("a") as file:
        file.write(f"{what} {name} {os.getpid()}\n")


if TOLD in os.environ:
    slow_down(_append)
