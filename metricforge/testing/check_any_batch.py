"""What holds of a loss, miner, similarity or evaluator for any batch at all, tested on one batch."""

from __future__ import annotations

import copy
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from metricforge.empty_batches import EmptyBatchWarning
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluator import QueryEvaluator
from metricforge.functional import l2_normalize
from metricforge.interfaces import Evaluator, Loss, Miner, Similarity
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet, Pairs, Quadruplets, Tuples
from metricforge.testing.check_miner import require_negatives, require_positives
from metricforge.testing.clause import clause, require

_FROM_OTHER_END = {Pairs: (1, 0, 2), Quadruplets: (1, 0, 3, 2)}  # the columns of what is the same tuple


def check_any_batch(
    component: Loss | Miner | Similarity | Evaluator,
    embeddings: Tensor,
    labels: Tensor | Sequence[str],
    *,
    miner: Miner | None = None,
    any_order: bool = True,
) -> None:
    """Test what a component promises of any batch, however odd, such as one that hypothesis draws.

    - It leaves its inputs alone, and the generators of Python and numpy; what draws numbers draws them from torch's,
      which it never seeds, and an evaluator leaves that alone too;
    - scores are finite, and a miner's tuples are rows of the batch, with positives of one class and negatives of two;
    - where a loss is finite, so are its gradients; it may be infinite only where squares overflow, which a
      training refuses;
    - in another order the rows have the same total, tuples and scores, where nothing is drawn (of an evaluator: its
      protocol has no seed) and no distances tie;
    - it works without gradients too;
    - or it raises ValueError: a batch that cannot be told apart from a mistake may be refused, with a message.

    Args:
        component: what is tested, on a copy; on the CPU.
        embeddings: (B, D), of any float type, B 0 and more, contiguous or not.
        labels: (B,) int64, or the names of the classes.
        miner: what gives a loss its tuples; None gives it none.
        any_order: whether the order of the rows does not matter.

    Raises:
        AssertionError: naming the clause that failed.
    """
    if not isinstance(labels, Tensor):
        labels = torch.from_numpy(np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1].reshape(-1))
    component = copy.deepcopy(component)
    component = component if isinstance(component, Evaluator) else component.cpu()
    untouched = copy.deepcopy(component)  # it may remember the batches before
    given = embeddings.detach().clone(), labels.clone()
    batch = f"{len(labels)} x {embeddings.shape[1]}, {embeddings.dtype}"
    try:
        with _generators_left_alone(component, batch):
            if isinstance(component, Loss):
                tuples = _mined(miner, embeddings, labels)
                _check_loss(component, embeddings, labels, tuples, batch)
            elif isinstance(component, Miner):
                _check_tuples(component, embeddings, labels, batch)
            elif isinstance(component, Similarity):
                _check_pairwise(component, embeddings, batch)
            else:
                _check_evaluation(component, embeddings, labels, batch)
        if any_order and len(labels) > 1:
            _check_order(untouched, embeddings.detach().double(), labels, miner, batch)
    except ValueError as fault:
        with clause(component, f"an error says what is wrong ({batch})"):
            require(len(str(fault)) > 20, f"got {fault!r}")
    with clause(component, f"it leaves its inputs alone ({batch})"):
        require(_same(embeddings.detach(), given[0]) and torch.equal(labels, given[1]), "they were changed in place")


def _mined(miner: Miner | None, embeddings: Tensor, labels: Tensor) -> Tuples | None:
    if miner is None:
        return None
    with torch.no_grad():
        return miner(embeddings.detach(), labels, EuclideanSimilarity())


def _total(loss: Loss, rows: Tensor, labels: Tensor, tuples: Tuples | None) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyBatchWarning)
        return loss(rows, labels, tuples, EuclideanSimilarity()).total


def _check_loss(loss: Loss, embeddings: Tensor, labels: Tensor, tuples: Tuples | None, batch: str) -> None:
    leaf = embeddings.detach().requires_grad_()
    found = _total(loss, leaf, labels, tuples)
    largest = float(embeddings.detach().double().abs().max()) if embeddings.numel() else 0.0
    with clause(loss, f"the total is finite where squares are ({batch})"):
        overflows = largest**2 * embeddings.shape[1] * 8 > torch.finfo(found.dtype).max
        require(bool(found.isfinite()) or overflows, f"it is {found.item()}, and the largest number {largest:.3g}")
    if found.requires_grad and bool(found.isfinite()):
        found.backward()  # type: ignore[no-untyped-call]
        with clause(loss, f"the gradients of a finite total are finite ({batch})"):
            for name, tensor in {"embeddings": leaf, **dict(loss.named_parameters())}.items():
                gradient = tensor.grad
                if gradient is not None and gradient.is_sparse:
                    gradient = gradient.coalesce().values()
                require(gradient is None or bool(gradient.isfinite().all()), f"that of {name} is not")
    with torch.no_grad():
        _total(loss, embeddings.detach(), labels, tuples)


def _check_tuples(miner: Miner, embeddings: Tensor, labels: Tensor, batch: str) -> None:
    tuples = _mined(miner, embeddings, labels)
    assert tuples is not None
    with clause(miner, f"tuples are rows of the batch ({batch})"):
        for column in fields(tuples):
            rows = getattr(tuples, column.name)
            if rows.dtype == torch.int64 and len(rows):
                require(int(rows.min()) >= 0 and int(rows.max()) < len(labels), f"{column.name} has {rows.tolist()}")
    with clause(miner, f"positives are other samples of one class, negatives of two ({batch})"):
        require_positives(tuples, labels)
        require_negatives(tuples, labels)


