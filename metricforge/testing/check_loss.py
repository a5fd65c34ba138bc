"""The contract of a loss as a test."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from metricforge.empty_batches import EmptyBatchWarning
from metricforge.functional.all_tuples import all_pairs, all_quadruplets, all_triplets
from metricforge.functional.distances import l2_normalize
from metricforge.functional.pair_masks import negative_mask, positive_mask
from metricforge.interfaces import Loss
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import LossOutput, Pairs, Quadruplets, Triplets, Tuples
from metricforge.testing.clause import clause, require
from metricforge.testing.sample_batches import batches_with_duplicates, batches_without_pairs, ordinary_batch

SIGN_STEPS = 40
LIST_TUPLES: dict[type, Callable[[Tensor], Tuples]] = {
    Pairs: all_pairs,
    Triplets: all_triplets,
    Quadruplets: all_quadruplets,
}


def check_loss(loss: Loss, *, dim: int = 8, num_classes: int = 4) -> None:
    """Test a loss against the contract, on the CPU and on a copy of it.

    It is called without tuples (unless ``needs_miner``), and with all tuples of the batch of each type it accepts,
    always with a ``EuclideanSimilarity``. In each of these ways:

    - it returns a ``LossOutput`` of a finite scalar, and leaves its inputs alone;
    - the gradient reaches the embeddings and every parameter, and is finite;
    - both stay finite with duplicate embeddings, one class, all different classes, one sample, bfloat16 and autocast;
    - where its ``can_compare`` says that the formula has no term, by default in a batch without a positive or a
      negative and for no tuples at all, it gives zero with zero gradients;
    - ``can_compare`` says yes to a batch that has everything;
    - the order of the batch does not change the value, if the loss is not random;
    - making it small does not drive the classes into each other, as a loss of the wrong sign does.

    Args:
        loss: the loss, built for ``dim`` and ``num_classes`` where it has these arguments.
        dim: the embedding size (D) to test with, at least 1.
        num_classes: labels are 0..num_classes-1; at least 2.

    Raises:
        AssertionError: naming the clause that failed, and the batch it failed on.
    """
    with clause(loss, "it declares what it accepts"):
        require(isinstance(loss, Loss), "not a metricforge.Loss")
        require(isinstance(loss.accepts, tuple), f"accepts must be a tuple of types, got {loss.accepts!r}")
        unknown = [kind for kind in loss.accepts if kind not in LIST_TUPLES]
        require(not unknown, f"accepts has {unknown}, allowed are Pairs, Triplets and Quadruplets")
        require(bool(loss.accepts) or not loss.needs_miner, "it needs a miner, but accepts no tuples")
    kinds: list[type | None] = [*loss.accepts] if loss.needs_miner else [None, *loss.accepts]
    for kind in kinds:
        run = _Run(loss, kind)
        embeddings, labels = ordinary_batch(dim, num_classes)
        _check_ordinary_batch(run, embeddings, labels)
        for name, batch in batches_with_duplicates(dim, num_classes).items():
            run.finite_gradients(name, *batch)
        for name, batch in batches_without_pairs(dim, num_classes).items():
            run.finite_gradients(name, *batch, zero=not run.can_compare(name, batch[1]))
        if kind is not None:
            nothing = not run.can_compare("no tuples", labels, no_tuples=True)
            run.finite_gradients("no tuples", embeddings, labels, zero=nothing, no_tuples=True)


def _check_ordinary_batch(run: _Run, embeddings: Tensor, labels: Tensor) -> None:
    with run.clause("there is something to compare", "an ordinary batch"):
        require(run.can_compare("an ordinary batch", labels), "can_compare says otherwise")
    gradient, parameter_gradients = run.finite_gradients("an ordinary batch", embeddings, labels)
    with run.clause("the gradient reaches the embeddings", "an ordinary batch"):
        require(gradient is not None and bool(gradient.any()), "it is None or zero everywhere")
    with run.clause("the gradient reaches every parameter", "an ordinary batch"):
        missed = [name for name, value in parameter_gradients.items() if value is None]
        require(not missed, f"{', '.join(missed)} got none")

    _check_sign(run, embeddings, labels)
    _check_proxies(run, labels, embeddings.shape[1], int(labels.max()) + 1)
    run.finite_gradients("a bfloat16 batch", embeddings.bfloat16(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        run.finite_gradients("an ordinary batch under bfloat16 autocast", embeddings, labels)

    with run.clause("the order of the batch does not matter", "an ordinary batch"):
        totals = [run.total(embeddings, labels, seed=seed) for seed in (0, 1, 2)]
        if min(totals) == max(totals):
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
            shuffled = run.total(embeddings[order], labels[order], seed=0)
            require(
                abs(shuffled - totals[0]) <= 1e-4 * max(abs(totals[0]), 1e-2),
                f"the total is {totals[0]:.6g}, of the same batch in another order {shuffled:.6g}",
            )


def _check_sign(run: _Run, embeddings: Tensor, labels: Tensor) -> None:
    """Follow the gradient downhill for some steps, from a batch whose classes are half apart."""
    classes = l2_normalize(torch.eye(int(labels.max()) + 1, embeddings.shape[1])[labels] + 1e-3)
    rows = l2_normalize(embeddings + classes).requires_grad_()
    before = _separation(rows, labels)
    descended = copy.deepcopy(run)
    moved = [rows, *(parameter for parameter in descended.loss.parameters() if parameter.requires_grad)]
    with run.clause("making it small does not drive the classes into each other", "an ordinary batch"):
        for seed in range(SIGN_STEPS):
            gradients = torch.autograd.grad(descended(rows, labels, seed).total, moved, allow_unused=True)
            _step_down(moved, gradients)
        after = _separation(rows, labels)
        require(
            all(new > old - 0.1 for new, old in zip(after, before, strict=True)) or max(after) > max(before),
            f"after {SIGN_STEPS} steps downhill, positives are less alike than before, compared with negatives: cosine "
            f"{before[0]:+.2f} became {after[0]:+.2f}; has the total the wrong sign?",
        )


@torch.no_grad()
def _step_down(moved: list[Tensor], gradients: tuple[Tensor | None, ...]) -> None:
    """Take one step against the gradients, each scaled to the same root mean square."""
    for tensor, gradient in zip(moved, gradients, strict=True):
        if gradient is not None:
            dense = gradient.to_dense() if gradient.is_sparse else gradient
            tensor.sub_(0.02 * dense / dense.square().mean().sqrt().clamp_min(1e-12))


@torch.no_grad()
def _check_proxies(run: _Run, labels: Tensor, dim: int, num_classes: int) -> None:
    """With each proxy at its class the total is smaller than with the proxies of others."""
    if dim < num_classes:
        return  # no room for a direction of each class
    centres = torch.eye(num_classes, dim)
    totals = []
    for shift in (0, 1):
        moved = copy.deepcopy(run)
        proxies = [p for p in moved.loss.parameters() if {*p.shape} == {num_classes, dim} and p.dim() == 2]
        if len(proxies) != 1 or num_classes == dim:
            return
        length = proxies[0].norm() / num_classes**0.5
        placed = length * centres.roll(shift, dims=0)  # (C, D)
        proxies[0].copy_(placed if proxies[0].shape == placed.shape else placed.T)
        totals.append(moved.total(centres[labels], labels, seed=0))
    with run.clause("a proxy at its own class makes the total smaller than one at another class", "an ordinary batch"):
        require(totals[0] < totals[1], f"they give {totals[0]:.4g} and {totals[1]:.4g}; has the total the wrong sign?")


@torch.no_grad()
def _separation(rows: Tensor, labels: Tensor) -> tuple[float, float]:
    """How much more alike positives are than negatives: by mean cosine, and by the share of the mean distance."""
    cosine = l2_normalize(rows) @ l2_normalize(rows).T  # (B, B)
    distance = torch.cdist(rows, rows)  # (B, B)
    positive, negative = positive_mask(labels), negative_mask(labels)
    gap = (distance[negative].mean() - distance[positive].mean()) / distance.mean().clamp_min(1e-12)
    return float(cosine[positive].mean() - cosine[negative].mean()), float(gap)


class _Run:
    """A loss, called in one way: without tuples, or with all tuples of one type."""

    def __init__(self, loss: Loss, kind: type | None) -> None:
        self.loss = copy.deepcopy(loss).cpu()
        self.kind = kind

    def clause(self, text: str, batch: str) -> AbstractContextManager[None]:
        given = f"all {self.kind.__name__}" if self.kind else "tuples=None"
        return clause(self.loss, f"{text} ({batch}, {given})")

    def __call__(self, embeddings: Tensor, labels: Tensor, seed: int = 0, *, no_tuples: bool = False) -> LossOutput:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", EmptyBatchWarning)
            torch.manual_seed(seed)
            return self.loss(embeddings, labels, self._tuples(labels, no_tuples), EuclideanSimilarity())

    def can_compare(self, name: str, labels: Tensor, *, no_tuples: bool = False) -> bool:
        with self.clause("can_compare answers", name):
            return bool(self.loss.can_compare(labels, self._tuples(labels, no_tuples)))

    def _tuples(self, labels: Tensor, no_tuples: bool) -> Tuples | None:
        return None if self.kind is None else LIST_TUPLES[self.kind](labels[:0] if no_tuples else labels)

    def total(self, embeddings: Tensor, labels: Tensor, seed: int) -> float:
        return self(embeddings, labels, seed).total.item()

    def finite_gradients(
        self, name: str, embeddings: Tensor, labels: Tensor, *, zero: bool = False, no_tuples: bool = False
    ) -> tuple[Tensor | None, dict[str, Tensor | None]]:
        """The gradients of the embeddings and of each parameter, after checking them and the output."""
        leaf = embeddings.clone().requires_grad_()
        labels_given = labels.clone()
        with self.clause("it returns a LossOutput", name):
            output = self(leaf, labels_given, no_tuples=no_tuples)
            require(isinstance(output, LossOutput), f"got {type(output).__name__}")
            require(isinstance(output.total, Tensor) and output.total.dim() == 0, "the total is not a scalar tensor")
            for part, value in output.parts.items():
                require(isinstance(value, Tensor) and value.dim() == 0, f"part {part!r} is not a scalar tensor")
                require(bool(value.isfinite()), f"part {part!r} is {value.item()}")
        with self.clause("it leaves its inputs alone", name):
            require(torch.equal(leaf, embeddings) and torch.equal(labels_given, labels), "they were changed in place")
        with self.clause("the total is finite", name):
            require(bool(output.total.isfinite()), f"it is {output.total.item()}")
        with self.clause("the total can be differentiated", name):
            require(output.total.requires_grad, "it is not connected to the embeddings; a zero must be, too")
            parameters = {key: value for key, value in self.loss.named_parameters() if value.requires_grad}
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                output.total, [leaf, *parameters.values()], allow_unused=True
            )
        gradient, gradients = found[0], dict(zip(parameters, found[1:], strict=True))
        with self.clause("the gradients are finite", name):
            for key, found_gradient in {"embeddings": gradient, **gradients}.items():
                if found_gradient is not None and found_gradient.is_sparse:
                    found_gradient = found_gradient.coalesce().values()
                require(found_gradient is None or bool(found_gradient.isfinite().all()), f"that of {key} is not")
        if zero:
            with self.clause("without a positive or a negative it is zero, with zero gradients", name):
                require(output.total.item() == 0, f"the total is {output.total.item():.6g}")
                require(gradient is None or not gradient.any(), "the gradient of the embeddings is not zero")
        return gradient, gradients
