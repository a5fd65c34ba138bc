"""Choose the queries that a picture of retrieval results shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from metricforge.errors import MetricForgeError
from metricforge.evaluation.context import EvaluationContext

KINDS = ("mixed", "successes", "failures")


def pick_queries(
    context: EvaluationContext,
    count: int,
    seed: int = 0,
    kind: Literal["mixed", "successes", "failures"] = "mixed",
) -> list[int]:
    """``count`` random queries: "successes", whose nearest image is of their class, "failures", or half of each.

    Of "mixed" ones successes come first, and too few of one kind are filled up with the other. Queries without a match
    in the gallery are never picked.

    Raises:
        ValueError: unless 1 <= ``count`` <= the number of queries with a match.
        MetricForgeError: if there is no query of the ``kind``; of fewer than ``count``, all are taken.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    answerable = context.matches > 0
    if not 1 <= count <= answerable.sum():
        raise ValueError(f"count ({count}) must be in 1..{answerable.sum()}, the queries that have a match")
    generator = np.random.default_rng(seed)
    nearest_is_right = context.hits(1)[:, 0]
    successes = generator.permutation(np.flatnonzero(answerable & nearest_is_right))
    failures = generator.permutation(np.flatnonzero(answerable & ~nearest_is_right))
    if kind != "mixed":
        found = successes if kind == "successes" else failures
        if not len(found):
            other = "failures" if kind == "successes" else "successes"
            raise MetricForgeError(
                f"there are no {kind} among the {answerable.sum()} queries; draw {other}, or mixed ones"
            )
        return found[:count].tolist()
    failed = min(max(count // 2, count - len(successes)), len(failures))
    return [*successes[: count - failed].tolist(), *failures[:failed].tolist()]


def queries_of_ids(context: EvaluationContext, ids: Sequence[int]) -> list[int]:
    """The queries of these ``ids``, in their order: an image's number in its data set, as in ``scores.queries.npz``.

    Raises:
        MetricForgeError: for ids that no query has.
    """
    place = {int(image): query for query, image in enumerate(np.asarray(context.queries.ids).tolist())}
    unknown = [image for image in ids if image not in place]
    if unknown:
        raise MetricForgeError(
            f"no query has the id {', '.join(map(str, unknown[:5]))}; ids are in {min(place)}..{max(place)}, and "
            "scores.queries.npz lists them"
        )
    return [place[image] for image in ids]
