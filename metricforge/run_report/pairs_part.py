"""How well the similarity tells pairs of one class from pairs of two: histograms, threshold, ROC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

from metricforge.arrays import Floats, Floats32
from metricforge.calibration import Calibration
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.calibration import calibrate
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluators.labelled_pairs import labelled_pairs
from metricforge.evaluators.pair_scores import pair_scores
from metricforge.report.html import Chart, Line, Mark
from metricforge.run_report.retrieval import Retrieval

PAIRS = 50_000  # of each kind, at most
RATE = 0.01  # of queries of unknown classes that the threshold accepts
BINS = 60
TAIL = 0.001  # share of either kind of pairs left out at most at either end of a histogram
POINTS = 400  # of the ROC curve
NEIGHBOURS = 10


@dataclass(frozen=True)
class PairScores:
    """Similarities of pairs ``positive`` (P,) of one class and ``negative`` (N,) of two, and the area under the ROC."""

    positive: Floats
    negative: Floats
    area: float


def sample_pairs(context: EvaluationContext) -> PairScores | None:
    """Draw pairs as ``Verification`` does; None where one kind of pair does not exist."""
    both = []
    for kind in (True, False):
        pairs = labelled_pairs(context, positive=kind, limit=PAIRS, seed=context.seed)
        if not len(pairs.queries):
            return None
        scores = pair_scores(context, pairs)
        both.append(-np.sqrt(np.maximum(-scores, 0)) if context.similarity.search == "l2" else scores)
    positive, negative = both
    is_positive = np.repeat([True, False], [len(positive), len(negative)])
    return PairScores(positive, negative, float(roc_auc_score(is_positive, np.concatenate(both))))


def calibrated(context: EvaluationContext, retrieval: Retrieval) -> Calibration | str:
    """The similarity from which on the nearest image counts as a match, or why there is none."""
    impostors, genuine = _extremes(retrieval)
    scores, same = retrieval.scores, retrieval.is_match  # (Q, K)
    nearest = slice(0, NEIGHBOURS)
    try:
        return calibrate(
            impostors.astype(np.float64),
            genuine.astype(np.float64),
            context.queries.labels,
            scores[:, nearest].ravel().astype(np.float64),
            same[:, nearest].ravel().astype(np.int64),
            RATE,
            gallery=len(context.gallery),
        )
    except EmbeddingsError as fault:
        return str(fault).partition(";")[0]


def accepted_at(retrieval: Retrieval, threshold: float) -> tuple[float, float]:
    """What ``threshold`` accepts: the share of queries if their class were not there, and that of right answers."""
    impostors, genuine = (scores.astype(np.float64) for scores in _extremes(retrieval))
    known = np.isfinite(genuine)
    right = (genuine >= threshold) & (genuine >= impostors)
    return float((impostors >= threshold).mean()), float(right[known].mean()) if known.any() else 0.0


def _extremes(retrieval: Retrieval) -> tuple[Floats32, Floats32]:
    """The similarity of the nearest image of another class, and of the own class (Q,); -inf where it is not found."""
    scores, same = retrieval.scores, retrieval.is_match  # (Q, K)
    rows, last = np.arange(len(scores)), scores.shape[1] - 1
    # where all of the nearest are matches, the last of them is at least as near as any impostor
    impostors = scores[rows, np.where(same.all(axis=1), last, (~same).argmax(axis=1))]
    genuine = np.where(same.any(axis=1), scores[rows, same.argmax(axis=1)], np.float32(-np.inf))
    return impostors, genuine


def pair_charts(pairs: PairScores, calibration: Calibration | str) -> list[Chart]:
    """The histogram of both kinds of pairs with the threshold, and the ROC curve."""
    both = (pairs.positive, pairs.negative)
    low, high = min(np.quantile(one, TAIL) for one in both), max(np.quantile(one, 1 - TAIL) for one in both)
    edges = np.linspace(low, high, BINS + 1) if high > low else np.linspace(low - 0.5, low + 0.5, BINS + 1)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    lines = []
    for colour, (name, scores) in enumerate((("two classes", pairs.negative), ("one class", pairs.positive))):
        counts = np.histogram(scores, edges)[0] / len(scores)
        lines.append(Line(f"pairs of {name}", middles, counts.tolist(), "area", 1 - colour))
    marks = (
        [] if isinstance(calibration, str) else [Mark(calibration.threshold, f"threshold {calibration.threshold:.4g}")]
    )
    drawn = f"{len(pairs.positive):,} pairs of one class and {len(pairs.negative):,} of two, drawn at random."
    histogram = Chart(
        "distributions",
        "Similarities of pairs",
        "similarity",
        "share of the pairs",
        lines,
        marks=marks,
        percent=True,
        note=drawn,
    )
    return [histogram, _roc(pairs)]


def _roc(pairs: PairScores) -> Chart:
    is_positive = np.repeat([True, False], [len(pairs.positive), len(pairs.negative)])
    accepted, found, _ = roc_curve(is_positive, np.concatenate([pairs.positive, pairs.negative]))
    # evenly along the curve, whose interesting part is where few others are accepted
    along = np.cumsum(np.hypot(np.diff(accepted, prepend=0), np.diff(found, prepend=0)))
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(max=len(along) - 1))
    return Chart(
        "roc",
        f"ROC: area {pairs.area:.4f}",
        "pairs of two classes accepted",
        "pairs of one class accepted",
        [Line("ROC", accepted[kept].tolist(), found[kept].tolist())],
        percent=True,
        diagonal=True,
        note="Over all thresholds on the similarity; dotted, what chance would give. The area is of the pairs drawn.",
    )
