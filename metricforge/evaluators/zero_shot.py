"""Classification into unseen classes by the means of their relatives in a class tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array, Flags, Indices
from metricforge.evaluation.evaluator import QueryEvaluator
from metricforge.evaluators.class_means import TIE, sums_of_classes, vectors_to_average
from metricforge.evaluators.class_tree import ClassTree, read_class_tree
from metricforge.evaluators.cutoffs import checked_ks
from metricforge.interfaces import EvaluationContext
from metricforge.registry import EVALUATORS

QUERIES_AT_ONCE = 1024


class _Task(NamedTuple):
    """Labels of the classes seen (S,) and unseen (U,), and which queries are of an unseen one (Q,)."""

    seen: Indices
    unseen: Indices
    asked: Flags


@EVALUATORS.register_module()
class ZeroShot(QueryEvaluator):
    """The share of queries of unseen classes with their class among the K nearest *estimated* means: ``zero_shot@K``.

    A class is seen if the gallery has images of it. The mean of a node of the tree is that of the means of the seen
    classes below it, each counting alike, and an unseen class is estimated by the mean of its ancestors' means, as in
    the transfer experiments of Huang et al. (NIPS 2016), who follow Mensink et al. (TPAMI 2013): flat top-K among the
    unseen classes alone. Queries of seen classes are left out and counted. Images are averaged and compared as for
    ``NearestClassMean``.

    Args:
        tree: a CSV file with the columns ``child`` and ``parent`` that leads up from the names of all classes, or
            ``"wordnet"`` for names such as ``n01443537``.
        ks: the values of K; one that is beyond the number of unseen classes is reached by every query.
        ancestors: "all" that have a seen class below them, the root too, or the "nearest" such ones alone.

    Raises:
        ValueError: for arguments outside these ranges, or a tree that cannot be read; when evaluated, if the gallery
            has every class of the queries, a class is not in the tree, or none of its ancestors has a seen class.
    """

    def __init__(
        self, tree: str | Path, ks: Sequence[int] = (1, 5), ancestors: Literal["all", "nearest"] = "all"
    ) -> None:
        if ancestors not in ("all", "nearest"):
            raise ValueError(f'ancestors must be "all" or "nearest", got {ancestors!r}')
        self.ks = checked_ks(ks)
        self.ancestors = ancestors
        self.source = tree
        self.tree = read_class_tree(tree)

    def per_query(self, context: EvaluationContext) -> dict[str, Array]:
        task = _task(context)
        rank = np.full(len(context.queries), len(task.unseen) + 1)  # (Q,)
        rank[task.asked] = self._rank_of_own_class(context, task)
        return {f"zero_shot@{k}": task.asked & (rank <= k) for k in self.ks}

    def counted_queries(self, context: EvaluationContext) -> dict[str, Array]:
        return dict.fromkeys((f"zero_shot@{k}" for k in self.ks), _task(context).asked)

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        task = _task(context)
        return {
            "classes_seen": len(task.seen),
            "classes_unseen": len(task.unseen),
            "queries_of_seen_classes": int((~task.asked).sum()),
        }

    def protocol(self) -> dict[str, object]:
        return {"ks": list(self.ks), "tree": str(self.source), "ancestors": self.ancestors}

    @torch.no_grad()
    def _rank_of_own_class(self, context: EvaluationContext, task: _Task) -> Indices:
        """The rank (q,) of the class of each query asked among the unseen classes, from 1 on, ties by label."""
        similarity, device = context.similarity, context.device
        of_image = np.searchsorted(task.seen, context.gallery.labels)
        sums = sums_of_classes(context.gallery.embeddings, of_image, len(task.seen), similarity, device)  # (S, D')
        sizes = torch.from_numpy(np.bincount(of_image)).to(sums)[:, None]  # (S, 1)
        means = self._estimated_means(context, task, sums / sizes)  # (U, D')
        asked = task.asked.nonzero()[0]  # (q,)
        own = torch.from_numpy(np.searchsorted(task.unseen, context.queries.labels[task.asked])).to(device)  # (q,)
        number = torch.arange(len(means), device=device)  # (U,)
        ranks = []
        for start in range(0, len(asked), QUERIES_AT_ONCE):
            block = slice(start, start + QUERIES_AT_ONCE)
            queries = vectors_to_average(context.queries.embeddings[asked[block]], similarity, device)  # (b, D')
            scores = similarity.pairwise(queries, means)  # (b, U)
            reached = scores.gather(1, own[block, None])  # (b, 1)
            tie = TIE * reached.abs().clamp_min(1)  # (b, 1)
            before = number < own[block, None]
            nearer = (scores > reached + tie) | ((scores >= reached - tie) & before)  # (b, U)
            ranks.append(1 + nearer.sum(dim=1))
        return torch.cat(ranks).cpu().numpy()

    def _estimated_means(self, context: EvaluationContext, task: _Task, of_seen: Tensor) -> Tensor:
        """Estimate the mean (U, D') of each unseen class from those of seen classes ``of_seen`` (S, D')."""
        below: dict[str, list[int]] = {}
        for number, name in enumerate(_names(context, task.seen, self.tree, self.source)):
            for node in _flat(self.tree.generations(name)):
                below.setdefault(node, []).append(number)
        estimated = []
        for name in _names(context, task.unseen, self.tree, self.source):
            known = [[node for node in nodes if node in below] for nodes in self.tree.generations(name)]
            known = [nodes for nodes in known if nodes]
            if not known:
                raise ValueError(
                    f'no ancestor of class "{name}" in {self.source} has a class that the gallery has images of; '
                    "join the tree's parts under one root"
                )
            nodes = known[0] if self.ancestors == "nearest" else _flat(known)
            estimated.append(torch.stack([of_seen[below[node]].mean(dim=0) for node in nodes]).mean(dim=0))
        return torch.stack(estimated)


def _task(context: EvaluationContext) -> _Task:
    seen = np.unique(context.gallery.labels)
    asked = ~np.isin(context.queries.labels, seen)
    if not asked.any():
        raise ValueError(
            "ZeroShot asks for queries of classes that the gallery has no image of, and it has one of each; search "
            "images of unseen classes (role query) in those of the seen ones (role gallery)"
        )
    return _Task(seen, np.unique(context.queries.labels[asked]), asked)


def _names(context: EvaluationContext, labels: Indices, tree: ClassTree, source: str | Path) -> list[str]:
    known = context.queries.class_names
    names = [str(label) if known is None else str(known[label]) for label in labels]
    absent = [name for name in names if name not in tree]
    if absent:
        shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        raise ValueError(f"{len(absent)} classes are not in the tree {source}: {shown}")
    return names


def _flat(generations: Sequence[Sequence[str]]) -> list[str]:
    return [name for names in generations for name in names]
