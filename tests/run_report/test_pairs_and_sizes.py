import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.pairs_part import accepted_at, calibrated, pair_charts, sample_pairs
from metricforge.run_report.retrieval import retrieve
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def _context(similarity, classes: int = 12) -> EvaluationContext:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), 6)
    embeddings = rng.normal(size=(classes, 8))[labels] + 0.7 * rng.normal(size=(len(labels), 8))
    return EvaluationContext(EmbeddingSet(embeddings.astype(np.float32), labels), similarity)


@pytest.mark.parametrize("similarity", [CosineSimilarity(), EuclideanSimilarity()], ids=["cosine", "euclidean"])
def test_pairs_are_scored_as_neighbours_are(similarity):
    context = _context(similarity)
    pairs, retrieval = sample_pairs(context), retrieve(context, 71)
    of_matches = retrieval.scores[retrieval.is_match]
    assert len(pairs.positive) == 12 * 15  # all of them: fewer than are drawn at most
    assert pairs.positive.mean() == pytest.approx(of_matches.mean(), rel=1e-4)
    assert pairs.area == pytest.approx(roc_auc_score(retrieval.is_match.ravel(), retrieval.scores.ravel()), abs=1e-6)


def test_the_threshold_accepts_at_most_the_wanted_share_of_impostors():
    context = _context(CosineSimilarity(), classes=60)
    retrieval = retrieve(context, 50)
    found = calibrated(context, retrieval)
    impostors = np.where(retrieval.is_match, -np.inf, retrieval.scores).max(axis=1)
    assert (impostors.astype(np.float64) >= found.threshold).mean() <= 0.01
    genuine = np.where(retrieval.is_match, retrieval.scores, -np.inf).max(axis=1).astype(np.float64)
    right = (genuine >= found.threshold) & (genuine >= impostors)
    assert accepted_at(retrieval, found.threshold) == (found.rate, pytest.approx(right[np.isfinite(genuine)].mean()))
    histogram, roc = pair_charts(sample_pairs(context), found)
    assert histogram.marks[0].x == found.threshold
    assert [sum(line.y) for line in histogram.lines] == pytest.approx([1, 1], abs=0.01)  # but for the tails
    assert (roc.lines[0].x[0], roc.lines[0].y[0], roc.lines[0].x[-1], roc.lines[0].y[-1]) == (0, 0, 1, 1)


def test_of_few_classes_there_is_no_threshold_and_the_reason_is_said():
    context = _context(CosineSimilarity(), classes=4)
    found = calibrated(context, retrieve(context, 10))
    assert found.startswith("a threshold is chosen on at least 10 classes")
    assert pair_charts(sample_pairs(context), found)[0].marks == []


def test_recall_in_the_charts_is_that_of_scores_json(one_run):
    from rich.console import Console

    from metricforge.run_report.opened_run import open_run
    from metricforge.run_report.size_part import recall_curve, size_chart

    run = open_run(one_run, "run", Console(quiet=True), device="cpu")
    scores = json.loads((one_run / "scores.json").read_text())["scores"]
    retrieval = retrieve(run.images.context, 20)
    curve = recall_curve(run, retrieval)
    assert all(curve[k] == scores[f"recall@{k}"] for k in (1, 2, 4))
    assert retrieval.is_match[:, :3].any(axis=1).mean() == pytest.approx(curve[3])
    chart = size_chart(run)
    whole = next(line for line in chart.lines if line.name == "whole embedding")
    assert (whole.x, whole.y) == ((32,), (scores["recall@1"],))  # 8 dimensions of 4 bytes
    assert {line.name: list(line.x) for line in chart.lines}["PCA, a byte a dimension"] == [4]
