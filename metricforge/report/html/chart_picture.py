"""A chart as a picture, by matplotlib: what the page shows, for slides and papers."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from metricforge.report.chart_style import FAINT, GRID, INK, SERIES, open_chart
from metricforge.report.html.chart import Chart, Line
from metricforge.report.save_figure import save_figure

MOST_NAMES = 40  # of bars


def draw_chart(chart: Chart, path: Path | str) -> None:
    """Draw ``chart`` into ``path``, whose ending says the format (.png, .pdf, .svg).

    Raises:
        ValueError: for an ending that matplotlib does not write.
    """
    named = list(dict.fromkeys(line.name for line in chart.lines))
    rows = len(named) // 2 + 1 if len(named) > 1 else 0
    figure, (axes,) = open_chart(1, chart.title, "", footer=0.12 + 0.2 * rows)
    for line in chart.lines:
        _draw_line(axes, line)
    for bars in chart.bars:
        axes.bar(range(len(bars.values)), bars.values, color=SERIES[bars.colour % len(SERIES)])
        if len(bars.names) <= MOST_NAMES:
            axes.set_xticks(range(len(bars.names)), bars.names, rotation=60, ha="right", fontsize=6)
    for mark in chart.marks:
        axes.axvline(mark.x, color=INK, linestyle="--", linewidth=1)
        axes.annotate(
            mark.label, (mark.x, 1), (4, -2), ("data", "axes fraction"), "offset points", va="top", fontsize=8
        )
    if chart.diagonal:
        axes.plot([0, 1], [0, 1], ":", color=FAINT, linewidth=1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    if chart.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if chart.percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel(chart.x_label, fontsize=9, color=INK)
    axes.set_ylabel(chart.y_label, fontsize=9, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    if rows:
        handles = [axes.get_lines()[_last_of(chart, name)] for name in named]
        figure.legend(handles, named, loc="lower center", ncols=2, frameon=False, fontsize=7.5, labelcolor=INK)
    save_figure(figure, path)


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
