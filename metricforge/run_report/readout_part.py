"""The candidates that a run's readout compared on its validation classes, and the one that became the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metricforge.engine.readout.beginning import BEGINNINGS
from metricforge.engine.readout.candidate import SAYS, Candidate
from metricforge.engine.readout.readout_step import READOUT
from metricforge.errors import ComparisonError

BEFORE = {"pretrained": "the frozen feature", "untrained": "the untrained feature", "vectors": "the vectors"}
TRAINED = frozenset(each.trained for each in BEGINNINGS.values())
LAYERS = {
    "head": "at the trained head",
    "pooled": "at the pooled feature below the head",
    "whitened": "at the principal components of the pooled feature, each divided by its spread",
    "adapted": "at a linear layer that was trained on what there was before",
    "both": "at head and pooled feature side by side",
}


def read_readout(folder: Path) -> Mapping[str, Any] | None:
    """What the readout of the run in ``folder`` has written; None where it compared nothing.

    Raises:
        ComparisonError: if the file is damaged.
    """
    path = folder / READOUT
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        readout_part(content, None)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as fault:
        raise ComparisonError(f"{path}: is not a list of candidates written by a run ({fault}); train again") from fault
    return content  # type: ignore[no-any-return]


def readout_part(content: Mapping[str, Any], scored: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the page shows of a ``readout.json``: a row for each candidate, and sentences on the chosen one.

    Args:
        content: of the file.
        scored: the ``choice`` of the protocol of the scores that the report is of; None: not known.
    """
    rows: list[dict[str, Any]] = [
        {
            "name": _named(one),
            "dim": int(one["dim"]),
            "scores": {str(name): float(value) for name, value in one["scores"].items()},
        }
        for one in content["candidates"]
    ]
    number, score = range(len(rows)).index(content["chosen"]), str(content["score"])
    chosen, row = content["candidates"][number], rows[number]
    first = next(
        (
            each
            for each, one in enumerate(content["candidates"])
            if one["layer"] == "pooled" and one["weights"] in BEFORE
        ),
        number,
    )
    told = (
        f"Of {len(rows)} candidates the one with the best {score} on the validation classes became the model: "
        f"{row['name']}: {_weights(str(chosen['weights']))}, read {LAYERS[chosen['layer']]}, in {row['dim']:,} "
        f"dimensions. Its {score} on {content['images']:,} images of {content['classes']:,} validation classes is "
        f"{100 * row['scores'][score]:.1f} %"
    )
    if first != number:
        before = BEFORE[content["candidates"][first]["weights"]]
        told += f", that of {before} {100 * rows[first]['scores'][score]:.1f} %"
    sentences = [f"{told}. The test classes had no part in this choice."]
    if scored is not None and not _is_scored(chosen, scored):
        sentences.append("The scores of this report are of other weights than the chosen ones.")
    names = list(dict.fromkeys(name for one in rows for name in one["scores"]))
    best = {name: max(one["scores"][name] for one in rows if name in one["scores"]) for name in names}
    return {"rows": rows, "chosen": number, "scores": names, "best": best, "sentences": sentences}


def _named(one: Mapping[str, Any]) -> str:
    return Candidate(str(one["weights"]), one["layer"], {}, {}, int(one["dim"])).name


def _weights(name: str) -> str:
    """What weights called ``name`` are."""
    if name in BEGINNINGS:
        return "what there was before training"
    if name in TRAINED:
        return "the weights of the best epoch"
    if name.endswith(", not averaged"):
        return "the weights of the best epoch before they were averaged"
    if name.endswith("checkpoints"):
        return f"the {name} of the run"
    return f"weights {name.removesuffix(' fine-tuned')} of the way from the pretrained to the fine-tuned ones"


def _is_scored(chosen: Mapping[str, Any], scored: Mapping[str, Any]) -> bool:
    return scored.get("weights") == chosen["weights"] and scored.get("layer") == SAYS[chosen["layer"]]
