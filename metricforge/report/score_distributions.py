"""A picture of how far apart a similarity keeps pairs of one class and pairs of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from metricforge.arrays import Array, Indices
from metricforge.evaluation.context import EvaluationContext
from metricforge.interfaces import Similarity
from metricforge.report.chart_style import GRID, INK, NEGATIVE, POSITIVE, open_chart
from metricforge.report.pair_sample import sample_pairs
from metricforge.report.save_figure import save_figure

PAIRS_AT_ONCE = 2**12
BINS = 70
TAIL = 0.1  # per cent of the pairs at either end that a histogram leaves out, so that one outlier does not squeeze it


def draw_score_distributions(
    context: EvaluationContext,
    similarities: Sequence[Similarity],
    path: Path | str,
    pairs: int = 20_000,
    title: str = "Scores of pairs",
) -> dict[str, float]:
    """Draws the scores of random positive and negative pairs of the queries, a panel for each similarity.

    Huang et al. (NIPS 2016) show their metric beside the Euclidean distance so in Figure 1b. Above each panel stands
    the share of (positive, negative) couples whose positive pair has the larger score, 0.5 to 1: the area under the ROC
    curve, in which ties count half.

    Args:
        context: holds the images and says where to compute, and the seed of the draw.
        similarities: at least one.
        path: the picture to write; its ending says the format (.png, .pdf, .svg).
        pairs: how many of each kind are drawn.
        title: stands above.

    Returns:
        The area under the ROC curve of each similarity, by its type's name.

    Raises:
        ValueError: without similarities, for labels without positive or negative pairs, or an unknown ending.
    """
    if not similarities:
        raise ValueError("similarities must hold at least one, got none")
    positive, negative = sample_pairs(context.queries.labels, pairs, context.seed)
    figure, panels = open_chart(
        len(similarities), title, f"{pairs:,} random pairs of one class, and as many of two; ROC area in brackets"
    )
    areas = {}
    for axes, similarity in zip(panels, similarities, strict=True):
        name = type(similarity).__name__
        of_positive, of_negative = (_scores(context, similarity, kind) for kind in (positive, negative))
        areas[name] = _area(of_positive, of_negative)
        _panel(axes, of_positive, of_negative)
        is_distance = similarity.search == "l2"
        axes.set_title(
            f"{'Euclidean distance' if is_distance else name} ({areas[name]:.3f})",
            fontsize=10,
            color=INK,
            loc="left",
            pad=8,
        )
        axes.set_xlabel("similarity: minus the distance" if is_distance else "similarity score", fontsize=9, color=INK)
    panels[0].set_ylabel("density of pairs", fontsize=9, color=INK)
    panels[0].legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left", handlelength=1.2)
    save_figure(figure, path)
    return areas


@torch.no_grad()
def _scores(context: EvaluationContext, similarity: Similarity, pairs: Indices) -> Array:
    """Scores (P,) of ``pairs`` (P, 2) of the context's queries."""
    embeddings = context.queries.embeddings
    similarity = context.by(similarity).similarity  # on the context's device, in evaluation mode
    parts = []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        one, other = (
            torch.from_numpy(np.asarray(embeddings[column], dtype=np.float32)).to(context.device)
            for column in pairs[start : start + PAIRS_AT_ONCE].T
        )  # (p, D) each
        parts.append(similarity.score_lists(one, other[:, None])[:, 0].float().cpu().numpy())
    return np.concatenate(parts)


def _area(of_positive: Array, of_negative: Array) -> float:
    """How often a positive pair's score is above a negative's, a tie as half."""
    ordered = np.sort(of_negative)
    below = np.searchsorted(ordered, of_positive, side="left") + np.searchsorted(ordered, of_positive, side="right")
    return float(below.mean() / 2 / len(ordered))


def _panel(axes: Axes, of_positive: Array, of_negative: Array) -> None:
    together = np.concatenate([of_positive, of_negative])
    low, high = (float(value) for value in np.percentile(together, [TAIL, 100 - TAIL]))
    if low == high:  # all scores are one
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1).tolist()
    for scores, colour, name in (
        (of_negative, NEGATIVE, "pairs of two classes"),
        (of_positive, POSITIVE, "pairs of one class"),
    ):
        drawn = dict(bins=edges, density=True, color=colour)
        axes.hist(scores, histtype="stepfilled", alpha=0.35, label=name, **drawn)
        axes.hist(scores, histtype="step", linewidth=1.4, **drawn)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    margin = 0.02 * (high - low)  # so that the outermost bars do not lean on the frame
    axes.set_xlim(low - margin, high + margin)
    axes.margins(y=0.12)
