"""The checkpoints in a run's folder, by their names."""

from __future__ import annotations

import re
from pathlib import Path


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the periodic checkpoints of a run, newest first, without the best one."""
    files = [
        (int(found[1]), path)
        for path in folder.glob("iter_*.pth")
        if (found := re.fullmatch(r"iter_([0-9]+)", path.stem)) and path.is_file()
    ]
    return [path for _, path in sorted(files, reverse=True)]
