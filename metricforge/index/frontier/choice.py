"""A way to keep and search embeddings, with what it costs, and which ways nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

ALL = "all"  # the embeddings as they are


@dataclass(frozen=True)
class Choice:
    """A way to keep and search embeddings, and what it costs.

    Args:
        space: "all" dimensions, or what they become first: "first:N", "pca:N".
        kind: of index, see ``metricforge.index.kinds``.
        refined: whether the stored float32 vectors put the ``SPARE`` best candidates in order.
        effort: candidates kept (HNSW) or lists visited (IVF); 0 where there is no choice.
        score: accuracy, in 0..1.
        bytes_a_vector: what searching keeps of a vector; with ``refined`` the stored vector too, which may lie on disk.
        milliseconds_a_query: the median of single queries on one thread.
        pareto: whether no other choice is at least as good in all three and better in one.
    """

    space: str
    kind: str
    refined: bool
    effort: int
    score: float
    bytes_a_vector: float
    milliseconds_a_query: float
    pareto: bool = False

    @property
    def name(self) -> str:
        """Such as "pca:64 int8"."""
        return f"{self.space} {self.kind}" + (" refined" if self.refined else "")


@dataclass(frozen=True)
class Frontier:
    """Every choice that was measured, smallest first.

    Args:
        choices: those.
        score: the name of their score.
        images: N, how many were searched.
        dim: D.
        queries: how many were searched with.
        without_match: images that are no query, because no other one is of their class.
        left_out: choices that these images do not allow, and why.
    """

    choices: tuple[Choice, ...]
    score: str
    images: int
    dim: int
    queries: int
    without_match: int
    left_out: tuple[str, ...]


def with_pareto(choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """``choices``, each with whether it is of the Pareto set."""
    costs = np.array([(-each.score, each.bytes_a_vector, each.milliseconds_a_query) for each in choices])  # (n, 3)
    return tuple(
        replace(each, pareto=not bool(((costs <= own).all(axis=1) & (costs < own).any(axis=1)).any()))
        for each, own in zip(choices, costs, strict=True)
    )
