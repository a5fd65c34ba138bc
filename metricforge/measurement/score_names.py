"""Builds evaluators from the names of their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from metricforge.errors import EmbeddingsError
from metricforge.evaluators import (
    AMI,
    CMC,
    MRR,
    NMI,
    MAPAtR,
    MeanAveragePrecision,
    NearestClassMean,
    PairF1,
    PrecisionAtK,
    RecallAtK,
    RPrecision,
    Verification,
    ZeroShot,
)
from metricforge.interfaces import Evaluator
from metricforge.spelling import nearest

PLAIN: dict[str, Callable[[], Evaluator]] = {
    "map@r": MAPAtR,
    "r_precision": RPrecision,
    "map": MeanAveragePrecision,
    "mrr": MRR,
    "nmi": NMI,
    "nmi_geometric": lambda: NMI("geometric"),
    "ami": AMI,
    "f1": PairF1,
}
AT_K: dict[str, Callable[[Sequence[int]], Evaluator]] = {
    "recall": RecallAtK,
    "precision": PrecisionAtK,
    "cmc": CMC,
    "ncm": NearestClassMean,
}
ZERO_SHOT = "zero_shot"
VERIFICATION = ("roc_auc", "eer")
TAR = "tar@far="
KNOWN = (*PLAIN, *(f"{name}@K" for name in (*AT_K, ZERO_SHOT)), *VERIFICATION, f"{TAR}F")


def build_evaluators(scores: Sequence[str], tree: str | Path | None = None) -> list[Evaluator]:
    """Build the evaluators that give ``scores``, such as ``["recall@1", "recall@10", "map@r"]``, each evaluator once.

    Args:
        scores: their names.
        tree: what ``zero_shot@K`` reads: a file of the class tree, or "wordnet".

    Raises:
        EmbeddingsError: for an unknown name, a repeated one, or none; for ``zero_shot@K`` without
            a tree, or a tree without it.
    """
    repeated = sorted({name for name in scores if scores.count(name) > 1})
    if repeated or not scores:
        raise EmbeddingsError(f"scores must be distinct names, at least one, got {', '.join(repeated) or 'none'}")
    ks: dict[str, list[int]] = {}
    fars: list[float] = []
    evaluators: list[Evaluator] = []
    for score in scores:
        name, _, cutoff = score.partition("@")
        if score in PLAIN:
            evaluators.append(PLAIN[score]())
        elif name in (*AT_K, ZERO_SHOT) and cutoff.isascii() and cutoff.isdigit() and cutoff == str(int(cutoff)) != "0":
            ks.setdefault(name, []).append(int(cutoff))
        elif score.startswith(TAR) and (far := _rate(score.removeprefix(TAR))) is not None:
            fars.append(far)
        elif score not in VERIFICATION:
            candidates = [*KNOWN, *(f"{known}@1" for known in (*AT_K, ZERO_SHOT))]
            raise EmbeddingsError(
                f'scores: "{score}" is not a score{nearest(score, candidates, shown=list(KNOWN))}; '
                "K is an integer >= 1 and F a rate such as 0.001"
            )
    if (tree is None) != (ZERO_SHOT not in ks):
        raise EmbeddingsError(
            f"tree is what zero_shot@K reads, and it alone: got tree {tree} and scores {', '.join(scores)}; give both "
            'a CSV file with the columns child and parent, or "wordnet", and such a score, or neither'
        )
    if tree is not None:
        evaluators.append(ZeroShot(tree, ks.pop(ZERO_SHOT)))
    evaluators += [AT_K[name](cutoffs) for name, cutoffs in ks.items()]
    if fars or any(name in scores for name in VERIFICATION):
        evaluators.append(Verification(fars) if fars else Verification())
    return evaluators


def _rate(text: str) -> float | None:
    """Return ``text`` as a rate in 0..1 if it is spelled as in the names of scores, else None."""
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0 <= rate <= 1 and f"{rate:g}" == text else None
