"""A chart of how runs converge: loss and score, read from their histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from metricforge.errors import MetricForgeError
from metricforge.report.chart_style import GRID, INK, line_look, open_chart
from metricforge.report.run_names import run_names
from metricforge.report.save_figure import save_figure
from metricforge.run_records.history import FILE_NAME, read_history
from metricforge.spelling import nearest

History = Sequence[Mapping[str, Any]]
TEST = "test classes"
SMOOTHED_OVER = 40  # the window of the running mean is this fraction of all readings


def draw_convergence(
    runs: Sequence[Path | str],
    path: Path | str,
    scores: Sequence[str] | None = None,
    title: str = "Convergence",
) -> dict[str, str]:
    """Draw the loss of ``runs`` over their iterations and one of their scores over their epochs.

    The loss is drawn faintly as it was read, with its running mean on top. Losses of different kinds share an axis,
    but their values are not comparable.

    Args:
        runs: folders of runs, at least one; each is named after its folder.
        path: the picture to write; its ending says the format (.png, .pdf, .svg).
        scores: which score, such as ``["map@r"]``; of several, the first that a run has. None: of those that all runs
            have, the one with the most validations.
        title: of the whole picture.

    Returns:
        The score that was drawn of each run, by the run's name.

    Raises:
        MetricForgeError: for a folder without a history, or one without the score.
        ValueError: without runs, or for an unknown ending.
    """
    if not runs:
        raise ValueError("runs must name the folder of at least one run, got none")
    histories = dict(zip(run_names(runs), [_read(Path(run)) for run in runs], strict=True))
    chosen = _choose_scores(histories, scores)
    together = len(set(chosen.values())) == 1
    rows = -(-len(histories) // 3)
    figure, (loss_axes, score_axes) = open_chart(
        2, title, "faint: the losses as they were read; above them their running mean", footer=0.12 + 0.22 * rows
    )
    lines: list[Line2D] = []
    labels: list[str] = []  # given by themselves: a label that begins with "_" would be left out
    for number, (name, history) in enumerate(histories.items()):
        colour, dashes = line_look(number)
        losses = [entry for entry in history if "loss" in entry.get("losses", {})]
        at = [entry["iteration"] for entry in losses]
        values = [entry["losses"]["loss"] for entry in losses]
        loss_axes.plot(at, values, color=colour, alpha=0.22, linewidth=0.9)
        labels.append(name if together else f"{name}: {chosen[name]}")
        lines += loss_axes.plot(
            at,
            _running_mean(values),
            dashes,
            color=colour,
            linewidth=1.8,
        )
        found = [line for line in history if chosen[name] in line.get("scores", {})]
        epochs, reached = [line["epoch"] for line in found], [100 * line["scores"][chosen[name]] for line in found]
        score_axes.plot(epochs, reached, dashes, color=colour, linewidth=1.8, marker="o", markersize=4.5)
    _label(loss_axes, "Loss", "iteration")
    _label(score_axes, " or ".join(dict.fromkeys(chosen.values())), "epoch")
    loss_axes.set_ylim(bottom=min(0, loss_axes.get_ylim()[0]))
    score_axes.set_ylabel("per cent", fontsize=9, color=INK)
    figure.legend(
        lines,
        labels,
        loc="lower center",
        ncols=min(3, len(histories)),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handlelength=2.6,
    )
    save_figure(figure, path)
    return chosen


def _read(run: Path) -> History:
    try:
        history = read_history(run)
    except ValueError as error:
        raise MetricForgeError(str(error)) from error
    if any(line.get("of") != TEST for line in history if "scores" in line):
        # what the chosen weights scored on the test at the end is no point of the curve on other classes
        history = [line for line in history if line.get("of") != TEST]
    if not history:
        raise MetricForgeError(
            f"{run}: holds no {FILE_NAME}, so it is not the folder of a run that has trained; training prints it as "
            "`run`, such as runs/normsoftmax_glyphs"
        )
    return history


def _choose_scores(histories: Mapping[str, History], wanted: Sequence[str] | None) -> dict[str, str]:
    """The score to draw of each run: the first of the ``wanted`` that it has, or one that all have most often."""
    by_run = {
        name: Counter(score for line in run for score in line.get("scores", {})) for name, run in histories.items()
    }
    for name, scores in by_run.items():
        if not scores:
            raise MetricForgeError(f"{name}: has no scores in its history yet; plot it after a validation or its end")
    if wanted:
        for name, scores in by_run.items():
            if not any(score in scores for score in wanted):
                asked = " nor ".join(f'"{score}"' for score in wanted)
                raise MetricForgeError(f"--score: {name} has no score {asked}{nearest(wanted[0], list(scores))}")
        return {name: next(score for score in wanted if score in scores) for name, scores in by_run.items()}
    common = [score for score in next(iter(by_run.values())) if all(score in scores for scores in by_run.values())]
    if not common:
        listed = "; ".join(f"{name}: {', '.join(scores)}" for name, scores in by_run.items())
        raise MetricForgeError(f"the runs have no score in common, so name one for each with --score ({listed})")
    most = max(common, key=lambda score: min(scores[score] for scores in by_run.values()))
    return dict.fromkeys(by_run, most)


def _running_mean(values: Sequence[float]) -> list[float]:
    """The mean of each value and those around it, fewer at the ends: over ``1 / SMOOTHED_OVER`` of all."""
    half = max(1, len(values) // SMOOTHED_OVER // 2)
    windows = [values[max(0, place - half) : place + half + 1] for place in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _label(axes: Axes, title: str, along: str) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=8, parse_math=False)
    axes.set_xlabel(along, fontsize=9, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
