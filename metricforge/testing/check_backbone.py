"""The contract of a backbone as a test."""

from __future__ import annotations

import copy

import torch

from metricforge.interfaces import Backbone
from metricforge.testing.clause import clause, require


def check_backbone(backbone: Backbone, *, image_size: int = 32) -> None:
    """Test a backbone against the contract, on the CPU and on a copy of it.

    - ``feature_dim`` is a whole number above 0, ``mean`` and ``std`` three numbers each, ``std`` above 0;
    - images (B, 3, H, W) give finite features (B, feature_dim), in both modes and for one image in evaluation mode;
    - in evaluation mode a feature depends on its own image alone, and is the same every time;
    - the gradient of every trainable parameter is finite, and at least one gets any, if there are trainable ones.

    Args:
        backbone: the backbone.
        image_size: height and width (H, W) of the images to test with.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(backbone, "it says its feature size and normalisation"):
        require(isinstance(backbone, Backbone), "not a metricforge.Backbone")
        feature_dim = getattr(backbone, "feature_dim", None)
        require(
            isinstance(feature_dim, int) and not isinstance(feature_dim, bool) and feature_dim > 0,
            f"feature_dim must be an int above 0, got {feature_dim!r}",
        )
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            numbers = len(values) == 3 and all(isinstance(value, (int, float)) for value in values)
            require(numbers, f"{name} must be three numbers, got {values!r}")
        require(min(backbone.std) > 0, f"std must be above 0, got {backbone.std!r}")
    backbone = copy.deepcopy(backbone).cpu()
    images = torch.randn(4, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _check_training(backbone, images)
        with torch.no_grad():
            _check_evaluation(backbone, images)


def _check_training(backbone: Backbone, images: torch.Tensor) -> None:
    backbone.train()
    with clause(backbone, "images give finite features (training mode)"):
        features = backbone(images)
        expected = (len(images), backbone.feature_dim)
        require(tuple(features.shape) == expected, f"shape {tuple(features.shape)}, not {expected}")
        require(features.is_floating_point() and bool(features.isfinite().all()), "some are not finite floats")
    parameters = {name: value for name, value in backbone.named_parameters() if value.requires_grad}
    if parameters:
        with clause(backbone, "gradients are finite and reach the parameters"):
            weights = torch.linspace(0.5, 1.5, features.numel()).view_as(features)
            gradients = torch.autograd.grad((features * weights).sum(), list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                require(gradient is None or bool(gradient.isfinite().all()), f"that of {name} is not finite")
            require(any(g is not None and bool(g.any()) for g in gradients), "no parameter got any")


def _check_evaluation(backbone: Backbone, images: torch.Tensor) -> None:
    backbone.eval()
    with clause(backbone, "images give finite features (evaluation mode)"):
        features = backbone(images)
        expected = (len(images), backbone.feature_dim)
        require(tuple(features.shape) == expected, f"shape {tuple(features.shape)}, not {expected}")
        require(bool(features.isfinite().all()), "some are not finite")
    with clause(backbone, "the same images give the same features (evaluation mode)"):
        require(torch.equal(features, backbone(images)), "they differ from call to call")
    with clause(backbone, "a feature depends on its own image alone (evaluation mode)"):
        alone = torch.cat([backbone(image[None]) for image in images])  # (B, F)
        tolerance = 1e-3 * features.abs().max().item()
        require(torch.allclose(features, alone, rtol=1e-3, atol=tolerance), "it changes with the others of the batch")
    with clause(backbone, "different images give different features"):
        require(not torch.equal(features[:1].expand_as(features), features), "all are the same")
