"""The data sets of a run: what trains, validates and tests, read and batched as the config says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader

from metricforge.datasets import ImageDataset, ImageFileDataset, VectorDataset
from metricforge.datasets.validation_classes import FEWEST_CLASSES, refuse_shared_classes, validation_classes
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.loading.data_loading import build_test_loader, build_train_loader
from metricforge.errors import ConfigError, DatasetError
from metricforge.evaluation.evaluator import QueryEvaluator
from metricforge.models import MetricLearner
from metricforge.registry import DATASETS, EVALUATORS
from metricforge.samplers import BatchSampler


@dataclass
class RunDatasets:
    """The images of a run: ``train`` is None where nothing is trained, ``validation`` where nothing validates.

    ``reason`` says why nothing does, although the config wants it.
    """

    test: ImageDataset
    train: ImageDataset | None = None
    validation: ImageDataset | None = None
    reason: str = ""

    def named(self) -> dict[str, ImageDataset]:
        """Those that there are, by what a person calls them."""
        parts = {"training images": self.train, "validation images": self.validation, "test images": self.test}
        return {name: images for name, images in parts.items() if images is not None}


def build_run_datasets(cfg: Config, *, train: bool) -> RunDatasets:
    """Build the data sets of a run, without the transform that test images may have from the backbone."""
    train_set = None
    if train:  # first, for its faults are those that people meet first
        train_set = DATASETS.build(cfg.train_dataloader.dataset, path="train_dataloader.dataset")
    data = RunDatasets(DATASETS.build(cfg.test_dataloader.dataset, path="test_dataloader.dataset"), train_set)
    _refuse_single_images(data.test, [*cfg.evaluators, *(cfg.get("final_evaluators") or [])])
    if data.train is not None:
        data.train, data.validation, data.reason = _set_aside(data.train, data.test, cfg)
        set_reading(data.train, cfg.train_dataloader, "train_dataloader", decode="fast")
    return data


def _refuse_single_images(test_set: ImageDataset, evaluators: Sequence[Mapping[str, Any]]) -> None:
    """Refuse test images of which no two are of one class, where one of ``evaluators`` searches for such images.

    Raises:
        DatasetError: before training, and not at its end.
    """
    searching = [each["type"] for each in evaluators if issubclass(EVALUATORS.get(each["type"]), QueryEvaluator)]
    if searching and len(np.unique(test_set.labels)) == len(test_set):
        raise DatasetError(
            f"{test_set.describe()}: each of the {len(test_set):,} images is the only one of its class, so "
            f"{searching[0]} has nothing to find; add images, or evaluate on other classes"
        )


def _set_aside(
    train_set: ImageDataset, test_set: ImageDataset, cfg: Config
) -> tuple[ImageDataset, ImageDataset | None, str]:
    """Return what trains, what validates as ``cfg.validation`` says, and why nothing does although it should."""
    wanted = cfg.get("validation")
    if wanted is None:
        return train_set, None, ""
    if wanted == "test":
        return train_set, test_set, ""
    if wanted == "val":
        split = DATASETS.build({**cfg.train_dataloader.dataset, "split": "val"}, path="validation")
        if not cfg.train_dataloader.dataset.get("shared_classes"):
            refuse_shared_classes(train_set.class_names, split.class_names, train_set.name)
        return train_set, split, ""
    chosen = validation_classes(train_set.class_names, wanted, train_set.name)  # (C,)
    if chosen is None:
        few = f"{train_set.num_classes} training classes, fewer than {FEWEST_CLASSES}, leave none to set aside"
        return train_set, None, few
    return train_set.of_classes(~chosen, "train"), train_set.of_classes(chosen, "val"), ""


def take_vector_size(cfg: Config, data: RunDatasets) -> None:
    """Fill in the size of vectors where the backbone's config leaves it out, so that the run's own config has it.

    Raises:
        ConfigError: for a backbone of vectors, and images.
    """
    for path, model in (
        ("model", cfg.model),
        *((f"baselines.{k}", v) for k, v in (cfg.get("baselines") or {}).items()),
    ):
        if model.backbone.get("type") == "IdentityBackbone":
            if not isinstance(data.test, VectorDataset):
                raise ConfigError(
                    [
                        f"{path}.backbone: IdentityBackbone takes vectors, and test_dataloader.dataset "
                        f"({type(data.test).__name__}) gives images; take a backbone of images, such as TimmBackbone, "
                        "or a VectorDataset"
                    ]
                )
            model.backbone.setdefault("feature_dim", data.test.vector_dim)


def training_loader(
    train_set: ImageDataset, sampler: BatchSampler, loader: Mapping[str, Any], device: torch.device, seed: int
) -> DataLoader[dict[str, Any]]:
    """Batch ``train_set`` as the config's training ``loader`` says."""
    return build_train_loader(
        train_set,
        sampler,
        seed=seed,
        num_workers=loader.get("num_workers", 0),
        device=device,
        skip_unreadable=loader.get("unreadable", "error") == "skip",
    )


