"""Finds class trees that are not on this machine, such as WordNet, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metricforge.evaluators.class_tree import find_class_tree
from metricforge.reproduction.row_run import RowRun


def missing_trees(runs: Sequence[RowRun]) -> dict[str, list[RowRun]]:
    """What an evaluator says of its absent class tree, such as where to get it, and the runs that need it."""
    missing: dict[str, list[RowRun]] = {}
    for run in runs:
        for tree in dict.fromkeys(_trees([run.cfg.get("evaluators"), run.cfg.get("final_evaluators")])):
            try:
                find_class_tree(tree)
            except ValueError as error:
                missing.setdefault(str(error), []).append(run)
    return missing


def _trees(evaluators: Any) -> Iterator[str]:
    """The ``tree`` of each ZeroShot among ``evaluators``, nested ones included."""
    if isinstance(evaluators, Mapping):
        if evaluators.get("type") == "ZeroShot" and "tree" in evaluators:
            yield str(evaluators["tree"])
        evaluators = list(evaluators.values())
    for part in evaluators if isinstance(evaluators, (list, tuple)) else ():
        yield from _trees(part)
