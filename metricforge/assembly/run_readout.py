"""The step that chooses weights and layer once a run has been trained."""

from __future__ import annotations

import torch
from mmengine.config import Config

from metricforge.assembly.run_datasets import RunDatasets, evaluation_loader, read_as_test_images
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.readout.beginning import beginning_of
from metricforge.engine.readout.readout_options import readout_options
from metricforge.engine.readout.readout_step import ReadoutStep
from metricforge.errors import ConfigError, DatasetError
from metricforge.models import MetricLearner


def build_readout(cfg: Config, data: RunDatasets, model: MetricLearner, device: torch.device) -> ReadoutStep | None:
    """What chooses among frozen, adapted and trained weights; ``model`` still has those before training."""
    options = readout_options(cfg)
    if options is None or cfg.train_cfg.get("val_interval", 1) == 0:
        return None
    if model.backbone.gives_tokens:
        if "readout" in cfg:
            raise ConfigError(
                [f"readout: {type(model.backbone).__name__} gives tokens and no pooled feature to read; leave it out"]
            )
        return None
    assert data.train is not None
    fitting, unfitted = None, ""
    if cfg.train_dataloader.get("unreadable", "error") == "skip":
        unfitted = 'of train_dataloader.unreadable="skip"'
    else:
        try:
            some = data.train.at_most(options.max_images)
        except DatasetError:
            unfitted = f"{type(data.train).__name__} cannot leave images out, and has more than {options.max_images:,}"
        else:
            seen = read_as_test_images(data.test, some, cfg.test_dataloader)
            fitting = evaluation_loader(seen, cfg.test_dataloader, device, Processes.current())
    reason = ""
    if data.validation is None:
        reason = f"there are no validation classes{f' ({data.reason})' if data.reason else ''}"
    elif data.validation is data.test:
        reason = "the test classes validate, and they are never looked at for this"
    pretrained = {name: value.detach().cpu().clone() for name, value in model.backbone.state_dict().items()}
    return ReadoutStep(options, beginning_of(cfg.model.backbone), pretrained, fitting, reason, unfitted)
