"""One spelling of a path, from whatever folder it is named."""

from __future__ import annotations

from pathlib import Path


def absolute_path(path: Path) -> Path:
    """``path`` from the root and without "..", of which a link before it may change the meaning."""
    parts = path.absolute().parts
    if ".." not in parts:
        return path.absolute()
    end = len(parts) - parts[::-1].index("..")  # links behind it keep their name
    return Path(*parts[:end]).resolve().joinpath(*parts[end:])