def validation_loader(
    data: RunDatasets,
    cfg: Config,
    test_loader: DataLoader[dict[str, Any]],
    device: torch.device,
    processes: Processes,
) -> DataLoader[dict[str, Any]] | None:
    """Batch the images that validate, prepared as test images; None where nothing validates."""
    if data.validation is None or data.validation is data.test:
        return None if data.validation is None else test_loader
    seen = read_as_test_images(data.test, data.validation, cfg.test_dataloader)
    return evaluation_loader(seen, cfg.test_dataloader, device, processes)


def read_as_test_images(test_set: ImageDataset, train_set: ImageDataset, loader: Mapping[str, Any]) -> ImageDataset:
    """Prepare ``train_set`` as ``test_set``, whose transform does not crop or flip at random."""
    seen = copy(train_set)
    seen.transform = test_set.transform
    set_reading(seen, loader, "test_dataloader", decode="full")
    return seen


def evaluation_loader(
    dataset: ImageDataset, loader: Mapping[str, Any], device: torch.device, processes: Processes
) -> DataLoader[dict[str, Any]]:
    """Batch this process's share of ``dataset`` as the config's test ``loader`` says."""
    return build_test_loader(
        dataset,
        batch_size=loader.get("batch_size", 256),
        num_workers=loader.get("num_workers", 0),
        device=device,
        rank=processes.rank,
        world_size=processes.world_size,
    )


def take_backbone_transform(test_cfg: Config, test_set: ImageDataset, model: MetricLearner) -> None:
    """Prepare test images as the backbone's weights expect them, where the config does not say how."""
    if isinstance(test_set, ImageFileDataset) and "transform" not in test_cfg and model.backbone.evaluation_transform:
        # written into the config, so that the run's own says it and a later test needs no second look
        test_cfg.transform = list(model.backbone.evaluation_transform)
        test_set.set_transform(test_cfg.transform)


def set_reading(dataset: ImageDataset, loader: Mapping[str, Any], path: str, *, decode: str) -> None:
    """Decode and keep the images of ``dataset`` as ``loader`` says; ``decode`` is the default."""
    chosen = loader.get("decode", decode)
    dataset.reduced_decoding = chosen == "fast"
    if isinstance(dataset, ImageFileDataset):
        dataset.cache = None
        dataset.decodes_later = chosen == "device"
        dataset.fingerprints_bytes = loader.get("fingerprint") == "bytes"
        if loader.get("cache"):
            dataset.cache_in(loader["cache"])
    elif chosen == "device" or loader.get("cache") or loader.get("fingerprint") == "bytes":
        key = "decode" if chosen == "device" else "cache" if loader.get("cache") else "fingerprint"
        raise ConfigError([f"{path}.{key}: the {dataset.unit} of {type(dataset).__name__} are not files; leave it out"])
    if isinstance(dataset, VectorDataset) and loader.get("unreadable", "error") != "error":
        raise ConfigError([f"{path}.unreadable: vectors are read and checked as a whole; leave it out"])
