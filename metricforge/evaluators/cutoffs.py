"""The values of K of an evaluator, checked in one way."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.evaluation.context import EvaluationContext


def checked_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """``ks`` as a tuple.

    Raises:
        ValueError: unless they are distinct whole numbers >= 1.
    """
    whole = isinstance(ks, Sequence) and all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in ks)
    if not whole or not ks or len(set(ks)) != len(ks):
        raise ValueError(f"ks must be distinct whole numbers >= 1, such as (1, 2, 4, 8), got {ks!r}")
    return tuple(ks)


def largest_k(ks: Sequence[int], context: EvaluationContext, evaluator: str) -> int:
    """The largest of ``ks``, which are ``evaluator``'s.

    Raises:
        ValueError: for a K beyond what a query of ``context`` can find.
    """
    beyond = [k for k in ks if k > context.gallery_size]
    if beyond:
        raise ValueError(
            f"ks of {evaluator} must be at most {context.gallery_size}, the images that a query can find, "
            f"got {list(ks)}; leave out {beyond}"
        )
    return max(ks)
