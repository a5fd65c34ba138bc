"""A chart as a picture, by matplotlib: what the page shows, for slides and papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

from metricforge.report.chart_style import FAINT, GRID, INK, SERIES, open_chart
from metricforge.report.html.chart import Chart, Line
from metricforge.report.save_figure import save_figure

MOST_NAMES = 40  # of bars
LONGEST_NAME = 18  # characters
MOST_TICKS = 12
ROUND = (1, 2, 5, 10, 20, 50, 100)
LABEL, NAMES = 0.055, 0.16  # what the vertical axis's label and the names of bars take of the figure


def draw_chart(chart: Chart, path: Path | str) -> None:
    """Draw ``chart`` into ``path``, whose ending says the format (.png, .pdf, .svg).

    Raises:
        ValueError: for an ending that matplotlib does not write.
    """
    named = list(dict.fromkeys(line.name for line in chart.lines))
    rows = len(named) // 2 + 1 if len(named) > 1 else 0
    figure, (axes,) = open_chart(1, chart.title, "", footer=0.12 + 0.2 * rows)
    named_bars = any(len(bars.names) <= MOST_NAMES for bars in chart.bars)
    box = axes.get_position()
    below = NAMES * named_bars
    axes.set_position((box.x0 + LABEL, box.y0 + below, box.width - LABEL, box.height - below))
    for line in chart.lines:
        _draw_line(axes, line)
    for bars in chart.bars:
        axes.bar(range(len(bars.values)), bars.values, color=SERIES[bars.colour % len(SERIES)])
        if len(bars.names) <= MOST_NAMES:
            shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in bars.names]
            axes.set_xticks(range(len(shown)), shown, rotation=60, ha="right", rotation_mode="anchor", fontsize=6)
    for mark in chart.marks:
        axes.axvline(mark.x, color=INK, linestyle="--", linewidth=1)
        low, high = axes.get_xlim()
        side, away = ("right", -4) if mark.x > (low + high) / 2 else ("left", 4)
        where: Any = dict(xycoords=("data", "axes fraction"), textcoords="offset points")
        axes.annotate(mark.label, (mark.x, 1), (away, -2), **where, ha=side, va="top", fontsize=8)
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], ":", color=FAINT, linewidth=1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    if chart.log_x:
        _set_log_scale(axes, sorted({x for line in chart.lines for x in line.x}))
    if chart.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        lowest, highest = axes.get_ylim()
        axes.set_ylim(max(lowest, -0.015), min(highest, 1.015))
    axes.set_xlabel(chart.x_label, fontsize=9, color=INK)
    axes.set_ylabel(chart.y_label, fontsize=9, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    if rows:
        handles = [axes.get_lines()[_last_of(chart, name)] for name in named]
        figure.legend(handles, named, loc="lower center", ncols=2, frameon=False, fontsize=7.5, labelcolor=INK)
    save_figure(figure, path)


def _set_log_scale(axes: Axes, positions: list[float]) -> None:
    """A logarithmic axis with plain numbers: at all ``positions``, or at round ones if there are many."""
    axes.set_xscale("log")
    shown = positions if len(positions) <= MOST_TICKS else [x for x in ROUND if positions[0] <= x <= positions[-1]]
    axes.set_xticks(shown, [f"{x:g}" for x in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_line(axes: Axes, line: Line) -> None:
    colour = SERIES[line.colour % len(SERIES)]
    values = [float("nan") if value is None else value for value in line.y]
    if line.style == "area":
        axes.plot(line.x, values, color=colour, linewidth=1.6, drawstyle="steps-mid")
        axes.fill_between(line.x, values, step="mid", color=colour, alpha=0.25)
        return
    faint = line.style == "faint"
    marker = "o" if line.style == "dots" else ""
    axes.plot(
        line.x,
        values,
        color=colour,
        alpha=0.25 if faint else 1,
        linewidth=0.9 if faint else 1.8,
        marker=marker,
        markersize=4,
    )


def _last_of(chart: Chart, name: str) -> int:
    """Which line is drawn last under ``name``, for the legend: never the faint one."""
    return max(number for number, line in enumerate(chart.lines) if line.name == name)
