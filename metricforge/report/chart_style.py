"""The look of charts: white, few lines, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, FAINT, GRID = "#22262e", "#6b7484", "#e6e9ee"
POSITIVE, NEGATIVE = "#1f7a8c", "#e07a3f"
SERIES = ("#1f7a8c", "#e07a3f", "#6a4c93", "#5b8c3a", "#c2385a", "#8c6d1f", "#3a6fd8", "#4a4e57")
DASHES = ("-", "--", ":", "-.")
DOTS_PER_INCH = 180


def line_look(number: int) -> tuple[str, str]:
    """Colour and dashes of series ``number``: colours repeat with other dashes."""
    return SERIES[number % len(SERIES)], DASHES[number // len(SERIES) % len(DASHES)]


def open_chart(panels: int, title: str, subtitle: str, *, footer: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure of ``panels`` axes in a row under a title; ``footer`` inches stay free at the bottom."""
    width, height = 1.0 + 4.4 * panels, 4.2 + footer
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    left, top = 0.62 / width, 1 - 0.92 / height
    figure.text(left, 1 - 0.3 / height, title, fontsize=12.5, weight="bold", color=INK, va="center", parse_math=False)
    figure.text(left, 1 - 0.55 / height, subtitle, fontsize=9, color=FAINT, va="center", parse_math=False)
    grid = figure.add_gridspec(
        1, panels, left=left, right=1 - 0.28 / width, top=top, bottom=(0.58 + footer) / height, wspace=0.2
    )
    axes = [figure.add_subplot(grid[0, number]) for number in range(panels)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color("#b6bdc9")
        each.tick_params(colors=FAINT, labelsize=8, length=3, color="#b6bdc9")
        each.set_axisbelow(True)
    return figure, axes