def _check_pairwise(similarity: Similarity, embeddings: Tensor, batch: str) -> None:
    leaf = embeddings.detach().requires_grad_()
    scores = similarity.pairwise(leaf, leaf)
    with clause(similarity, f"scores are finite ({batch})"):
        require(bool(scores.isfinite().all()), f"{int((~scores.isfinite()).sum())} are not")
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        with clause(similarity, f"the gradient is finite ({batch})"):
            require(bool(gradient.isfinite().all()), f"{int((~gradient.isfinite()).sum())} numbers are not")


def _check_evaluation(evaluator: Evaluator, embeddings: Tensor, labels: Tensor, batch: str) -> None:
    drawn = torch.get_rng_state()
    scores = _scores(evaluator, embeddings, labels)
    with clause(evaluator, f"scores are finite ({batch})"):
        for name, value in scores.items():
            require(math.isfinite(value), f"{name} is {value}")
    with clause(evaluator, f"it leaves torch's generator alone ({batch})"):
        require(torch.equal(torch.get_rng_state(), drawn), "it has moved")


def _scores(evaluator: Evaluator, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    rows = embeddings.detach()
    rows = rows.float() if rows.dtype == torch.bfloat16 else rows
    return evaluator.evaluate(EvaluationContext(EmbeddingSet(rows.numpy(), labels.numpy()), EuclideanSimilarity()))


def _check_order(
    component: Loss | Miner | Similarity | Evaluator, rows: Tensor, labels: Tensor, miner: Miner | None, batch: str
) -> None:
    """In float64, so that only what depends on the order differs, and not how its rounding adds up."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    again, named = rows[order], labels[order]
    tied = _has_ties(rows) or _has_ties(l2_normalize(rows))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        state = torch.get_rng_state()
        with clause(component, f"the order of the rows does not matter ({batch})"):
            if isinstance(component, Similarity):
                scores = component.pairwise(rows, rows)
                if torch.equal(torch.get_rng_state(), state):
                    _require_close(component.pairwise(again, again), scores[order][:, order])
            elif tied:
                return
            elif isinstance(component, Loss) and miner is None:
                fresh = copy.deepcopy(component)
                total = _total(component, rows, labels, None)
                if torch.equal(torch.get_rng_state(), state):
                    _require_close(_total(fresh, again, named, None), total)
            elif isinstance(component, Miner):
                tuples = _mined(component, rows, labels)
                if torch.equal(torch.get_rng_state(), state):
                    found = _named(_mined(component, again, named), order)
                    require(found == _named(tuples, torch.arange(len(rows))), "other tuples are found")
            elif isinstance(component, QueryEvaluator) and "seed" not in component.protocol():
                first, second = _scores(component, rows, labels), _scores(component, again, named)
                same = all(math.isclose(second[name], value, abs_tol=1e-9) for name, value in first.items())
                require(same, f"got {first}, then {second}")


def _has_ties(rows: Tensor) -> bool:
    """Whether two distances of ``rows`` (B, D) are nearly the same, or not finite."""
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    first, second = torch.triu_indices(len(rows), len(rows), 1)
    apart = distances[first, second].sort().values  # (P,)
    return bool((apart[1:] <= apart[:-1] * (1 + 1e-6)).any() or apart[0] == 0 or not apart.isfinite().all())


def _named(tuples: Tuples | None, rows: Tensor) -> list[tuple[int, ...]]:
    """Tuples by the rows' numbers before they were put into another order, in an order of their own."""
    assert tuples is not None
    columns = [getattr(tuples, column.name) for column in fields(tuples)]
    named = [rows[column] if column.dtype == torch.int64 else column.long() for column in columns]
    found = list(zip(*(column.tolist() for column in named), strict=True))
    from_other_end = _FROM_OTHER_END.get(type(tuples))
    if from_other_end is not None:
        found = [min(each, tuple(each[column] for column in from_other_end)) for each in found]
    return sorted(found)


def _require_close(found: Tensor, expected: Tensor) -> None:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    same = torch.allclose(found, expected, rtol=1e-5, atol=1e-6 * min(1.0, largest), equal_nan=True)
    require(same, f"{found.flatten()[:4].tolist()} is not {expected.flatten()[:4].tolist()}")


@contextmanager
def _generators_left_alone(component: object, batch: str) -> Iterator[None]:
    """Torch's generator is put back: what is random on purpose draws from it."""
    states: tuple[Callable[[], object], ...] = (random.getstate, lambda: np.random.get_state(legacy=True)[1].tobytes())  # type: ignore[index, union-attr]
    before = [state() for state in states]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20_000_003)  # nobody's favourite seed
        seed = torch.initial_seed()
        yield
        reseeded = torch.initial_seed() != seed
    with clause(component, f"it leaves Python's and numpy's generators alone ({batch})"):
        require([state() for state in states] == before, "one of them has moved")
    with clause(component, f"it never seeds torch's generator ({batch})"):
        require(not reseeded, "it has")


def _same(found: Tensor, given: Tensor) -> bool:
    return bool(((found == given) | (found.isnan() & given.isnan())).all())
