"""The scores of the runs with their intervals, beside what was there before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metricforge.comparison import ComparedScore, Comparison
from metricforge.comparison.compare_runs import describe_differences
from metricforge.run_report.opened_run import OpenedRun
from metricforge.run_report.protocol_in_words import protocol_in_words
from metricforge.run_report.score_meanings import score_meaning

HEADLINES = 4


def scores_part(runs: Sequence[OpenedRun], comparison: Comparison) -> dict[str, Any]:
    """What the page shows of ``comparison``; values are those of ``scores.json``."""
    baselines = _baselines(runs[0].scored.protocol)
    rows = [_row(score, baselines) for score in comparison.scores]
    kinds: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "/" not in row["name"]:
            kinds.setdefault(row["name"].partition("@")[0], row)
    return {
        "headlines": (list(kinds.values()) or rows)[:HEADLINES],
        "rows": rows,
        "baselines": list(baselines),
        "level": comparison.level,
        "classes": comparison.classes,
        "queries": comparison.queries,
        "resamples": comparison.resamples,
        "protocol": protocol_in_words(runs[0].scored.protocol),
        "notes": [*_differences(runs, comparison), *(note[:1].upper() + note[1:] for note in comparison.notes)],
        "withheld": [name for name, _ in comparison.withheld],
    }


def _differences(runs: Sequence[OpenedRun], comparison: Comparison) -> list[str]:
    """What ``--force`` shows side by side although it was measured in different ways."""
    found = dict.fromkeys(one for score in comparison.scores for one in score.differing)
    told = describe_differences([run.name for run in runs], list(found))
    return [f"Scores with a ! do not compare, for they were measured in different ways: {'; '.join(told)}"] * bool(told)


def _row(score: ComparedScore, baselines: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    return {
        "name": score.name,
        "meaning": score_meaning(score.name),
        "standings": score.standings,
        "differing": [one.setting for one in score.differing],
        "baselines": [values.get(score.name) for values in baselines.values()],
        "smaller_is_better": score.name.split("/")[-1] == "eer",
    }


def _baselines(protocol: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """What was measured before training, such as raw pixels, by name."""
    found = protocol.get("baselines")
    return {str(name): values for name, values in found.items()} if isinstance(found, Mapping) else {}
