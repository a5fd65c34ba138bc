"""A chart of scores against a setting, such as the embedding size: a line for each method and score."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from metricforge.config import read_config
from metricforge.engine.records.config_changes import find_changes, of_another_run, settings_of
from metricforge.errors import MetricForgeError
from metricforge.evaluation import read_scores
from metricforge.report.chart_style import GRID, INK, line_look, open_chart
from metricforge.report.save_figure import save_figure
from metricforge.report.shown_text import shown_text
from metricforge.spelling import nearest

WIDE = 8.0  # from this ratio of the largest to the smallest value on, the axis is logarithmic
LONGEST_NAME = 60
NAMED = 3  # settings that a warning lists


@dataclass(frozen=True)
class Curve:
    """One line of the chart: ``values`` of the setting, ascending, and of the runs at each the mean and extremes."""

    name: str
    values: list[float]
    means: list[float]
    lowest: list[float]
    highest: list[float]


def draw_score_curves(
    runs: Sequence[Path | str],
    path: Path | str,
    against: str,
    scores: Sequence[str] = ("recall@1",),
    by: str | None = None,
    missing: float | None = None,
    title: str | None = None,
) -> list[Curve]:
    """Draw ``scores`` of finished ``runs`` over a setting of theirs, as Figures 2 and 4 of Zhai and Wu (2018) do.

    Runs of the same value and line, such as of several seeds, are drawn as their mean with a band from the lowest to
    the highest. A warning says where they differ in more than the seed, and are no repetitions of one run.

    Args:
        runs: folders of runs with ``scores.json`` and their config.
        path: the picture to write; its ending says the format (.png, .pdf, .svg).
        against: a key that holds numbers, such as ``model.head.dim`` or ``model.loss.class_ratio``.
        scores: which scores, such as ``["recall@1", "binary/recall@1"]``: a line for each.
        by: a key whose values are drawn as lines of their own, such as ``model.loss.type``.
        missing: the value of runs whose config has no such key, such as 1 where a ratio of all is not written.
        title: of the chart.

    Returns:
        What was drawn.

    Raises:
        MetricForgeError: for a folder without scores or a config, a run without the key or a score, or a value that is
            no number.
        ValueError: without runs or scores, or for an unknown ending.
    """
    if not runs or not scores:
        raise ValueError("runs and scores must have at least one each")
    found = [_read(Path(run), against, scores, by, missing) for run in runs]
    _warn_of_unlike_runs(found, against)
    curves = _curves(found, scores)
    rows = -(-len(curves) // 2)
    figure, (axes,) = open_chart(
        1, title or f"{' and '.join(scores)} over {against}", f"{len(runs)} runs", footer=0.12 + 0.22 * rows
    )
    lines = []
    for number, curve in enumerate(curves):
        colour, dashes = line_look(number)
        lines += axes.plot(curve.values, curve.means, dashes, color=colour, linewidth=1.8, marker="o", markersize=4.5)
        if curve.lowest != curve.highest:
            axes.fill_between(curve.values, curve.lowest, curve.highest, color=colour, alpha=0.18, linewidth=0)
    ticks = sorted({value for curve in curves for value in curve.values})
    if ticks[0] > 0 and ticks[-1] >= WIDE * ticks[0]:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(against, fontsize=9, color=INK)
    axes.set_ylabel("per cent", fontsize=9, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    labels = [shown_text(curve.name, LONGEST_NAME) for curve in curves]
    figure.legend(
        lines, labels, loc="lower center", ncols=min(2, len(curves)), frameon=False, fontsize=8.5, labelcolor=INK
    )
    save_figure(figure, path)
    return curves


@dataclass(frozen=True)
class _Run:
    value: float
    group: str
    settings: Mapping[str, Any]
    scores: Mapping[str, float]


def _read(run: Path, against: str, scores: Sequence[str], by: str | None, missing: float | None) -> _Run:
    if not (run / "scores.json").is_file():
        raise MetricForgeError(f"{run}: holds no scores.json, so it is not the folder of a run that has ended")
    configs = sorted(run.glob("*.py"))
    if len(configs) != 1:
        listed = ", ".join(config.name for config in configs) or "none"
        raise MetricForgeError(f"{run}: must hold one config, whose {against} is read, and has {listed}")
    reached = read_scores(run / "scores.json")[0]
    for score in scores:
        if score not in reached:
            raise MetricForgeError(f'--score: {run} has no score "{score}"{nearest(score, list(reached))}')
    config = read_config(configs[0]).to_dict()
    value = _value(config, against, missing)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        told = "has no" if value is None else f"has {value!r} as its"
        raise MetricForgeError(
            f"--against: {run} {told} {against}, where a number is needed; name a key that holds numbers, or give "
            "--missing, the value of runs whose config leaves it out"
        )
    group = "" if by is None else str(_value(config, by, None))
    return _Run(float(value), group, settings_of(config), {score: 100 * reached[score] for score in scores})


def _warn_of_unlike_runs(runs: Sequence[_Run], against: str) -> None:
    first: dict[tuple[str, float], _Run] = {}
    for run in runs:
        other = first.setdefault((run.group, run.value), run)
        names = [name for name in of_another_run(find_changes(other.settings, run.settings)) if name != against]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            warnings.warn(
                f"runs whose {against} is {run.value:g} are drawn as one, though they differ in more than the seed: "
                f"{', '.join(names[:NAMED])}{more}; --by KEY draws a line for each value of a setting",
                stacklevel=3,
            )
            return


def _value(config: Any, key: str, missing: float | None) -> Any:
    for part in key.split("."):
        if isinstance(config, (list, tuple)) and part.isdecimal() and int(part) < len(config):
            config = config[int(part)]
        elif isinstance(config, Mapping) and part in config:
            config = config[part]
        else:
            return missing
    return missing if config is None else config


def _curves(runs: Sequence[_Run], scores: Sequence[str]) -> list[Curve]:
    curves = []
    for group in dict.fromkeys(run.group for run in runs):
        for score in scores:
            by_value: dict[float, list[float]] = {}
            for run in runs:
                if run.group == group:
                    by_value.setdefault(run.value, []).append(run.scores[score])
            values = sorted(by_value)
            reached = [by_value[value] for value in values]
            name = score if not group else group if len(scores) == 1 else f"{group}, {score}"
            means = [sum(each) / len(each) for each in reached]
            curves.append(Curve(name, values, means, [min(each) for each in reached], [max(each) for each in reached]))
    return curves
