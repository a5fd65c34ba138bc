"""What the doctor measured and said while a run was trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from metricforge.report.html import Chart, Line
from metricforge.run_report.trained_run import TrainedRun, thinned

PAIR = ("batch_recall@1 of training", "batch_recall@1 of validation")
# of each measure: title, label of its axis, whether it is a share, and a sentence below
MEASURES = {
    "gradient_norm": ("Gradient norm", "length of the gradient", False, "Of all weights together, before an update."),
    "weight_change": (
        "Step size",
        "update / weights",
        False,
        "How long an update is, beside the weights: about 0.001 is usual, far less moves nothing.",
    ),
    "active": (
        "Active images",
        "of a batch",
        True,
        "Images of a batch that get a gradient from the loss. Near zero there is nothing left to learn from.",
    ),
    "effective_rank": (
        "Effective rank",
        "dimensions",
        False,
        "In how many directions a batch's embeddings differ. Near one they have collapsed.",
    ),
    "spread": (
        "Spread",
        "of their length",
        False,
        "How far embeddings are from their mean; zero: all are the same.",
    ),
    "waiting": ("Waiting for images", "of the time", True, "How long the device had nothing to do."),
}


def diagnoses(run: TrainedRun) -> list[dict[str, Any]]:
    """What the doctor said of ``run``, each with its epoch."""
    return [
        {"epoch": round(entry["epoch"], 2), "text": entry["diagnosis"]["text"], "kind": entry["diagnosis"]["kind"]}
        for entry in run.history
        if "diagnosis" in entry
    ]


def diagnostic_charts(runs: Sequence[TrainedRun]) -> Iterator[Chart]:
    """Curves of what the doctor measured; none of a run without him."""
    for name, (title, label, share, note) in MEASURES.items():
        lines = [line for which, run in enumerate(runs) for line in _curve(run, name, which, len(runs) > 1)]
        if lines:
            yield Chart(f"diagnostics_{name}", title, "update", label, lines, percent=share, note=note)
    pairs = [
        line
        for which, run in enumerate(runs)
        for place, name in enumerate(PAIR)
        for line in _curve(run, name, 2 * which + place, len(runs) > 1, name.rpartition(" ")[2], dots=True)
    ]
    if pairs:
        note = "Within batches of as many classes and images: what lies between the two was learned by heart."
        yield Chart(
            "diagnostics_gap", "Training and validation classes", "update", "recall@1", pairs, percent=True, note=note
        )


def _curve(run: TrainedRun, name: str, colour: int, several: bool, called: str = "", dots: bool = False) -> list[Line]:
    read = thinned([entry for entry in run.history if name in entry.get("diagnostics", {})])
    if not read:
        return []
    label = called or MEASURES[name][0].lower()
    values = [float(entry["diagnostics"][name]) for entry in read]
    title = f"{run.name}: {label}" if several else label
    return [Line(title, [entry["iteration"] for entry in read], values, "dots" if dots else "line", colour)]
