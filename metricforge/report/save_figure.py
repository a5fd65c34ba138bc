"""A figure to a file that is at any moment the old one or the whole new one."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def picture_formats() -> list[str]:
    """The endings that a picture's file may have, without the dot."""
    return sorted(FigureCanvasAgg.get_supported_filetypes())


def save_figure(figure: Figure, path: Path | str) -> None:
    """Writes ``figure`` in the format that the ending of ``path`` says, making its folder.

    Raises:
        ValueError: for an ending that matplotlib does not write.
    """
    path = Path(path)
    if path.suffix.lower().removeprefix(".") not in picture_formats():
        raise ValueError(f"{path}: must end in one of {', '.join(picture_formats())}, such as {path.stem}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        figure.savefig(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
