"""The contract of a similarity as a test."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from metricforge.functional.distances import pairwise_squared_distances
from metricforge.interfaces import Similarity
from metricforge.testing.clause import clause, require
from metricforge.testing.sample_batches import random_rows


def check_similarity(similarity: Similarity, *, dim: int = 8, symmetric: bool = True) -> None:
    """Test a similarity against the contract, on the CPU and on a copy of it.

    - ``pairwise`` gives finite (N, M) floats, for bfloat16 and duplicates too, and leaves its inputs alone;
    - in evaluation mode a score depends on its two embeddings alone, not on the others of the batch;
    - swapping the two changes nothing, unless ``symmetric`` is False, which it may not be where it declares that;
    - ``score_lists`` gives each list the scores that ``pairwise`` gives;
    - a similarity without parameters finds an embedding more like itself than like its opposite;
    - gradients reach both sides and every parameter and are finite, at duplicates too, in both modes (unless it is
      searched by "hamming": a threshold has none);
    - where ``search`` is set, neighbours found after ``prepare`` rank as ``pairwise`` ranks them.

    Args:
        similarity: the similarity, built for ``dim`` where it has this argument.
        dim: the embedding size (D) to test with, at least 1.
        symmetric: whether S(x, y) must be S(y, x).

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(similarity, "it declares how it is searched"):
        require(isinstance(similarity, Similarity), "not a metricforge.Similarity")
        allowed = similarity.search in ("l2", "ip", "hamming", None)
        require(allowed, f'search must be "l2", "ip", "hamming" or None, got {similarity.search!r}')
    similarity = copy.deepcopy(similarity).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for training in (True, False) if similarity.search != "hamming" else ():
            similarity.train(training)
            _check_gradients(similarity, dim, "training mode" if training else "evaluation mode")
        x, y = random_rows(5, dim, seed=1), random_rows(7, dim, seed=2) * 1.5
        _check_scores(similarity, x, y)
        _check_independence(similarity, x, y, symmetric or similarity.symmetric)
        _check_lists(similarity, x, y)
        if not list(similarity.parameters()):
            with clause(similarity, "larger means more alike"):
                itself, opposite = similarity.pairwise(x, x).diagonal(), similarity.pairwise(x, -x).diagonal()
                require(bool((itself > opposite).all()), "an embedding is not more like itself than like its opposite")
        if similarity.search is not None:
            # Of different lengths: of one length, Euclidean distance and inner product rank the same.
            lengths = torch.linspace(0.3, 2, 40)[:, None]
            _check_search(similarity, random_rows(6, dim, seed=3), random_rows(40, dim, seed=4) * lengths)


def _check_gradients(similarity: Similarity, dim: int, mode: str) -> None:
    rows = random_rows(5, dim)
    rows[1] = rows[0]
    for name, other in (
        ("a batch against itself, with duplicates", None),
        ("two batches", random_rows(7, dim, seed=5)),
    ):
        x = rows.clone().requires_grad_()
        y = x if other is None else other.requires_grad_()
        with clause(similarity, f"gradients are finite and reach what they must ({name}, {mode})"):
            scores = similarity.pairwise(x, y)
            weights = torch.linspace(0.5, 1.5, scores.numel()).view_as(scores)
            parameters = {key: value for key, value in similarity.named_parameters() if value.requires_grad}
            inputs = {"x": x, **({} if other is None else {"y": y}), **parameters}
            gradients = torch.autograd.grad((scores * weights).sum(), list(inputs.values()), allow_unused=True)
            for key, gradient in zip(inputs, gradients, strict=True):
                require(gradient is not None, f"{key} got none")
                assert gradient is not None
                require(bool(gradient.isfinite().all()), f"that of {key} is not finite")
                require(key not in ("x", "y") or bool(gradient.any()), f"that of {key} is zero everywhere")


