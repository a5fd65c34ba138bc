"""What a command prints to try next: a line that works where it is printed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def next_command(*words: object) -> str:
    """``metricforge`` with ``words``, quoted as a shell needs it, by a path or ``python -m`` if it has to be."""
    return f"{_program()} {shlex.join(str(word) for word in words)}"


def _program() -> str:
    python = Path(sys.executable)
    found = shutil.which("metricforge")
    if found and Path(found).parent == python.parent:
        return "metricforge"
    found = shutil.which("python")
    if found and Path(found) == python:
        return "python -m metricforge"
    near = python.is_relative_to(Path.cwd())
    return f"{shlex.quote(os.path.relpath(python) if near else str(python))} -m metricforge"
