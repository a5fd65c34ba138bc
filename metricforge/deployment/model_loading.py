"""``load_model``: from a run's folder, a checkpoint or a bundle to an embedding model."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch

from metricforge.absent_types import note_recorded_types
from metricforge.backbones import TimmBackbone
from metricforge.bundle_files import is_bundle
from metricforge.calibration import Calibration
from metricforge.component_arguments import accepted_arguments
from metricforge.deployment.embedding_model import EmbeddingModel
from metricforge.deployment.model_description import ModelDescription
from metricforge.deployment.stored_config import read_stored_config
from metricforge.deployment.training_record import training_record
from metricforge.engine.chosen_device import chosen_device
from metricforge.engine.readout.chosen_checkpoint import CHOSEN
from metricforge.engine.records.checkpoints import BEST, load_checkpoint
from metricforge.errors import CheckpointError
from metricforge.models import MetricLearner
from metricforge.plugins import load_plugins
from metricforge.registry import BACKBONES, DATASETS
from metricforge.run_records.checkpoint_files import checkpoint_files


def load_model(model: str | Path, *, device: str | torch.device | None = None) -> EmbeddingModel:
    """Load the embedding model of a run, a checkpoint or a bundle, in evaluation mode.

    Needs neither the config file nor the data set, and executes nothing in the files. Components of a plug-in need the
    plug-in installed. For a model on the CPU the process keeps the memory that it frees (glibc): a batch then takes the
    pages of the one before, which embeds up to twice as fast.

    Args:
        model: a run's folder (what its readout chose, else its best weights, else the newest), a checkpoint file, or a
            bundle that ``EmbeddingModel.save`` or ``metricforge export`` wrote.
        device: "cpu", "cuda", ...; None: a GPU if there is one.

    Raises:
        CheckpointError: if nothing is there, or it is damaged or not a model.
        ConfigError: if ``device`` cannot be used on this machine.

    Examples:
        >>> from metricforge.errors import CheckpointError
        >>> try:
        ...     load_model("runs/absent")
        ... except CheckpointError as error:
        ...     print("runs/absent" in str(error))
        True
    """
    path = Path(model)
    where = chosen_device(device)
    load_plugins()
    if is_bundle(path):
        return EmbeddingModel.from_bundle(path, where, str(path))
    return _from_checkpoint(_weights_of_run(path) if path.is_dir() else path, where)


def _weights_of_run(folder: Path) -> Path:
    for name in (CHOSEN, BEST):
        if (folder / name).is_file():
            return folder / name
    files = checkpoint_files(folder)
    if not files:
        raise CheckpointError(
            f"{folder} is neither a run's folder (no chosen.pth, best.pth or iter_*.pth) nor a bundle (no model.json); "
            "name a folder that `metricforge train` or `metricforge export` wrote"
        )
    return files[0]


def _from_checkpoint(path: Path, device: torch.device) -> EmbeddingModel:
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; name a run's folder, a checkpoint or a bundle")
    checkpoint = load_checkpoint(path)
    meta = checkpoint["meta"]
    config = read_stored_config(meta["config"], str(path))
    note_recorded_types(config.get("plugins"))
    learner = MetricLearner.from_config(config["model"], meta["num_classes"], for_checkpoint=True)
    state = checkpoint["state_dict"]
    try:
        learner.load_state_dict(state)
    except RuntimeError as fault:
        raise CheckpointError(
            f"{path}: the weights do not fit the config stored with them ({str(fault).splitlines()[0]})"
        ) from fault
    if isinstance(learner.backbone, TimmBackbone):
        learner.backbone.merge_adapter()  # what embeds, is exported and shared is one network
    if not hasattr(learner.loss, "predict"):
        learner.loss = None  # a loss that cannot classify has nothing to say about an image
    learner.miner = None
    description = ModelDescription(
        architecture=_architecture(config["model"], learner),
        preprocessing=tuple(preprocessing_of(config["test_dataloader"]["dataset"])),
        decode="fast" if config["test_dataloader"].get("decode") == "fast" else "full",
        batch_size=config["test_dataloader"].get("batch_size", 256),
        num_classes=meta["num_classes"],
        class_names=tuple(meta.get("class_names", ())),
    )
    measured = meta.get("calibration")
    calibration = None if measured is None else Calibration.from_json(measured)
    record = partial(training_record, path, meta, config)
    return EmbeddingModel(learner, description, device, str(path), record, calibration)


def preprocessing_of(dataset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the transform configs with which a data set prepares images of any size."""
    if dataset.get("transform"):
        return [dict(step) for step in dataset["transform"]]
    return [dict(step) for step in getattr(DATASETS.get(dataset["type"]), "transform_of_any_file", ())]


def _architecture(model: Mapping[str, Any], learner: MetricLearner) -> dict[str, Any]:
    """The component configs that rebuild ``learner``, without the source of pretrained weights."""
    backbone = dict(model["backbone"])
    for name in ("pretrained", "weights", "adapter", "grad_checkpointing"):
        if name in (accepted_arguments(BACKBONES.get(backbone["type"])) or {}):
            backbone.pop(name, None)
    # of a network that a hub repository or a folder described: what the config chose besides stays
    portable = getattr(learner.backbone, "portable_arguments", {})
    backbone = {**portable, **backbone, **{key: portable[key] for key in ("name",) if key in portable}}
    parts = {
        "backbone": backbone,
        "head": dict(model.get("head") or dict(type="EmbeddingHead", l2_normalize=False)),
        "similarity": dict(model.get("similarity") or dict(type="EuclideanSimilarity")),
    }
    if learner.loss is not None:
        parts["loss"] = deepcopy(model["loss"])
    return parts
