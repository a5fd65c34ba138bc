"""Verification: are two images of the same class?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import auc, roc_curve

from metricforge.evaluators.labelled_pairs import labelled_pairs
from metricforge.evaluators.pair_scores import pair_scores
from metricforge.interfaces import EvaluationContext, Evaluator
from metricforge.registry import EVALUATORS


@EVALUATORS.register_module()
class Verification(Evaluator):
    """How well a threshold on the similarity separates matching pairs from non-matching ones, all in 0..1.

    - ``roc_auc``: the area under the ROC curve, a tie counting as one half;
    - ``eer``: the equal error rate, smaller = better: where, on the linearly interpolated ROC curve, the rate of false
      accepts (of negative pairs) equals the rate of false rejects (of positive ones);
    - ``tar@far=F``: the largest share of positive pairs that any threshold accepts while accepting at most the share F
      of negative ones. With fewer than 1 / F negative pairs the threshold accepts none of them.

    Each rate is a share of one kind of pair, so positive and negative pairs are sampled separately, without bias. The
    protocol records how many were used and how many there are.

    Args:
        fars: the false accept rates F, each in 0..1.
        pairs: how many positive and how many negative pairs to use at most, drawn uniformly; None: all.
        seed: of the sampling.

    Raises:
        ValueError: for an argument out of its range; when evaluated, without a positive or without a negative pair.
    """

    def __init__(self, fars: Sequence[float] = (0.01, 0.001), pairs: int | None = 1_000_000, seed: int = 0) -> None:
        numbers = [far for far in fars if isinstance(far, (int, float)) and 0 <= far <= 1]
        if not numbers or len(numbers) != len(fars) or len(set(numbers)) != len(numbers):
            raise ValueError(f"fars must be distinct rates in 0..1, such as (0.01, 0.001), got {fars!r}")
        if pairs is not None and pairs < 1:
            raise ValueError(f"pairs must be at least 1, or None for all pairs, got {pairs}")
        self.fars = tuple(numbers)
        self.pairs = pairs
        self.seed = seed

    def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        kinds = [labelled_pairs(context, positive=kind, limit=self.pairs, seed=self.seed) for kind in (False, True)]
        for pairs, missing in zip(kinds, ("of two classes", "of one class"), strict=True):
            if not pairs.available:
                raise ValueError(
                    f"Verification needs pairs of one class and of two, and there is no pair {missing} among "
                    f"{len(context.queries)} queries and {len(context.gallery)} gallery images; check the labels, or "
                    "leave Verification out"
                )
        scores = np.concatenate([pair_scores(context, pairs) for pairs in kinds])  # (P,)
        positive = np.repeat([False, True], [len(pairs.queries) for pairs in kinds])
        false_accepts, true_accepts, _ = roc_curve(positive, scores, drop_intermediate=False)  # (thresholds,)
        rejects_more = false_accepts + true_accepts < 1  # false accepts below false rejects
        before = int(rejects_more.sum()) - 1
        start = false_accepts[before] + true_accepts[before] - 1
        stop = false_accepts[before + 1] + true_accepts[before + 1] - 1
        share = -start / (stop - start)
        equal = (1 - share) * false_accepts[before] + share * false_accepts[before + 1]
        values = {"roc_auc": float(auc(false_accepts, true_accepts)), "eer": float(equal)}
        for far in self.fars:
            values[f"tar@far={far:g}"] = float(true_accepts[false_accepts <= far].max())
        return values

    def protocol(self) -> dict[str, object]:
        return {"fars": list(self.fars), "at_most_pairs": self.pairs, "seed": self.seed}

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        counts: dict[str, int] = {}
        for name, kind in (("positive_pairs", True), ("negative_pairs", False)):
            available = labelled_pairs(context, positive=kind, limit=0, seed=self.seed).available
            counts |= {name: min(available, self.pairs or available), f"{name}_available": available}
        return counts
