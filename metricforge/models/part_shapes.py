"""Whether backbone and head give what the other parts of a model build on; where not, the error names the part."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from metricforge.component_source import source_of_module
from metricforge.errors import ConfigError
from metricforge.interfaces import Backbone


def check_size(part: nn.Module, attribute: str, path: str, meaning: str) -> int:
    """Return the size that ``part`` says by ``attribute``.

    Raises:
        ConfigError: if it says none, or no whole number above 0.
    """
    value: Any = getattr(part, attribute, None)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = f"has no attribute {attribute}" if value is None else f"has {attribute}={value!r}"
    raise ConfigError(
        [f"{path}: {_whose(part)} {found}; set self.{attribute} in its constructor to {meaning}, an int above 0"],
        "the model",
    )


def check_tokens(backbone: Backbone, head: nn.Module, path: str) -> None:
    """Raise ConfigError where one of them has tokens (B, T, F) and the other pooled features (B, F)."""
    takes = bool(getattr(head, "takes_tokens", False))
    if takes == backbone.gives_tokens:
        return
    if takes:
        told = f"takes tokens, and {_whose(backbone)} pools them; take a backbone that gives_tokens (tokens=True)"
    else:
        told = f"takes pooled features, not {_whose(backbone)}'s tokens; take a head that takes_tokens, or tokens=False"
    raise ConfigError([f"{path}.head: {_whose(head)} {told}"])


def check_features(features: Tensor, backbone: Backbone) -> None:
    """Raise ConfigError unless ``features`` are pooled, (B, F), or tokens, (B, T, F), with F as ``backbone`` says."""
    dimensions = 3 if backbone.gives_tokens else 2
    if isinstance(features, Tensor) and features.dim() == dimensions and features.shape[-1] == backbone.feature_dim:
        return
    wanted = f"pooled features (B, F) with F = feature_dim = {backbone.feature_dim}"
    if backbone.gives_tokens:
        wanted = f"tokens (B, T, F), because it gives_tokens, with F = feature_dim = {backbone.feature_dim}"
    shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    if isinstance(features, Tensor) and features.dim() == 3 and not backbone.gives_tokens:
        hint = ", tokens (B, T, F): pool them, by their mean over T or by the class token, tokens[:, 0]"
    elif isinstance(features, Tensor) and features.dim() == 4:
        hint = ", a feature map (B, F, H, W): pool it, by its mean over H and W"
    else:
        hint = ""
    raise ConfigError(
        [f"model.backbone: {_whose(backbone)} returns {shape}{hint}; it must return {wanted}"], "the model"
    )


def check_embeddings(embeddings: Tensor, head: nn.Module) -> None:
    """Raise ConfigError unless ``embeddings`` are (B, D) with D as ``head`` says."""
    if isinstance(embeddings, Tensor) and embeddings.dim() == 2 and embeddings.shape[1] == head.dim:
        return
    shape = tuple(embeddings.shape) if isinstance(embeddings, Tensor) else type(embeddings).__name__
    raise ConfigError(
        [f"model.head: {_whose(head)} returns {shape}; it must return embeddings (B, D) with D = dim = {head.dim}"],
        "the model",
    )


def refused_image(image: Tensor, backbone: Backbone, head: nn.Module, fault: Exception) -> ConfigError:
    """The error that ``fault`` is, which ``backbone`` or ``head`` raised for ``image`` (3, H, W)."""
    return ConfigError(
        [
            f"model: {_whose(backbone)} with {_whose(head)} cannot embed an image of shape {tuple(image.shape)}: "
            f"{type(fault).__name__}: {fault}; let the transforms give another size, or take another backbone"
        ],
        "the model",
    )


def _whose(part: nn.Module) -> str:
    source = source_of_module(type(part).__module__)
    name = type(part).__name__
    return name if source.is_built_in else f"{name} of {source}"
