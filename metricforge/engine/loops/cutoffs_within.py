"""Evaluators for few images, without values of K that exceed the number of images a query can find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

from metricforge.interfaces import Evaluator


def cutoffs_beyond(evaluators: Sequence[Evaluator], images: int) -> Iterator[str]:
    """What has a K above ``images``, the number that a query can find, such as ``RecallAtK of 32``."""
    for evaluator in evaluators:
        for k in getattr(evaluator, "ks", ()):
            if k > images:
                yield f"{type(evaluator).__name__} of {k}"
        yield from cutoffs_beyond(getattr(evaluator, "evaluators", ()), images)


def cutoffs_within(evaluators: Sequence[Evaluator], images: int) -> list[Evaluator]:
    """``evaluators`` without values of K above ``images``; those that are left with nothing to score are left out."""
    kept = []
    for evaluator in evaluators:
        fitting = copy(evaluator)
        for name, values in (
            ("ks", [k for k in getattr(evaluator, "ks", ()) if k <= images]),
            ("agreement", [k for k in getattr(evaluator, "agreement", ()) if k <= images]),
            ("evaluators", cutoffs_within(getattr(evaluator, "evaluators", ()), images)),
        ):
            if hasattr(evaluator, name):
                setattr(fitting, name, tuple(values))
        scored = [getattr(fitting, name) for name in ("ks", "agreement", "evaluators") if hasattr(fitting, name)]
        if any(scored) or not scored:
            kept.append(fitting)
    return kept
