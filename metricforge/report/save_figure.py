"""Write a figure to a file, completely or not at all."""

from __future__ import annotations

import warnings
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from metricforge.atomic_write import atomic_write


def picture_formats() -> list[str]:
    """The file endings that a picture may have, without the dot."""
    return sorted(FigureCanvasAgg.get_supported_filetypes())


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write ``figure`` in the format that the ending of ``path`` says; missing folders are created.

    Raises:
        ValueError: for an ending that matplotlib does not write.
    """
    path = Path(path)
    ending = path.suffix.lower().removeprefix(".")
    if ending not in picture_formats():
        raise ValueError(f"{path}: must end in one of {', '.join(picture_formats())}, such as {path.stem}.png")
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a class or a run may be called $x^{$
    with atomic_write(path) as file, warnings.catch_warnings():
        # a name may have letters that matplotlib's font has not: a box stands for each
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(file, format=ending)
