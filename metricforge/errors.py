"""The errors MetricForge raises for a caller's mistake.

Each message says the argument, the value, what is allowed and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


class MetricForgeError(Exception):
    """Base of every error that MetricForge raises on purpose.

    Examples:
        >>> from metricforge import LOSSES
        >>> try:
        ...     LOSSES.get("TripletLos")
        ... except MetricForgeError as error:
        ...     print("TripletLoss" in str(error))
        True
    """


class ConfigError(MetricForgeError, ValueError):
    """One or more faults of a config, each led by its config path.

    Args:
        faults: one message a fault, such as ``model.loss.type: "Tripletloss" is not a registered loss; ...``.
        source: the config's file name, shown above the faults.
    """

    def __init__(self, faults: Sequence[str], source: str = "the config") -> None:
        self.faults = list(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{count} in {source}:", *(f"  - {fault}" for fault in self.faults)]))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` is Python's, torch's or a GPU's of too little memory."""
    text = str(error)
    return isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate" in text


class UnknownTypeError(MetricForgeError):
    """A ``type=`` that no core module and no installed plug-in registers."""


class PluginError(MetricForgeError):
    """An installed plug-in that could not be loaded, or whose component fails where it must not."""


class RegistrationError(PluginError):
    """A component that cannot be registered: of another kind, not a class, or of a name that is taken."""


class DatasetError(MetricForgeError):
    """A data set that is absent, incomplete or not as it must be."""


class EmbeddingsError(MetricForgeError, ValueError):
    """Embeddings, labels or ids that cannot be scored, or a score that does not exist."""


class DiskSpaceError(MetricForgeError):
    """A temporary file that the disk has no room for."""


class ComparisonError(MetricForgeError, ValueError):
    """Runs whose scores are absent, cannot be read or cannot be set side by side."""


class UnreadableImageError(DatasetError):
    """An image that cannot be decoded."""


class CheckpointError(MetricForgeError):
    """A checkpoint that is absent, truncated, unsafe or of another model."""


class RunFolderError(MetricForgeError):
    """A run's folder that another training is using."""


class IndexFileError(MetricForgeError):
    """An index that is absent, damaged or of another format."""


class IndexBusyError(MetricForgeError):
    """An index that somebody else is changing."""


class FilterError(MetricForgeError, ValueError):
    """A filter that is no condition over the columns of an index."""


class MainProcessError(MetricForgeError):
    """Process 0 of several failed, and said so itself; this process cannot go on without it."""


class ProcessesDifferError(MetricForgeError):
    """Several processes that were to train one run together have other settings, code or images each."""


STOPPED = 75  # exit status of a training that a signal ended: EX_TEMPFAIL, try again


class TrainingStopped(MetricForgeError):  # noqa: N818  (it is no mistake of anyone)
    """A signal of the system ended a training, which saved its state first.

    Args:
        signal: its name.
        iteration: how many updates were done, where the training says so.
    """

    def __init__(self, signal: str, iteration: int | None = None) -> None:
        super().__init__(f"stopped by {signal}")
        self.signal = signal
        self.iteration = iteration
        self.checkpoint: Path | None = None
        self.exit_code = STOPPED

    def __str__(self) -> str:
        done = "" if self.iteration is None else f" after {self.iteration:,} updates"
        saved = "nothing was to be saved yet" if self.checkpoint is None else f"{self.checkpoint} is saved"
        return f"stopped by {self.signal}{done}; {saved}"


class NonFiniteLossError(MetricForgeError):
    """A loss, a gradient, a weight or a running statistic became NaN or infinite during training.

    Args:
        message: what, when and on which batch.
        epoch: from 0 on.
        iteration: of the update, from 0 on.
        ids: of the batch's samples; empty where no one batch is known.
        scalars: loss, parts and largest gradient of the batch.
    """

    def __init__(
        self,
        message: str,
        *,
        epoch: int = 0,
        iteration: int = 0,
        ids: Sequence[int] = (),
        scalars: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.iteration = iteration
        self.ids = list(ids)
        self.scalars = dict(scalars or {})
        self.saved: Path | None = None

    def __str__(self) -> str:
        message = super().__str__()
        if self.saved is None:
            return message
        return f"{message}. The batch is saved as {self.saved}; --replay {self.saved} repeats the update"