@torch.no_grad()
def _check_scores(similarity: Similarity, x: Tensor, y: Tensor) -> None:
    for name, first, second in (
        ("(5, D) and (7, D)", x, y),
        ("(5, D) and (1, D)", x, y[:1]),
        ("bfloat16", x.bfloat16(), y.bfloat16()),
        ("one embedding repeated", x[:1].expand(5, -1).clone(), x[:1].expand(7, -1).clone()),
    ):
        with clause(similarity, f"pairwise gives finite scores ({name})"):
            before = first.clone(), second.clone()
            scores = similarity.pairwise(first, second)
            expected = (len(first), len(second))
            require(tuple(scores.shape) == expected, f"shape {tuple(scores.shape)}, not {expected}")
            require(scores.is_floating_point(), f"they are {scores.dtype}")
            require(bool(scores.isfinite().all()), "some are not finite")
            unchanged = torch.equal(first, before[0]) and torch.equal(second, before[1])
            require(unchanged, "the embeddings were changed in place")


@torch.no_grad()
def _check_independence(similarity: Similarity, x: Tensor, y: Tensor, symmetric: bool) -> None:
    scores = similarity.pairwise(x, y)  # (N, M)
    with clause(similarity, "a score depends on its two embeddings alone"):
        alone = torch.cat([torch.cat([similarity.pairwise(a[None], b[None]) for b in y], dim=1) for a in x])  # (N, M)
        require(torch.allclose(scores, alone, rtol=1e-3, atol=1e-4), "it changes with the others of the batch")
        swapped = similarity.pairwise(x, y.flip(0)).flip(1)
        require(torch.allclose(scores, swapped, rtol=1e-3, atol=1e-4), "it changes with the order of the others")
    if symmetric:
        with clause(similarity, "the similarity is symmetric"):
            swapped = similarity.pairwise(y, x).T
            largest = (scores - swapped).abs().max().item()
            require(torch.allclose(scores, swapped, rtol=1e-3, atol=1e-4), f"S(x, y) - S(y, x) is up to {largest:.3g}")


@torch.no_grad()
def _check_lists(similarity: Similarity, x: Tensor, y: Tensor) -> None:
    with clause(similarity, "score_lists scores as pairwise does"):
        lists = torch.stack([y.roll(shift, dims=0)[:4] for shift in range(len(x))])  # (N, L, D)
        scores = similarity.score_lists(x, lists)  # (N, L)
        expected = torch.cat([similarity.pairwise(row[None], own) for row, own in zip(x, lists, strict=True)])
        require(scores.shape == expected.shape, f"shape {tuple(scores.shape)}, not {tuple(expected.shape)}")
        largest = (scores - expected).abs().max().item()
        require(torch.allclose(scores, expected, rtol=1e-3, atol=1e-4), f"they differ by up to {largest:.3g}")


@torch.no_grad()
def _check_search(similarity: Similarity, queries: Tensor, gallery: Tensor) -> None:
    with clause(similarity, f'search="{similarity.search}" after prepare ranks as pairwise does'):
        scores = similarity.pairwise(queries, gallery).float()  # (Q, G)
        x, y = similarity.prepare(queries), similarity.prepare(gallery)
        require(len(x) == len(queries) and len(y) == len(gallery), "prepare does not keep the number of rows")
        if similarity.search == "l2":
            found = -pairwise_squared_distances(x.float(), y.float()).sqrt()
        elif similarity.search == "ip":
            found = x.float() @ y.float().T
        else:
            found = -((x > 0)[:, None, :] != (y > 0)[None, :, :]).sum(dim=2).float()
        better = found[:, :, None] - found[:, None, :]  # (Q, G, G), of each two neighbours of a query
        gained = scores[:, :, None] - scores[:, None, :]
        wrong = int(((better > 1e-4 * found.abs().max()) & (gained <= 0)).sum())
        require(wrong == 0, f"{wrong} of {better.numel() // 2} pairs of neighbours are in another order")
