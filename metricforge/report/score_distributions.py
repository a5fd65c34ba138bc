"""A chart of how well a similarity separates pairs of one class from pairs of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.metrics import roc_auc_score

from metricforge.arrays import Floats32
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluators.labelled_pairs import LabelledPairs, labelled_pairs
from metricforge.functional import check_count
from metricforge.interfaces import Similarity
from metricforge.report.chart_style import GRID, INK, NEGATIVE, POSITIVE, open_chart
from metricforge.report.save_figure import save_figure

PAIRS_AT_ONCE = 2**12
BINS = 70
TAIL = 0.1  # per cent of the pairs left out at either end of a histogram, so that one outlier does not squeeze it


def draw_score_distributions(
    context: EvaluationContext,
    similarities: Sequence[Similarity],
    path: Path | str,
    pairs: int = 20_000,
    title: str = "Scores of pairs",
) -> dict[str, float]:
    """Draw the scores of random positive and negative pairs, a panel for each similarity.

    Huang et al. (NIPS 2016, Figure 1b) compare their metric with the Euclidean distance like this. The pairs are those
    that ``Verification`` draws: a query with a gallery image, each pair at most once. The title of a panel ends with
    the area under the ROC curve: how often a positive pair scores above a negative one, ties counting half.

    Args:
        context: queries and gallery, the device, and the seed of the draw.
        similarities: at least one.
        path: the picture to write; its ending says the format (.png, .pdf, .svg).
        pairs: at most so many of each kind are drawn.
        title: of the whole picture.

    Returns:
        The area under the ROC curve of each similarity, by its type's name.

    Raises:
        EmbeddingsError: without a positive or a negative pair.
        ValueError: without similarities, for ``pairs`` below 1, or for an unknown ending.
    """
    if not similarities:
        raise ValueError("similarities must hold at least one, got none")
    check_count("pairs", pairs)
    kinds = [labelled_pairs(context, positive=kind, limit=pairs, seed=context.seed) for kind in (True, False)]
    positive, negative = (len(kind.queries) for kind in kinds)
    if not positive or not negative:
        missing = "two classes" if positive else "one class"
        raise EmbeddingsError(
            f"there is no pair of {missing} among {len(context.queries)} queries and {len(context.gallery)} gallery "
            "images; check the labels"
        )
    figure, panels = open_chart(
        len(similarities), title, f"{positive:,} pairs of one class, {negative:,} of two; ROC area in brackets"
    )
    is_positive = np.repeat([True, False], [positive, negative])
    areas = {}
    for axes, similarity in zip(panels, similarities, strict=True):
        name = type(similarity).__name__
        of_positive, of_negative = (_scores(context, similarity, kind) for kind in kinds)
        areas[name] = float(roc_auc_score(is_positive, np.concatenate([of_positive, of_negative])))
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
def _scores(context: EvaluationContext, similarity: Similarity, pairs: LabelledPairs) -> Floats32:
    """Score ``pairs`` (P,) one by one, so that a metric head need not score whole rows of the gallery."""
    similarity = context.by(similarity).similarity  # on the context's device, in evaluation mode
    parts = []
    for start in range(0, len(pairs.queries), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        query, image = (
            torch.from_numpy(np.asarray(images.embeddings[index[block]], dtype=np.float32)).to(context.device)
            for images, index in ((context.queries, pairs.queries), (context.gallery, pairs.images))
        )  # (p, D) each
        parts.append(similarity.score_lists(query, image[:, None])[:, 0].float().cpu().numpy())
    return np.concatenate(parts)


def _panel(axes: Axes, of_positive: Floats32, of_negative: Floats32) -> None:
    together = np.concatenate([of_positive, of_negative])
    low, high = (float(value) for value in np.percentile(together, [TAIL, 100 - TAIL]))
    if low == high:  # all scores are equal
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
    margin = 0.02 * (high - low)  # so that the outermost bars do not touch the frame
    axes.set_xlim(low - margin, high + margin)
    axes.margins(y=0.12)
