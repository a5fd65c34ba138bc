"""Compares what a data set gives with what the backbone takes, before anything is trained or scored."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.datasets import ImageDataset, VectorDataset
from metricforge.errors import ConfigError, is_out_of_memory
from metricforge.interfaces import Backbone
from metricforge.models.evaluation_mode import evaluation_mode

# A wide and a tall picture: what makes one size of both makes it of every picture.
PICTURES = ((300, 400), (400, 300))


def transformed_size(dataset: ImageDataset) -> tuple[int, int] | None:
    """The (height, width) that the transforms of ``dataset`` give every image; None if it depends on the image."""
    if not dataset.transform:
        return None
    sizes = set()
    with torch.random.fork_rng(devices=[]):
        for height, width in PICTURES:
            picture = torch.zeros(3, height, width, dtype=torch.uint8)
            try:
                for step in dataset.transform:
                    picture = step(picture)
            except Exception:  # a transform of somebody's own, for pictures of another kind: training will say so
                return None
            if not isinstance(picture, Tensor) or picture.ndim != 3:
                return None
            sizes.add((int(picture.shape[1]), int(picture.shape[2])))
    return sizes.pop() if len(sizes) == 1 else None


def check_input_size(backbone: Backbone, dataset: ImageDataset, path: str) -> None:
    """Embed one blank image of the size that the transforms of ``dataset`` give, at ``path`` in the config.

    Raises:
        ConfigError: if the backbone cannot take it, or takes no images at all; it names both and the way out.
    """
    name = type(backbone).__name__
    if isinstance(dataset, VectorDataset) and backbone.takes_images:
        raise ConfigError(
            [f"model.backbone: {name} takes images, and {path}.dataset gives vectors; take IdentityBackbone"]
        )
    if not isinstance(dataset, VectorDataset) and not backbone.takes_images:
        raise ConfigError(
            [
                f"model.backbone: {name} takes vectors, and {path}.dataset ({type(dataset).__name__}) gives images; "
                "take a backbone of images, such as TimmBackbone, or a VectorDataset"
            ]
        )
    if isinstance(dataset, VectorDataset) and dataset.vector_dim != backbone.feature_dim:
        raise ConfigError(
            [
                f"model.backbone.feature_dim: {backbone.feature_dim} must be {dataset.vector_dim}, the length of the "
                f"vectors of {path}.dataset ({dataset.name}); leave it out, it is filled in"
            ]
        )
    size = transformed_size(dataset)
    if size is None:
        return
    blank = torch.zeros(1, 3, *size, device=next((p.device for p in backbone.parameters()), None))
    try:
        with evaluation_mode(backbone), torch.no_grad():
            backbone(blank)
    except Exception as fault:  # each network says it in its own way
        if is_out_of_memory(fault):
            raise
        made, own = f"{size[0]} x {size[1]}", backbone.input_size
        name = f"{type(backbone).__name__} {getattr(backbone, 'name', '')}".strip()
        takes = "" if own is None else f", whose input size is {own[0]} x {own[1]}"
        ways = []
        if backbone.size_argument is not None:
            value = str(size[0]) if size[0] == size[1] else f"({size[0]}, {size[1]})"
            ways.append(f"set model.backbone.{backbone.size_argument}={value}")
        ways.append("let the transform make " + ("larger images" if own is None else f"{own[0]} x {own[1]}"))
        raise ConfigError(
            [
                f"{path}.dataset.transform: makes images of {made}, which do not fit {name}{takes}; "
                f"{', or '.join(ways)} ({type(fault).__name__}: {fault})"
            ]
        ) from fault
