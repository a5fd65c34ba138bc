"""A bundle: a folder with a model's weights and description; loading it executes none of it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import CheckpointError, ConfigError, MetricForgeError
from metricforge.models import MetricLearner

FORMAT = 1
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
MOST_DESCRIPTION_BYTES = 64 * 2**20


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a model's description."""
    return (path / DESCRIPTION).is_file()


class BundledModel(NamedTuple):
    """What a bundle holds.

    Args:
        learner: backbone, head, similarity and maybe a loss, with their weights.
        description: what rebuilds them, and prepares an image.
        record: what is known of the model's making.
        hash: of the model that was bundled.
    """

    learner: MetricLearner
    description: ModelDescription
    record: Mapping[str, Any]
    hash: str


def write_bundle(model: BundledModel, bundle: Path) -> Path:
    """Write ``model`` into the new folder ``bundle``, which appears whole or not at all.

    Raises:
        MetricForgeError: if ``bundle`` exists and is not an empty folder, or a value does not fit into JSON.
    """
    if bundle.exists() and (not bundle.is_dir() or any(bundle.iterdir())):
        raise MetricForgeError(f"{bundle} already exists; name a new folder, or remove it first")
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundle.parent, prefix=f".{bundle.name}.") as temporary:
        folder = Path(temporary) / bundle.name
        folder.mkdir()  # not the temporary folder itself, which only its owner may read
        _write_files(model, folder)
        if bundle.exists():
            bundle.rmdir()
        folder.rename(bundle)
    return bundle


def _write_files(model: BundledModel, folder: Path) -> None:
    """Write the weights and the description of ``model`` into ``folder``."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.learner.state_dict().items()}
    weights = folder / WEIGHTS
    save_file(state, weights)
    weights.chmod(0o666 & ~_umask())  # safetensors makes it readable by its owner only
    described = {
        "format": FORMAT,
        "metricforge_model": model.hash,
        **model.description.to_json(),
        "record": dict(model.record),
        "weights": {"file": WEIGHTS, "bytes": weights.stat().st_size, "sha256": _sha256_of(weights)},
    }
    (folder / DESCRIPTION).write_bytes(seal(described))


def read_bundle(bundle: Path) -> BundledModel:
    """The model in ``bundle``; nothing in it is executed, and no memory is taken before its sizes were compared.

    Raises:
        CheckpointError: for a file that is absent, damaged, changed since the export, or of another format.
    """
    values = _read_description(bundle / DESCRIPTION)
    if values.get("format") != FORMAT:
        raise CheckpointError(f"{bundle} has format {values.get('format')!r}; this version reads format {FORMAT}")
    try:
        description = ModelDescription.from_json({each.name: values[each.name] for each in fields(ModelDescription)})
        weights, record, model_hash = dict(values["weights"]), dict(values["record"]), str(values["metricforge_model"])
        file, size, digest = bundle / WEIGHTS, int(weights["bytes"]), str(weights["sha256"])
    except (KeyError, TypeError, ValueError) as fault:
        raise CheckpointError(
            f"{bundle / DESCRIPTION} does not describe a model ({fault}); export the model again"
        ) from fault
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; export the model again")
    if file.stat().st_size != size or _sha256_of(file) != digest:
        raise CheckpointError(f"{file} was changed or damaged after the export; export the model again")
    return BundledModel(_built(description, file), description, record, model_hash)


def _built(description: ModelDescription, file: Path) -> MetricLearner:
    try:
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
    except (SafetensorError, OSError, RuntimeError, ConfigError) as fault:
        raise CheckpointError(f"{file} cannot be loaded ({str(fault).splitlines()[0]})") from fault
    return learner


def _learner(description: ModelDescription) -> MetricLearner:
    return MetricLearner.from_config(
        description.architecture, description.num_classes, "architecture", for_checkpoint=True
    )


def seal(described: dict[str, Any]) -> bytes:
    """Return ``described`` as JSON that carries its own hash."""
    try:
        plain = json.dumps(described, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as fault:
        raise MetricForgeError(f"the model's description has a value that does not fit into JSON ({fault})") from fault
    values = json.loads(plain)
    values["sha256"] = hashlib.sha256(plain.encode()).hexdigest()
    return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _read_description(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MOST_DESCRIPTION_BYTES:
        raise CheckpointError(
            f"{file} has {file.stat().st_size:,} bytes, too many for a description; export the model again"
        )
    content = file.read_bytes()
    try:
        values = json.loads(content)
        unsealed = {key: value for key, value in values.items() if key != "sha256"}
        whole = seal(unsealed) == content
    except (ValueError, AttributeError, RecursionError, MetricForgeError) as fault:
        raise CheckpointError(f"{file} is damaged ({type(fault).__name__}: {fault}); export the model again") from fault
    if not whole:
        raise CheckpointError(f"{file} was changed after the export; export the model again")
    return dict(unsealed)


def _sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
