"""A bundle: a folder with a model's weights, description and model card; loading it executes none of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from metricforge.absent_types import note_recorded_types
from metricforge.bundle_files import (
    CARD,
    DESCRIPTION,
    FORMAT,
    WEIGHTS,
    described_file,
    read_description,
    seal,
    verified_file,
    whole_folder,
)
from metricforge.calibration import Calibration
from metricforge.deployment.model_card import model_card
from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import CheckpointError
from metricforge.models import MetricLearner
from metricforge.registry import TRANSFORMS


class BundledModel(NamedTuple):
    """What a bundle holds.

    Args:
        learner: backbone, head, similarity and maybe a loss, with their weights.
        description: what rebuilds them, and prepares an image.
        record: what is known of the model's making.
        hash: of the model that was bundled.
        calibration: the threshold below which a query counts as unknown; None: not measured.
        graphs: of a bundle that was read, what its description says of each, by file.
    """

    learner: MetricLearner
    description: ModelDescription
    record: Mapping[str, Any]
    hash: str
    calibration: Calibration | None = None
    graphs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


Graphs = Mapping[str, Mapping[str, Any]]


def write_bundle(model: BundledModel, bundle: Path, graphs: Callable[[Path], Graphs] = lambda folder: {}) -> Path:
    """Write ``model`` into the new folder ``bundle``, which appears whole or not at all.

    Args:
        model: what to write.
        bundle: the folder; it does not exist, or is empty.
        graphs: writes further files into the folder that it is given, and says what each is, by its name.

    Raises:
        MetricForgeError: if ``bundle`` exists and is not an empty folder, or a value does not fit into JSON.
    """
    with whole_folder(bundle) as folder:
        _write_files(model, folder, graphs)
    return bundle


def _write_files(model: BundledModel, folder: Path, graphs: Callable[[Path], Graphs]) -> None:
    """Write the weights, the graphs, the description and the card of ``model`` into ``folder``."""
    described = {
        "format": FORMAT,
        "metricforge_model": model.hash,
        **model.description.to_json(),
        "dim": int(model.learner.head.dim),  # type: ignore[arg-type]
        "normalisation": {
            "mean": [float(each) for each in model.learner.backbone.mean],
            "std": [float(each) for each in model.learner.backbone.std],
        },
        "calibration": None if model.calibration is None else model.calibration.to_json(),
        "record": dict(model.record),
    }
    seal(described)  # before anything slow
    # clones: tensors that share memory, as tied weights do, are written one by one
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.learner.state_dict().items()}
    weights = folder / WEIGHTS
    save_file(state, weights)
    written = graphs(folder)
    for file in folder.iterdir():
        file.chmod(0o666 & ~_umask())  # safetensors makes it readable by its owner only
    described["weights"] = described_file(weights)
    described["graphs"] = {name: {**graph, **described_file(folder / name)} for name, graph in written.items()}
    (folder / DESCRIPTION).write_bytes(seal(described))
    backbone: Any = model.learner.backbone
    card = model_card(
        model.description,
        model.record,
        model.hash,
        folder=folder.name,
        dim=described["dim"],
        learned_similarity=any(name.startswith("similarity.") for name in state),
        vectors=None if backbone.takes_images else int(backbone.feature_dim),
        normalisation=described["normalisation"],
        graphs=described["graphs"],
        calibration=model.calibration,
    )
    (folder / CARD).write_text(card, encoding="utf-8")


def read_bundle(bundle: Path) -> BundledModel:
    """The model in ``bundle``; nothing in it is executed, and no memory is taken before its sizes were compared.

    Raises:
        CheckpointError: for a file that is absent, damaged, changed since the export, or of another format.
    """
    values = read_description(bundle)
    try:
        description = ModelDescription.from_json({each.name: values[each.name] for each in fields(ModelDescription)})
        record, model_hash = dict(values["record"]), str(values["metricforge_model"])
        weights, graphs = values["weights"], dict(values.get("graphs", {}))
        measured = values.get("calibration")
        calibration = None if measured is None else Calibration.from_json(measured)
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise CheckpointError(
            f"{bundle / DESCRIPTION} does not describe a model ({fault}); export the model again"
        ) from fault
    note_recorded_types(record.get("plugins"))
    file = verified_file(bundle, weights)
    for graph in graphs.values():
        verified_file(bundle, graph)
    return BundledModel(_built(description, file), description, record, model_hash, calibration, graphs)


def copy_graphs(bundle: Path, graphs: Graphs, folder: Path) -> Graphs:
    """Copy the ``graphs`` of ``bundle`` into ``folder``, and return what is said of each there.

    Raises:
        CheckpointError: for a file that is missing, or was changed since the export.
    """
    copied = {}
    for name, graph in graphs.items():
        shutil.copyfile(verified_file(bundle, graph), folder / name)
        copied[name] = {key: value for key, value in graph.items() if key not in ("file", "bytes", "sha256")}
    return copied


def _built(description: ModelDescription, file: Path) -> MetricLearner:
    try:
        for number, step in enumerate(description.preprocessing):
            TRANSFORMS.build(dict(step), path=f"preprocessing[{number}]")
        with safe_open(file, framework="pt") as tensors:
            shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
            with torch.device("meta"):  # a forged description may ask for more memory than there is
                expected = _learner(description).state_dict()
            if {name: tuple(tensor.shape) for name, tensor in expected.items()} != shapes:
                raise CheckpointError(
                    f"{file}: the weights do not fit the described architecture; export the model again"
                )
            learner = _learner(description)
            learner.load_state_dict({name: tensors.get_tensor(name) for name in shapes})
    except CheckpointError:
        raise
    except SafetensorError as fault:
        raise CheckpointError(f"{file} cannot be loaded ({_first_line(fault)})") from fault
    except Exception as fault:  # a forged description makes components raise anything
        raise CheckpointError(
            f"{file.parent / DESCRIPTION} does not describe a model that can be built ({_first_line(fault)})"
        ) from fault
    return learner


def _first_line(fault: BaseException) -> str:
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {' '.join(line.strip() for line in lines[:2])}" if lines else type(fault).__name__


def _learner(description: ModelDescription) -> MetricLearner:
    return MetricLearner.from_config(
        description.architecture, description.num_classes, "architecture", for_checkpoint=True
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
