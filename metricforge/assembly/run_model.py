"""Builds the model of a run, and its readout, and tries both on the data before anything is trained."""

from __future__ import annotations

import torch
from mmengine.config import Config

from metricforge.assembly.run_datasets import RunDatasets, take_backbone_transform
from metricforge.assembly.run_readout import build_readout
from metricforge.engine.loading.input_size import check_input_size
from metricforge.engine.loading.seeding import derive_seed, seed_all
from metricforge.engine.loading.trial_image import try_first_image
from metricforge.engine.readout.readout_step import ReadoutStep
from metricforge.models import MetricLearner, check_similarity_is_trained


def build_run_model(
    cfg: Config, data: RunDatasets, num_classes: int | None, device: torch.device
) -> tuple[MetricLearner, ReadoutStep | None]:
    """Build the model, whose initial weights follow from the config's seed, and the readout of a run that trains.

    Without a training set the model is one for a checkpoint's weights, and no pretrained ones are read.

    Raises:
        ConfigError: for a similarity that nothing trains, and for images that the backbone cannot take.
    """
    seed_all(derive_seed(int(cfg.get("seed", 0))))
    model = MetricLearner.from_config(cfg.model, num_classes, for_checkpoint=data.train is None)
    readout = None
    if data.train is not None:
        check_similarity_is_trained(model, num_classes)
        readout = build_readout(cfg, data, model, device)
    take_backbone_transform(cfg.test_dataloader.dataset, data.test, model)
    if data.train is not None:
        check_input_size(model.backbone, data.train, "train_dataloader")
    check_input_size(model.backbone, data.test, "test_dataloader")
    if data.train is not None:
        try_first_image(model, data.train)
    return model, readout
