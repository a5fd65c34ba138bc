"""A run as a picture in the terminal: status, curves, what the doctor says, and the scores at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotille
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from metricforge.report.html import Chart
from metricforge.run_report.training_part import training_charts
from metricforge.watching.run_state import RunState, progress_facts

COLOURS = ("bright_blue", "bright_yellow", "bright_cyan", "bright_magenta", "bright_green", "white")
STYLES = {
    "running": "cyan",
    "waiting": "cyan",
    "finished": "green",
    "stopped": "yellow",
    "failed": "red",
    "died": "red",
}
WIDEST, NARROWEST = 84, 35  # characters of a chart
ROWS = 8
AXIS = 25  # characters left of a chart's curve
FIRST = ("training_0", "validation", "diagnostics_gap", "diagnostics_gradient_norm", "learning_rate")


def draw_state(state: RunState, width: int, height: int) -> RenderableType:
    """Draw ``state`` for a terminal of ``width`` times ``height`` characters; charts that do not fit are left out."""
    parts: list[RenderableType] = [head(state)]
    parts += [said(one) for one in state.diagnoses]
    if state.scores:
        parts.append(score_table(state))
    columns = max(1, width // (NARROWEST + AXIS))
    each = min(WIDEST, width // columns - 2)
    room = max(1, (height - 6 - 2 * len(state.diagnoses) - (len(state.scores) + 4) * bool(state.scores)) // (ROWS + 5))
    charts = {chart.key: chart for chart in training_charts([state])}
    chosen = [charts[key] for key in FIRST if key in charts] + [c for key, c in charts.items() if key not in FIRST]
    grid = Table.grid(padding=(0, 1))
    shown = chosen[: room * columns]
    for first in range(0, len(shown), columns):
        grid.add_row(*(draw_in_text(chart, each) for chart in shown[first : first + columns]))
    return Group(*parts, grid)


def head(state: RunState) -> Panel:
    """What the run is, and where it has got to."""
    text = Text(state.words, style=f"bold {STYLES[state.status]}")
    facts = "   ".join(f"{name} {value}" for name, value in progress_facts(state))
    if facts:
        text.append(f"\n{facts}", style="default")
    return Panel(text, border_style=STYLES[state.status])


def said(one: Mapping[str, Any]) -> Text:
    """A sentence of the doctor's."""
    return Text.assemble((f"doctor, epoch {one['epoch']:g}: ", "bold yellow"), (one["text"], "yellow"))


def score_table(state: RunState) -> Table:
    """The scores of the test beside the baselines, in per cent."""
    table = Table(title="test classes, in per cent", title_justify="left")
    table.add_column("score")
    for name in [*state.baselines, "trained"]:
        table.add_column(Text(name), justify="right")
    for score, value in state.scores.items():
        bases = [scores.get(score) for scores in state.baselines.values()]
        cells = ["" if base is None else f"{100 * base:.1f}" for base in bases]
        table.add_row(Text(score), *cells, f"{100 * value:.1f}")
    return table


def draw_in_text(chart: Chart, width: int) -> RenderableType:
    """Draw ``chart`` with dots of Braille, ``width`` characters wide."""
    figure = plotille.Figure()
    figure.width, figure.height = max(10, width - AXIS), ROWS
    figure.color_mode, figure.with_colors, figure.origin = "names", True, False
    figure.x_label, figure.y_label = chart.x_label, ""
    figure.register_label_formatter(float, _tick)
    figure.register_label_formatter(int, _tick)
    lines = [line for line in chart.lines if line.style != "faint"]
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if y is not None]
    title = Text(chart.title + (", %" if chart.percent else ""), style="bold")
    if not points:
        return title
    xs, ys = zip(*points, strict=True)
    unit = 100 if chart.percent else 1
    low, high = min(ys) * unit, max(ys) * unit
    spare = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    figure.set_x_limits(min_=float(min(xs)), max_=float(max(xs)) if max(xs) > min(xs) else float(min(xs)) + 1)
    bottom = max(0.0, low - spare) if low >= 0 else low - spare
    figure.set_y_limits(min_=bottom, max_=min(high + spare, 100.0) if chart.percent and bottom < 100 else high + spare)
    keys = Text()
    for line in lines:
        kept = [(x, y * unit) for x, y in zip(line.x, line.y, strict=True) if y is not None]
        if not kept:
            continue
        colour = COLOURS[line.colour % len(COLOURS)]
        figure.plot([float(x) for x, _ in kept], [float(y) for _, y in kept], lc=colour)
        keys.append(f"{'  ' if keys else ''}⣿ {line.name} {kept[-1][1]:.4g}", style=colour)
    drawing = Text.from_ansi("\n".join(figure.show(legend=False).splitlines()[1:]), no_wrap=True, overflow="crop")
    return Group(title, drawing, keys)


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:
    text = f"{value:,.0f}" if delta >= 30 else f"{value:.3g}"
    return text.ljust(chars) if left else text.rjust(chars)
