"""What was trained on what, with which weights, and how it went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metricforge.report.html import Chart, Line
from metricforge.run_report.diagnostics_part import diagnostic_charts
from metricforge.run_report.trained_run import TrainedRun, thinned

if TYPE_CHECKING:
    from metricforge.run_report.opened_run import OpenedRun

SMOOTHED_OVER = 40  # the window of the running mean is this fraction of all readings
TEST = "test classes"
PARTS_OF_SUM = frozenset({"positive", "negative", "e_m", "e_e"})  # of the unit of the loss, so on one axis with it
SMOOTHING_NOTE = "Faint: as it was read; above it, its running mean. Losses of different kinds do not compare."


def training_facts(run: OpenedRun) -> list[tuple[str, str]]:
    """What ``run``'s checkpoint and history say of its making, as terms and what they are."""
    return [] if run.record is None else list(_facts(run.record, run))


def _facts(record: Mapping[str, Any], run: OpenedRun) -> Iterator[tuple[str, str]]:
    training, pretraining = record.get("training") or {}, record.get("pretraining")
    if run.images is not None:
        learner = run.images.learner
        trained = sum(weight.numel() for weight in learner.parameters())
        parts = [type(part).__name__ for part in (learner.backbone, learner.head) if part is not None]
        name = getattr(learner.backbone, "name", None)
        told = " + ".join(parts) + (f" ({name})" if isinstance(name, str) else "")
        yield "Model", f"{told}, embeddings of {learner.head.dim}, {trained:,} weights"
    began = "unknown" if pretraining is None else pretraining.get("source") or "random weights, no pretraining"
    yield "Began with", str(began)
    if training.get("dataset"):
        yield "Trained on", f"{training['dataset']}, {training.get('classes') or 'unknown'} classes"
    yield "Loss", str(training.get("loss") or "unknown")
    if training.get("miner"):
        yield "Miner", str(training["miner"])
    if record.get("iteration"):
        yield "Weights of", f"epoch {record.get('epoch')}, after {record['iteration']:,} updates"
    yield "Checkpoint", f"{record['checkpoint']['file']}, SHA-256 {record['checkpoint']['sha256']}…"
    if record.get("seed") is not None:
        yield "Seed", str(record["seed"])
    versions = record.get("versions") or {}
    if versions:
        yield "Versions", ", ".join(f"{name} {version}" for name, version in versions.items())


def training_charts(runs: Sequence[TrainedRun]) -> list[Chart]:
    """Curves of every loss part and whatever else was logged, the learning rate, validation scores, and diagnostics."""
    charts = list(_loss_charts(runs))
    rates = [line for number, run in enumerate(runs) for line in _rates(run, number, several=len(runs) > 1)]
    if rates:
        charts.append(Chart("learning_rate", "Learning rate", "update", "learning rate", rates))
    scores: list[Line] = []
    for run in runs:
        scores += _scores(run, len(scores), several=len(runs) > 1)
    if scores:
        note = "The test classes are not in this chart: they are scored once, by the chosen weights."
        chosen = all(entry.get("of") != TEST for run in runs for entry in validations(run))
        charts.append(
            Chart("validation", "Scores in training", "epoch", "per cent", scores, percent=True, note=note * chosen)
        )
    return [*charts, *diagnostic_charts(runs)]


def _loss_charts(runs: Sequence[TrainedRun]) -> Iterator[Chart]:
    names = list(dict.fromkeys(name for run in runs for entry in run.history for name in entry.get("losses", {})))
    summed = [name for name in names if name == "loss" or name.removeprefix("loss/") in PARTS_OF_SUM]
    groups = [("loss", "Loss", summed)] + [(name, _title(name), [name]) for name in names if name not in summed]
    for number, (label, title, members) in enumerate(groups):
        lines = [
            line
            for which, run in enumerate(runs)
            for place, name in enumerate(members)
            for line in _smoothed(run, name, which * len(members) + place, several=len(runs) > 1)
        ]
        if lines:
            share = title.startswith("Share")
            yield Chart(
                f"training_{number}",
                title,
                "update",
                "of the mined tuples" if share else label,
                lines,
                percent=share,
                note="" if number else SMOOTHING_NOTE,
            )


def _title(name: str) -> str:
    """What a part is called above its chart: ``loss/active`` is the share of tuples that have a gradient."""
    last = name.rpartition("/")[2]
    return "Share of active tuples" if last == "active" else name.replace("_", " ")


def _smoothed(run: TrainedRun, name: str, colour: int, *, several: bool) -> list[Line]:
    read = [entry for entry in run.history if name in entry.get("losses", {})]
    if not read:
        return []
    at, values = [entry["iteration"] for entry in read], [float(entry["losses"][name]) for entry in read]
    half = max(1, len(values) // SMOOTHED_OVER // 2)
    sums, places = np.concatenate([[0.0], np.cumsum(values)]), np.arange(len(values))
    first, end = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    means = ((sums[end] - sums[first]) / (end - first)).tolist()
    title = f"{run.name}: {name}" if several else name
    faint = Line(title, thinned(at), thinned(values), "faint", colour)
    return [faint, Line(title, thinned(at), thinned(means), "line", colour)]


def _rates(run: TrainedRun, colour: int, *, several: bool) -> list[Line]:
    read = thinned([entry for entry in run.history if entry.get("lr")])
    groups = max((len(entry["lr"]) for entry in read), default=0)
    lines: dict[tuple[float | None, ...], Line] = {}  # groups of the same rates are one line
    for group in range(groups):
        rates = tuple(entry["lr"][group] if group < len(entry["lr"]) else None for entry in read)
        name = f"group {group}" if groups > 1 else "learning rate"
        title = f"{run.name}: {name}" if several else name
        lines.setdefault(rates, Line(title, [entry["iteration"] for entry in read], rates, "line", colour + len(lines)))
    return list(lines.values())


def validations(run: TrainedRun) -> list[Mapping[str, Any]]:
    """The validations of ``run``, without the test at its end unless the test classes are what validates."""
    found = [entry for entry in run.history if "scores" in entry]
    if any(entry.get("of") != TEST for entry in found):
        found = [entry for entry in found if entry.get("of") != TEST]
    return found


def _scores(run: TrainedRun, first_colour: int, *, several: bool) -> list[Line]:
    """The first score of each kind, such as recall@1; those of a similarity or space where there is no other."""
    found = validations(run)
    names = dict.fromkeys(name for entry in found for name in entry["scores"])
    plain = {_kind(name) for name in names if "/" not in name}
    kinds: dict[tuple[str, str], str] = {}
    for name in names:
        space, _, score = name.rpartition("/")
        if not space or _kind(score) not in plain:
            kinds.setdefault((space, _kind(score)), name)
    lines = []
    for place, name in enumerate(kinds.values()):
        its = [entry for entry in found if name in entry["scores"]]
        title = f"{run.name}: {name}" if several else name
        values = [float(entry["scores"][name]) for entry in its]
        lines.append(Line(title, [entry["epoch"] for entry in its], values, "dots", first_colour + place))
    return lines


def _kind(score: str) -> str:
    return score.partition("@")[0]
