"""Real images by which a graph is compared with its model: the run's own test images, or those that someone names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Indices
from metricforge.bundle_files import is_bundle
from metricforge.deployment.given_images import GivenImages
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.stored_config import read_stored_config
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import DatasetError, MetricForgeError
from metricforge.registry import DATASETS

SAMPLE = 128
PER_CLASS = 4


class SampleImages(NamedTuple):
    """Images and what they are.

    Args:
        raw: as they were decoded, uint8 (3, H, W).
        labels: their classes (N,), or None where these are not known.
        source: where they come from, for messages.
    """

    raw: list[Tensor]
    labels: Indices | None
    source: str


def images_of_run(model: Path) -> SampleImages:
    """Test images of the run that the checkpoint ``model`` is of.

    Raises:
        MetricForgeError: if ``model`` is a bundle, which does not know its images, or they are not there any more.
    """
    way_out = "name some with --images FOLDER, preferably a folder with one sub-folder per class"
    if is_bundle(model):
        raise MetricForgeError(f"{model} is a bundle, which has no images to compare a graph on; {way_out}")
    config = read_stored_config(load_checkpoint(model)["meta"]["config"], str(model))
    settings = dict(config["test_dataloader"]["dataset"])
    settings.pop("transform", None)
    try:
        dataset: Any = DATASETS.build(settings, path="test_dataloader.dataset")
        rows = _chosen(np.asarray(dataset.labels))
        raw = [dataset[int(row)]["image"] for row in rows]
    except (DatasetError, OSError) as fault:
        raise MetricForgeError(
            f"the run's test images, on which a graph is compared with the model, cannot be read ({fault}); {way_out}"
        ) from fault
    return SampleImages(raw, np.asarray(dataset.labels)[rows], f"the run's test images ({dataset.name})")


def images_of_source(source: str) -> SampleImages:
    """Images of a folder or a table, those of each class side by side.

    Raises:
        DatasetError: if there are none, or one cannot be read.
    """
    collection = open_collection(source)
    labels = collection.labels
    numbers = (
        None if labels is None else np.unique(np.array(labels.to_pylist(), dtype=str), return_inverse=True)[1]
    )  # (N,)
    rows = np.arange(min(len(collection), SAMPLE)) if numbers is None else _chosen(numbers)
    given = GivenImages([collection.image(int(row)) for row in rows], [])
    raw = [given[number]["image"] for number in range(len(rows))]
    return SampleImages(raw, None if numbers is None else numbers[rows], collection.source)


def prepared(images: Sequence[Tensor], transform: Sequence[Callable[[Any], Any]]) -> list[Tensor]:
    """``images`` (3, H, W) as the model's preprocessing leaves them, uint8."""
    found = []
    for image in images:
        for step in transform:
            image = step(image)
        found.append(image)
    return found


def prepared_side(transform: Sequence[Callable[[Any], Any]]) -> tuple[int, int] | None:
    """The height and width of every prepared image; None where these depend on the image."""
    shapes = {
        tuple(prepared([torch.zeros(3, height, width, dtype=torch.uint8)], transform)[0].shape[1:])
        for height, width in ((301, 477), (641, 350), (512, 512))
    }
    return next(iter(shapes)) if len(shapes) == 1 else None  # type: ignore[return-value]


def _chosen(labels: Indices) -> Indices:
    """At most ``SAMPLE`` rows, ``PER_CLASS`` of a class, so that most of them have a match among the others."""
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    first = np.searchsorted(sorted_labels, sorted_labels)
    of_class = np.arange(len(labels)) - first  # 0, 1, 2, ... within a class
    return order[of_class < PER_CLASS][:SAMPLE]
