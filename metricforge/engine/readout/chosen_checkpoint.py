"""``chosen.pth``: the model that a run became, which loads, is tested and exported as any other checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from metricforge.engine.readout.candidate import Candidate
from metricforge.engine.readout.trained_weights import TrainedWeights
from metricforge.engine.records.checkpoints import load_checkpoint

CHOSEN = "chosen.pth"
OF_THE_HEAD = ("loss", "miner")  # what is trained with a head's embeddings, and knows no others


def chosen_checkpoint(
    trained: TrainedWeights, chosen: Candidate, *, choice: Mapping[str, Any], calibration: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the checkpoint of a model that reads the ``chosen`` layer: the run's own with other weights and head.

    Where the layer is not the trained head, loss and miner are left out: they know no other embeddings.

    Args:
        trained: the weights of the run.
        chosen: one of its candidates.
        choice: how it was chosen, for protocols.
        calibration: of its similarities.
    """
    base, weights = trained.checkpoint, trained.named(chosen.weights)
    state = {f"head.{name}": value for name, value in chosen.head_state.items()}
    for name, value in base["state_dict"].items():
        part, _, rest = name.partition(".")
        if part == "backbone":
            state[name] = weights.backbone[rest]
        elif part != "head" and (chosen.layer == "head" or part not in OF_THE_HEAD):
            state[name] = value
    model = trained.config.model
    readout = {"layer": chosen.layer, "weights": chosen.weights, "head": dict(chosen.head)}
    readout |= {part: model.to_dict().get(part) for part in OF_THE_HEAD}
    config = Config(trained.config.to_dict())
    _replace_head(config, readout)
    meta = base["meta"] | {
        "config": config.pretty_text,
        "readout": readout,
        "choice": dict(choice),
        "calibration": calibration,
        "averaged": None if chosen.weights in (trained.frozen.name, trained.raw) else trained.averaged_by,
    }
    if chosen.weights == trained.frozen.name:
        meta |= {"iteration": 0, "epoch": 0}
    return {"meta": meta, "state_dict": state}


def take_readout(config: Config, checkpoint: Path) -> None:
    """Give ``config``'s model the head that ``checkpoint`` was chosen with, if it is a ``chosen.pth``.

    Raises:
        CheckpointError: for a checkpoint that cannot be read.
    """
    readout = load_checkpoint(checkpoint)["meta"].get("readout")
    if readout is not None:
        _replace_head(config, readout)


def _replace_head(config: Config, readout: Mapping[str, Any]) -> None:
    model = config.model.to_dict()
    model["head"] = dict(readout["head"])
    if readout["layer"] != "head":
        for part in OF_THE_HEAD:
            model.pop(part, None)
    config.model = model
