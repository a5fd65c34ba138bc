"""The contract of a head as a test."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from metricforge.testing.clause import clause, require
from metricforge.testing.sample_batches import random_rows


def check_head(head: nn.Module, *, feature_dim: int = 16) -> None:
    """Test a head against the contract, on the CPU and on a copy of it.

    - ``dim`` is a whole number above 0;
    - features (B, F) give finite embeddings (B, dim), in both modes, for bfloat16, duplicates, a row of zeros and one
      image in evaluation mode, and stay as they are;
    - in evaluation mode an embedding depends on its own features alone, and is the same every time;
    - different features give different embeddings;
    - the gradient reaches the features and every parameter, and is finite.

    Args:
        head: the head, built for ``feature_dim``.
        feature_dim: the backbone's feature size (F) to test with.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(head, "it says the size of its embeddings"):
        require(isinstance(head, nn.Module), "not a torch.nn.Module")
        dim = getattr(head, "dim", None)
        valid = isinstance(dim, int) and not isinstance(dim, bool) and dim > 0
        require(valid, f"dim must be an int above 0, got {dim!r}; set self.dim in the constructor")
    assert isinstance(dim, int)
    head = copy.deepcopy(head).cpu()
    features = random_rows(6, feature_dim, seed=3) * 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head.train()
        _check_gradients(head, features, dim)
        head.eval()
        with torch.no_grad():
            _check_evaluation(head, features, dim)


def _check_gradients(head: nn.Module, features: Tensor, dim: int) -> None:
    leaf = features.clone().requires_grad_()
    embeddings = _embed(head, leaf, dim, "training mode")
    with clause(head, "gradients are finite and reach what they must (training mode)"):
        weights = torch.linspace(0.5, 1.5, embeddings.numel()).view_as(embeddings)
        parameters = {name: value for name, value in head.named_parameters() if value.requires_grad}
        inputs = {"the features": leaf, **parameters}
        found = torch.autograd.grad((embeddings * weights).sum(), list(inputs.values()), allow_unused=True)
        for name, gradient in zip(inputs, found, strict=True):
            require(gradient is not None, f"{name} got none")
            assert gradient is not None
            require(bool(gradient.isfinite().all()), f"that of {name} is not finite")
        require(found[0] is not None and bool(found[0].any()), "that of the features is zero everywhere")


def _check_evaluation(head: nn.Module, features: Tensor, dim: int) -> None:
    embeddings = _embed(head, features, dim, "evaluation mode")
    with clause(head, "the same features give the same embeddings (evaluation mode)"):
        require(torch.equal(embeddings, head(features)), "they differ from call to call")
    with clause(head, "an embedding depends on its own features alone (evaluation mode)"):
        alone = torch.cat([head(row[None]) for row in features])  # (B, D)
        tolerance = 1e-3 * embeddings.abs().max().item()
        require(torch.allclose(embeddings, alone, rtol=1e-3, atol=tolerance), "it changes with the others of the batch")
    with clause(head, "different features give different embeddings"):
        require(not torch.equal(embeddings[:1].expand_as(embeddings), embeddings), "all are the same")
    zeros = features.clone()
    zeros[0] = 0
    for name, rows in (
        ("a row of zeros", zeros),
        ("one image repeated", features[:1].expand_as(features).clone()),
    ):
        _embed(head, rows, dim, name)
    with torch.autocast("cpu", torch.bfloat16):
        _embed(head, features, dim, "bfloat16 autocast")


def _embed(head: nn.Module, features: Tensor, dim: int, name: str) -> Tensor:
    before = features.detach().clone()
    with clause(head, f"features give finite embeddings ({name})"):
        embeddings: Tensor = head(features)
        expected = (len(features), dim)
        require(tuple(embeddings.shape) == expected, f"shape {tuple(embeddings.shape)}, not {expected}")
        require(embeddings.is_floating_point() and bool(embeddings.isfinite().all()), "some are not finite floats")
        require(torch.equal(features.detach(), before), "the features were changed in place")
    return embeddings
