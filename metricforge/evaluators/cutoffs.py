"""Checks the values of K of an evaluator."""

from __future__ import annotations

from collections.abc import Sequence

from metricforge.interfaces import EvaluationContext


def checked_ks(ks: Sequence[int]) -> tuple[int, ...]:
    """Return ``ks`` as a tuple.

    Raises:
        ValueError: unless ``ks`` are distinct integers >= 1.
    """
    are_counts = isinstance(ks, Sequence) and all(isinstance(k, int) and not isinstance(k, bool) and k >= 1 for k in ks)
    if not are_counts or not ks or len(set(ks)) != len(ks):
        raise ValueError(f"ks must be distinct integers >= 1, such as (1, 2, 4, 8), got {ks!r}")
    return tuple(ks)


def largest_k(ks: Sequence[int], context: EvaluationContext, evaluator: str) -> int:
    """Return the largest of the ``ks`` of ``evaluator``.

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
