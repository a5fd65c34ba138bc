"""A batch sampler that chooses images by their embeddings."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from metricforge.samplers.batch_sampler import BatchSampler


class EmbeddingBatchSampler(BatchSampler):
    """Choose images by their embeddings, which the engine's ``EmbeddingBankHook`` provides.

    Each epoch calls, in this order: ``set_epoch``; ``refresh_is_due`` and, if so, ``refresh`` with the whole training
    set; ``iter()``; ``observe`` after each update, with the embeddings of its batch. A checkpoint may be written after
    any update; a run that resumes from it calls ``load_state_dict`` first, then ``set_epoch`` with its epoch.

    Two rules keep a run exact. How far a loader reads ahead of training depends on its workers, so ``observe`` must not
    change the batches of the current epoch, only those of later ones. And all processes get the same embeddings, from
    which, with the seed and the epoch, they must draw the same global batches.

    Examples:
        >>> sorted(EmbeddingBatchSampler.__abstractmethods__ - BatchSampler.__abstractmethods__)
        ['load_state_dict', 'observe', 'refresh', 'refresh_is_due', 'state_dict']
    """

    @abstractmethod
    def refresh_is_due(self) -> bool:
        """Whether the current epoch needs new embeddings of the whole training set.

        Never in an epoch resumed by ``load_state_dict``: its batches are already drawn.
        """

    @abstractmethod
    def refresh(self, embeddings: Tensor) -> None:
        """Take the embeddings (N, D) of all training images, row i of image i, computed in evaluation mode."""

    @abstractmethod
    def observe(self, indices: Tensor, embeddings: Tensor) -> None:
        """Take the embeddings (B, D), on any device, of the images ``indices`` (B,) of the last global batch."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values for ``load_state_dict``, at any time within an epoch; the same in all processes."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state``.

        Raises:
            ValueError: if it is of another data set or of other arguments.
        """
