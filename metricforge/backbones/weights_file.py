"""Loads a file of weights into a network whose classifier was removed, and accepts no file of another network."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from timm.models import load_state_dict
from torch import Tensor, nn

from metricforge.bundle_files import is_bundle, read_description, verified_file
from metricforge.errors import CheckpointError
from metricforge.torch_archives import refuse_compressed


def load_weights_file(
    model: nn.Module,
    file: str | Path,
    ignored: Sequence[str],
    *,
    absent: str = "give the path of a .pth or .safetensors file",
    adapt: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> None:
    """Load the state dict in ``file`` (.pth, .pt or .safetensors) into ``model``; nothing in it is executed.

    The file must have every weight of ``model`` in its shape; a vector (C,) may be (1, C). Any other tensor must belong
    to a layer in ``ignored``: the classifier, auxiliary heads. A state dict under the key ``state_dict`` or ``model``,
    as training scripts save it, is accepted too. ``file`` may be a bundle of `metricforge export`: it is verified, and
    its backbone is taken. The error for an absent file ends in ``absent``, the way out. ``adapt`` changes the state
    dict before it is compared, such as for another image size.

    Raises:
        CheckpointError: if the file is absent, unreadable, changed since the export, or of another network, or if a
            weight in it is NaN or infinite.
    """
    path = Path(file).expanduser().absolute()
    of_bundle = is_bundle(path)
    if of_bundle:
        path = verified_file(path, read_description(path).get("weights"))
    if not path.is_file():
        raise CheckpointError(f"weights: {path} does not exist or is not a file; {absent}")
    state = _backbone_s(_read(path)) if of_bundle else _read(path)
    state = state if adapt is None else adapt(state)
    prefixes = tuple(f"{name}." for name in ignored)
    state = {name: value for name, value in state.items() if not name.startswith(prefixes)}
    wanted = {name: value for name, value in model.state_dict().items() if not name.startswith(prefixes)}
    for name in wanted.keys() & state.keys():
        # Files from before PyTorch 0.4 have BatchNorm's vectors (C,) as (1, C).
        if wanted[name].ndim == 1 and state[name].shape == (1, len(wanted[name])):
            state[name] = state[name][0]
    faults = {
        "lacks": sorted(name for name in wanted.keys() - state.keys() if not name.endswith("num_batches_tracked")),
        "has no use for": sorted(state.keys() - wanted.keys()),
        "has another shape of": sorted(n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape),
        "has another kind of number in": sorted(
            name
            for name in wanted.keys() & state.keys()
            if wanted[name].is_floating_point() != state[name].is_floating_point()
        ),
    }
    if any(faults.values()):
        told = "; it ".join(
            f"{verb} {len(names)}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for verb, names in faults.items()
            if names
        )
        raise CheckpointError(
            f"weights: {path} is of another network than {type(model).__name__} with {len(wanted)} tensors. It {told}"
        )
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as fault:
        raise CheckpointError(
            f"weights: {path} holds tensors that cannot be copied, such as sparse or quantized ones "
            f"({str(fault).splitlines()[-1].strip()})"
        ) from fault
    loaded = model.state_dict()
    broken = [name for name in wanted if name in state and not loaded[name].isfinite().all()]
    if broken:
        raise CheckpointError(
            f"weights: {path} has NaN or infinity in {len(broken)}: {', '.join(broken[:3])}"
            f"{', ...' if len(broken) > 3 else ''}; no training could begin with them, so give another file"
        )


def load_layer_of_bundle(model: nn.Module, file: str | Path, layer: str) -> None:
    """Load the weights of ``layer`` of ``model`` from ``file`` if that is a bundle whose network has them.

    Raises:
        CheckpointError: if they are of another shape, or it was changed since the export.
    """
    path = Path(file).expanduser().absolute()
    if not is_bundle(path):
        return
    state = _backbone_s(_read(verified_file(path, read_description(path).get("weights"))))
    own = {name.removeprefix(f"{layer}."): value for name, value in state.items() if name.startswith(f"{layer}.")}
    if not own:
        return
    try:
        model.get_submodule(layer).load_state_dict(own)
    except RuntimeError as fault:
        raise CheckpointError(f"weights: {path} has another {layer} ({str(fault).splitlines()[0]})") from fault


def _backbone_s(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the network in a bundle's backbone, by their names in that network."""
    own = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    wrapped = all(name.startswith("model.") for name in own)  # by a backbone that holds a library's network
    return {name.removeprefix("model.") if wrapped else name: value for name, value in own.items()}


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors in ``path`` by name."""
    try:
        refuse_compressed(path)
        if zipfile.is_zipfile(path):  # of whose checksums torch reads none
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"the checksum of {damaged} in it differs")
        state: Any = load_state_dict(str(path), device="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError("it holds something else")
    except Exception as fault:  # damaged bytes make torch, timm and safetensors raise whatever they lead to
        raise CheckpointError(
            f"weights: {path} cannot be read as a dict of tensors ({type(fault).__name__}: {fault}); it may be "
            "truncated, damaged, or hold more than tensors: save it with torch.save(model.state_dict(), file)"
        ) from fault
    return state
