"""A chart as data, which the page draws with plotly and ``draw_chart`` with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Line:
    """A series ``y`` over ``x``.

    Args:
        name: what the legend calls it; any text.
        x: positions.
        y: values, None where there is none.
        style: a "line", one with "dots" at its points, "faint" for what is only background, or the outline of a
            histogram, filled ("area").
        colour: number of its colour; series of one number share a colour.
        notes: what the page says beside each point, where x and y do not say it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: Literal["line", "dots", "faint", "area"] = "line"
    colour: int = 0
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Bars:
    """A bar of each of ``values``, in this order; ``names`` say what each is of."""

    name: str
    names: Sequence[str]
    values: Sequence[float]
    colour: int = 0


@dataclass(frozen=True)
class Mark:
    """A vertical line at ``x`` with a label."""

    x: float
    label: str


@dataclass(frozen=True)
class Chart:
    """What is drawn, under which title, along which axes.

    Args:
        key: names the chart in the page, and its picture's file.
        title: of the chart.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        lines: series to draw.
        bars: bars to draw.
        marks: vertical lines.
        percent: values are shares in 0..1, shown in per cent.
        log_x: whether the horizontal axis is logarithmic.
        diagonal: whether to draw what chance would give, from (0, 0) to (1, 1).
        note: a sentence below it.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line] = ()
    bars: Sequence[Bars] = ()
    marks: Sequence[Mark] = ()
    percent: bool = False
    log_x: bool = False
    diagonal: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        return asdict(self)
