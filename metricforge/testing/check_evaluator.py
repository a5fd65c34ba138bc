"""The contract of an evaluator as a test."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch

from metricforge.arrays import Array, Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluator import mean_over_queries
from metricforge.functional.distances import l2_normalize
from metricforge.interfaces import Evaluator
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet
from metricforge.testing.clause import clause, require
from metricforge.testing.sample_batches import random_rows


def check_evaluator(evaluator: Evaluator, *, images: int = 48) -> None:
    """Test an evaluator against the contract, on a copy of it, with four classes of random embeddings.

    - ``evaluate`` gives finite floats (Python's or numpy's) under names that are not empty, and leaves queries, gallery
      and the cached neighbours alone;
    - the same images give the same scores, and how the classes are numbered (0, 1, ... or 7, 12, ...) changes nothing;
      ``class_names`` are there for scores of single classes;
    - some other embeddings, such as those that tell the classes apart, get other scores than random ones;
    - it works where queries search themselves and where they search a gallery;
    - ``per_query`` gives values whose means over the queries with a match, or those that ``counted_queries`` names, are
      its scores of these names;
    - ``neighbours_needed`` is a whole number >= 0, and no more neighbours are read than it says: each search for more
      is another one over all images;
    - ``protocol`` can be written as JSON.

    Args:
        evaluator: the evaluator.
        images: how many images (at least 8) to test with, above the largest K that the evaluator looks at.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(evaluator, "it is an evaluator"):
        require(isinstance(evaluator, Evaluator), "not a metricforge.Evaluator")
    evaluator = copy.deepcopy(evaluator)
    told_apart = False
    with clause(evaluator, "its protocol can be written as JSON"):
        protocol = evaluator.protocol()
        require(isinstance(protocol, dict), f"protocol must be a dict, got {type(protocol).__name__}")
        json.dumps(protocol, allow_nan=False)
    with torch.random.fork_rng(devices=[]):
        for name, with_gallery in (("queries search themselves", False), ("queries search a gallery", True)):
            scores = _check_scores(evaluator, _context(images, with_gallery), name)
            for other in (_context(images, with_gallery, spread=0.1), _context(images, with_gallery, longest=3.0)):
                told_apart |= _scores_of(evaluator, other) != scores
            with clause(evaluator, f"the same images give the same scores ({name})"):
                torch.manual_seed(1)
                again = evaluator.evaluate(_context(images, with_gallery))
                require(again == scores, f"got {scores}, then {again}")
            with clause(evaluator, f"what the classes are called changes nothing ({name})"):
                renamed = evaluator.evaluate(_context(images, with_gallery, scale=5, shift=7))
                close = renamed.keys() == scores.keys() and all(
                    math.isclose(renamed[key], value, rel_tol=1e-6, abs_tol=1e-9) for key, value in scores.items()
                )
                require(close, f"labels 0..3 give {scores}, labels 7, 12, 17 and 22 give {renamed}")
    with clause(evaluator, "it tells other embeddings from random ones"):
        require(
            told_apart,
            "embeddings that separate the classes, and others, get the very scores of random ones: it is constant",
        )


def _scores_of(evaluator: Evaluator, context: EvaluationContext) -> dict[str, float]:
    with clause(evaluator, "evaluate gives scores (other embeddings)"):
        torch.manual_seed(0)
        return evaluator.evaluate(context)


COLUMNS = ("embeddings", "labels", "ids")


def _columns(images: EmbeddingSet) -> list[Array]:
    return [getattr(images, column) for column in COLUMNS]


def _copied(images: EmbeddingSet) -> list[Array]:
    return [column.copy() for column in _columns(images)]


def _context(
    images: int, with_gallery: bool, scale: int = 1, shift: int = 0, spread: float | None = None, longest: float = 1.0
) -> EvaluationContext:
    """Four classes of random embeddings, or of such that lie within ``spread`` around four centres.

    With ``longest`` their lengths grow up to it from near 0, which makes the short ones everybody's neighbours.
    """
    names = {number * scale + shift: f"class {number}" for number in range(4)}
    class_names = tuple(names.get(label, "") for label in range(max(names) + 1))

    def embedding_set(seed: int) -> EmbeddingSet:
        classes = torch.arange(images) % 4
        rows = random_rows(images, dim=8, seed=seed)
        if spread is not None:
            rows = l2_normalize(torch.eye(8)[classes] + spread * rows)
        if longest > 1:
            rows = rows * torch.linspace(0.05, longest, images)[:, None]
        return EmbeddingSet(rows.numpy(), (classes * scale + shift).numpy(), class_names=class_names)

    return EvaluationContext(embedding_set(1), EuclideanSimilarity(), embedding_set(2) if with_gallery else None)


@contextmanager
def _reads_noted(context: EvaluationContext) -> Iterator[list[int]]:
    """The numbers of neighbours that are asked for meanwhile, after a 0."""
    reads, neighbours = [0], context.neighbours

    def noted(k: int) -> Indices:
        reads.append(k)
        return neighbours(k)

    with patch.object(context, "neighbours", noted):
        yield reads


def _check_scores(evaluator: Evaluator, context: EvaluationContext, name: str) -> dict[str, float]:
    with clause(evaluator, f"neighbours_needed is a whole number ({name})"):
        needed = evaluator.neighbours_needed(context)
        require(isinstance(needed, int) and needed >= 0, f"got {needed!r}")
        if needed:
            context.prefetch(needed)
    images = len(context.queries)
    before = {"queries": _copied(context.queries), "gallery": _copied(context.gallery)}
    neighbours = context.neighbours(needed).copy() if needed else None
    with clause(evaluator, f"evaluate gives named, finite floats ({name})"):
        torch.manual_seed(0)
        with _reads_noted(context) as reads:
            scores = evaluator.evaluate(context)
        require(isinstance(scores, dict) and len(scores) > 0, f"got {scores!r}")
        for key, value in scores.items():
            require(isinstance(key, str) and key.strip() != "", f"{key!r} is not a name")
            is_float = isinstance(value, (float, np.floating))
            require(is_float and math.isfinite(value), f"{key} is {value!r}")
    with clause(evaluator, f"it reads no more neighbours than neighbours_needed says ({name})"):
        require(max(reads) <= needed, f"it reads {max(reads)} of each query, and says {needed}; return {max(reads)}")
    with clause(evaluator, f"the means of per_query are its scores ({name})"):
        counted = evaluator.counted_queries(context)
        for key, values in evaluator.per_query(context).items():
            require(key in scores, f'per_query has "{key}", evaluate has {", ".join(scores)}')
            require(values.shape == (images,), f"{key} must have a value for each query, got shape {values.shape}")
            if key in counted:
                mask = counted[key]
                require(mask.shape == (images,) and mask.dtype == bool, f"counted_queries of {key} must be (Q,) bool")
                mean = float(values[mask].mean())
            else:
                mean = mean_over_queries(context.matches, values)
            require(math.isclose(mean, scores[key], rel_tol=1e-6, abs_tol=1e-9), f"{key} is {scores[key]}, not {mean}")
    with clause(evaluator, f"it leaves the embedding set alone ({name})"):
        for role, arrays in before.items():
            for column, found, given in zip(COLUMNS, _columns(getattr(context, role)), arrays, strict=True):
                require(bool((found == given).all()), f"{column} of the {role} were changed in place")
        same = neighbours is None or bool((context.neighbours(needed) == neighbours).all())
        require(same, "the cached neighbours were changed in place, which other evaluators read")
    return scores
