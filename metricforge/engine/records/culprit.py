"""The batch with which a training became NaN or infinite, saved so that it can be looked at and repeated."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from metricforge.engine.loading.data_loading import SeededDataset
from metricforge.engine.records.sealed_file import is_as_written, is_sealed, write_sealed
from metricforge.errors import CheckpointError, NonFiniteLossError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.torch_archives import refuse_compressed


@dataclass(frozen=True)
class Culprit:
    """What was not finite, and with which batch.

    Args:
        iteration: of the update, from 0 on.
        epoch: of the update, from 0 on.
        message: what was said of it.
        scalars: total, parts and largest gradient of the batch; empty if only the state was found not finite.
        ids: of the samples (B,), their places in the training set; empty with ``scalars``.
        locations: where these images come from.
        images: as the model got them (B, 3, H, W); None where they cannot be read any more.
    """

    iteration: int
    epoch: int
    message: str
    scalars: Mapping[str, float]
    ids: list[int]
    locations: list[str] = field(default_factory=list)
    images: Tensor | None = None

    @property
    def file_name(self) -> str:
        """What its file is called in the run's folder."""
        return f"not_finite_{self.iteration + 1}.pt"


def save_culprit(error: NonFiniteLossError, dataset: SeededDataset, seed: int, batches: int, folder: Path) -> Path:
    """Write the batch that ``error`` names into ``folder``, its images read again with the draws that they had."""
    number = error.iteration % batches
    locations = [dataset.dataset.location(index) for index in error.ids]
    images = None
    with suppress(Exception):  # whatever an image that has gone makes a data set raise: the rest is worth keeping
        items = dataset.__getitems__([(index, (seed, error.epoch, number, index)) for index in error.ids])
        images = items["image"] if isinstance(items, dict) else torch.stack([item["image"] for item in items])
    culprit = Culprit(error.iteration, error.epoch, str(error), error.scalars, error.ids, locations, images)
    path = folder / culprit.file_name
    write_sealed(asdict(culprit), path)
    return path


def read_culprit(path: Path) -> Culprit:
    """Read what ``save_culprit`` wrote; nothing in the file is executed.

    Raises:
        CheckpointError: if it is absent, damaged or another kind of file.
    """
    if not path.is_file():  # a pipe would wait for a writer, a device give bytes without end
        raise CheckpointError(f"{path}: there is no such file of a batch; give a not_finite_*.pt from a run's folder")
    try:
        with path.open("rb") as file:
            if not is_sealed(file) or not is_as_written(file):
                raise CheckpointError(f"{path}: is damaged, or is not a batch saved by training")
            try:
                refuse_compressed(file)
                file.seek(0)
                return Culprit(**torch.load(file, map_location="cpu", weights_only=True))
            except Exception as error:  # another file makes torch raise whatever its bytes lead to
                raise CheckpointError(
                    f"{path}: is not a saved batch; give a not_finite_*.pt from a run's folder"
                ) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def checkpoint_before(culprit: Culprit, folder: Path) -> Path | None:
    """The newest checkpoint in ``folder`` from which a training comes to the batch; None: it begins anew."""
    found = [path for path in checkpoint_files(folder) if int(path.stem.removeprefix("iter_")) <= culprit.iteration]
    return found[0] if found else None
