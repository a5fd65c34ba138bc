"""What holds of a loss, miner or similarity for any batch at all, tested on one batch."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from metricforge.empty_batches import EmptyBatchWarning
from metricforge.interfaces import Loss, Miner, Similarity
from metricforge.similarities import EuclideanSimilarity
from metricforge.testing.clause import clause, require


def check_any_batch(component: Loss | Miner | Similarity, embeddings: Tensor, labels: Tensor) -> None:
    """Test what a component promises of any batch, however odd, such as one that hypothesis draws.

    - It leaves its inputs alone, and the generators of Python and numpy;
    - scores are finite, and a miner's tuples are rows of the batch;
    - where a loss is finite, so are its gradients; it may be infinite only where squares overflow, which a
      training refuses;
    - it works without gradients too;
    - or it raises ValueError: a batch that cannot be told apart from a mistake may be refused, with a message.

    Args:
        component: what is tested, on a copy; on the CPU.
        embeddings: (B, D), of any float type, B 0 and more, contiguous or not.
        labels: (B,) int64.

    Raises:
        AssertionError: naming the clause that failed.
    """
    component = copy.deepcopy(component).cpu()
    given = embeddings.detach().clone(), labels.clone()
    batch = f"{len(labels)} x {embeddings.shape[1]}, {embeddings.dtype}"
    try:
        with _generators_left_alone(component, batch):
            if isinstance(component, Loss):
                _check_loss(component, embeddings, labels, batch)
            elif isinstance(component, Miner):
                _check_tuples(component, embeddings, labels, batch)
            else:
                _check_scores(component, embeddings, batch)
    except ValueError as fault:
        with clause(component, f"an error says what is wrong ({batch})"):
            require(len(str(fault)) > 20, f"got {fault!r}")
    with clause(component, f"it leaves its inputs alone ({batch})"):
        require(_same(embeddings.detach(), given[0]) and torch.equal(labels, given[1]), "they were changed in place")


def _check_loss(loss: Loss, embeddings: Tensor, labels: Tensor, batch: str) -> None:
    def total(rows: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EmptyBatchWarning)
            return loss(rows, labels, None, EuclideanSimilarity()).total

    leaf = embeddings.detach().requires_grad_()
    found = total(leaf)
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
        total(embeddings.detach())


def _check_tuples(miner: Miner, embeddings: Tensor, labels: Tensor, batch: str) -> None:
    with torch.no_grad():
        tuples = miner(embeddings.detach(), labels, EuclideanSimilarity())
    with clause(miner, f"tuples are rows of the batch ({batch})"):
        for name in ("first", "second", "anchor", "positive", "negative"):
            rows = getattr(tuples, name, None)
            if isinstance(rows, Tensor) and rows.dtype == torch.int64 and len(rows):
                require(int(rows.min()) >= 0 and int(rows.max()) < len(labels), f"{name} has {rows.tolist()}")


def _check_scores(similarity: Similarity, embeddings: Tensor, batch: str) -> None:
    leaf = embeddings.detach().requires_grad_()
    scores = similarity.pairwise(leaf, leaf)
    with clause(similarity, f"scores are finite ({batch})"):
        require(bool(scores.isfinite().all()), f"{int((~scores.isfinite()).sum())} are not")
    if scores.requires_grad:
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        with clause(similarity, f"the gradient is finite ({batch})"):
            require(bool(gradient.isfinite().all()), f"{int((~gradient.isfinite()).sum())} numbers are not")


@contextmanager
def _generators_left_alone(component: object, batch: str) -> Iterator[None]:
    """Torch's generator is put back: what is random on purpose draws from it."""
    states: tuple[Callable[[], object], ...] = (random.getstate, lambda: np.random.get_state(legacy=True)[1].tobytes())  # type: ignore[index, union-attr]
    before = [state() for state in states]
    with torch.random.fork_rng(devices=[]):
        yield
    with clause(component, f"it leaves Python's and numpy's generators alone ({batch})"):
        require([state() for state in states] == before, "one of them has moved")


def _same(found: Tensor, given: Tensor) -> bool:
    return bool(((found == given) | (found.isnan() & given.isnan())).all())
