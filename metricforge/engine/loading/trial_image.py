"""Takes one training image through everything that embeds it, before anything is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.datasets import ImageDataset
from metricforge.errors import MetricForgeError, UnreadableImageError, is_out_of_memory
from metricforge.models import MetricLearner
from metricforge.models.generator_states import GeneratorStates
from metricforge.models.part_shapes import refused_image


def try_first_image(model: MetricLearner, dataset: ImageDataset) -> None:
    """Embed the first image of ``dataset``, so that a wrong shape or dtype is found before the first update.

    Weights, BatchNorm's statistics and the generators of random numbers stay as they are. An image that cannot be read
    is left to the loader, which may skip it, and one that is decoded later to its decoder.

    Raises:
        DatasetError: for transforms whose last one does not return uint8 (3, H, W); it names the transform.
        ConfigError: for a backbone or a head that returns another shape than it says; it names the part and both. For
            a model that cannot take the image; it names the image's shape and what was raised.
    """
    if dataset.decodes_later:
        return
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    states = GeneratorStates.now(device)
    try:
        image: Tensor = dataset[0]["image"]
        with torch.no_grad():
            _embed(model, image, device)
    except UnreadableImageError:
        return
    finally:
        states.restore()


def _embed(model: MetricLearner, image: Tensor, device: torch.device) -> None:
    try:
        model.embed(image[None].to(device))
    except (RuntimeError, ValueError, AssertionError) as fault:
        if isinstance(fault, MetricForgeError) or is_out_of_memory(fault):
            raise
        raise refused_image(image, model.backbone, model.head, fault) from fault
