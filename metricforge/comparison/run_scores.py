"""Reads the scores, protocol and per-query results of a run's last evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from metricforge.errors import ComparisonError
from metricforge.evaluation import QueryScores, query_scores_path, read_query_scores, read_scores
from metricforge.spelling import nearest

SCORES_FILE, EVALUATIONS = "scores.json", "evaluations"
# What a query contributes is kept in float32, and a mean of such numbers is no nearer to that of doubles.
ROUNDING = 1e-6


@dataclass(frozen=True)
class RunScores:
    """``scores`` by name and their ``protocol``, read from ``path``; ``queries`` is None where no file holds them."""

    path: Path
    scores: Mapping[str, float]
    protocol: Mapping[str, object]
    queries: QueryScores | None


def read_run(run: Path | str) -> RunScores:
    """Read the scores of ``run``: the folder of a run or of an evaluation, or a ``scores.json`` by any name.

    A run's folder has the scores of its training; those of later tests are below ``evaluations``.

    Raises:
        ComparisonError: if there is no such run, it has no scores yet, or its files are not MetricForge's or not of the
            same evaluation.
    """
    run = Path(run)
    if not run.exists():
        beside = [path.name for path in run.parent.iterdir() if path.is_dir()] if run.parent.is_dir() else []
        guess = nearest(run.name, beside, shown=[]).partition(" (known")[0]
        raise ComparisonError(
            f"{run}: there is no such run{guess}; name the folder of one, which training prints as `run`, or a file "
            "that `metricforge evaluate --json` wrote"
        )
    path = run / SCORES_FILE if run.is_dir() else run
    if not path.exists():
        evaluations = sorted(str(file.parent) for file in run.glob(f"{EVALUATIONS}/*/{SCORES_FILE}"))
        way_out = (
            f"its evaluations are {', '.join(evaluations)}"
            if evaluations
            else f"`metricforge test CONFIG CHECKPOINT` writes one below {run / EVALUATIONS} at any time"
        )
        raise ComparisonError(f"{run}: has no {SCORES_FILE} of its own, which training writes when it ends; {way_out}")
    try:
        scores, protocol = read_scores(path)
        beside_it = query_scores_path(path)
        queries = read_query_scores(beside_it) if beside_it.exists() else None
    except ValueError as fault:
        raise ComparisonError(str(fault)) from fault
    if queries is not None:
        for score in queries.values:
            if score not in scores or abs(queries.mean(score) - scores[score]) > ROUNDING:
                raise ComparisonError(
                    f"{beside_it}: its {score} is {queries.mean(score):.6f}, that of {path.name} "
                    f"{scores.get(score, 'absent')}: they are of two evaluations, of which the later did not end; "
                    "evaluate again with `metricforge test CONFIG CHECKPOINT`, or delete the former"
                )
    return RunScores(path, scores, protocol, queries)
