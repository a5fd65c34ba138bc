"""Recall against how many neighbours are looked at, and against how much of the embedding is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import run_evaluation
from metricforge.evaluators import RecallAtK, ScoresInSpace
from metricforge.report.html import Chart, Line
from metricforge.run_report.opened_run import OpenedRun
from metricforge.run_report.retrieval import Retrieval

SMALLEST = 4  # dimensions
MOST_QUERIES = 30_000  # beyond which a search in every space takes too long
SPACES = (("first:{}", "first N dimensions"), ("pca:{}", "PCA"), ("pca:{}+int8", "PCA, a byte a dimension"))


def recall_chart(runs: Sequence[OpenedRun], retrievals: Sequence[Retrieval]) -> Chart:
    """Recall@K of each run for every K searched; those of ``scores.json`` are taken from there."""
    lines = []
    for colour, (run, retrieval) in enumerate(zip(runs, retrievals, strict=True)):
        values = recall_curve(run, retrieval)
        name = run.name if len(runs) > 1 else "this run"
        lines.append(Line(name, list(values), list(values.values()), "line", colour))
    lines += _baselines(runs[0].scored.protocol, len(runs))
    return Chart(
        "recall_at_k",
        "Recall against K",
        "K, nearest images looked at",
        "recall@K",
        lines,
        percent=True,
        log_x=True,
        note="The share of queries with a match among their K nearest images.",
    )


def recall_curve(run: OpenedRun, retrieval: Retrieval) -> dict[int, float]:
    """Recall@K by K."""
    assert run.images is not None
    found = np.logical_or.accumulate(retrieval.is_match[run.images.context.task.has_match], axis=1)  # (q, K)
    values = {k: float(value) for k, value in enumerate(found.mean(axis=0), start=1)}
    for name, value in run.scored.scores.items():
        said = re.fullmatch(r"recall@(\d+)", name)
        if said and int(said[1]) in values:
            values[int(said[1])] = value
    return values


def size_chart(run: OpenedRun) -> Chart | str:
    """Recall@1 against the bytes of a vector, or why there is none."""
    assert run.images is not None
    context = run.images.context
    if context.similarity.search not in ("l2", "ip"):
        return f"{type(context.similarity).__name__} compares whole embeddings only, so no part of one is tried."
    if len(context.queries) > MOST_QUERIES:
        return f"There are more than {MOST_QUERIES:,} queries, so smaller embeddings were not tried."
    dimensions = context.queries.embeddings.shape[1]
    sizes = [size for size in _powers(dimensions) if size <= len(context.gallery)]
    lines = []
    for colour, (space, title) in enumerate(SPACES):
        points = dict(_recalls(context, [space.format(size) for size in sizes]))
        if points:
            lines.append(_line(title, points, colour))
    full = run.scored.scores.get("recall@1")
    if full is not None:
        size = context.bytes_per_vector
        lines.append(_line("whole embedding", {f"{dimensions} dimensions": (size, full)}, 3))
    binary = run.scored.scores.get("binary/recall@1")
    if binary is not None and dimensions % 8 == 0:
        lines.append(_line("signs alone", {f"{dimensions} bits": (dimensions // 8, binary)}, 4))
    return Chart(
        "recall_by_size",
        "Recall against the size of an embedding",
        "bytes of an embedding",
        "recall@1",
        lines,
        percent=True,
        log_x=True,
        note="PCA is fitted on the searched images themselves, without their labels; on other images it may do worse.",
    )


def _line(title: str, points: Mapping[str, tuple[int, float]], colour: int) -> Line:
    sizes, values = zip(*sorted(points.values()), strict=True)
    notes = sorted(points, key=lambda name: points[name])
    return Line(title, sizes, values, "dots", colour, notes)


def _recalls(context: EvaluationContext, spaces: Sequence[str]) -> Iterator[tuple[str, tuple[int, float]]]:
    for space in spaces:
        evaluator = ScoresInSpace(space, [RecallAtK(ks=(1,))])
        found = run_evaluation(context, [evaluator])
        yield space, (evaluator.ranking(context).bytes_per_vector, found.scores[f"{space}/recall@1"])


def _powers(dimensions: int) -> list[int]:
    """Powers of two below ``dimensions``, from the smallest that says something on."""
    sizes = [size for size in (2**power for power in range(16)) if SMALLEST <= size < dimensions]
    return sizes[-6:]


def _baselines(protocol: Mapping[str, Any], first_colour: int) -> Iterator[Line]:
    found = protocol.get("baselines")
    for number, (name, scores) in enumerate(found.items() if isinstance(found, Mapping) else ()):
        its = {
            int(name.removeprefix("recall@")): value
            for name, value in scores.items()
            if re.fullmatch(r"recall@\d+", name)
        }
        if its:
            yield Line(str(name), sorted(its), [its[k] for k in sorted(its)], "dots", first_colour + number)
