"""A batch sampler that looks at where the training images lie."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from metricforge.samplers.batch_sampler import BatchSampler


class EmbeddingBatchSampler(BatchSampler):
    """Chooses images by their embeddings, which the engine's ``EmbeddingBankHook`` brings.

    What happens, in this order, in every epoch: ``set_epoch``; ``refresh_is_due``, and where it is, ``refresh`` with
    the whole training set; ``iter()``; ``observe`` after each update, with the embeddings of its batch. A checkpoint
    may be written after any update, and a run that is taken up from it calls ``load_state_dict`` first, then
    ``set_epoch`` with the epoch it was in.

    Two promises keep a run exact. How far a loader draws ahead of training depends on its workers, so what ``observe``
    brings must not change the batches of an epoch that is under way: it counts from the next epoch on. And all
    processes are told the same embeddings, from which, the seed and the epoch they must draw the same global batches.

    Examples:
        >>> sorted(EmbeddingBatchSampler.__abstractmethods__ - BatchSampler.__abstractmethods__)
        ['load_state_dict', 'observe', 'refresh', 'refresh_is_due', 'state_dict']
    """

    @abstractmethod
    def refresh_is_due(self) -> bool:
        """Whether the epoch that was set last begins with embeddings of the whole training set.

        Never in an epoch that was taken up by ``load_state_dict``: its batches are drawn already.
        """

    @abstractmethod
    def refresh(self, embeddings: Tensor) -> None:
        """Takes the embeddings (N, D) of all training images, row i of image i, made in evaluation mode."""

    @abstractmethod
    def observe(self, indices: Tensor, embeddings: Tensor) -> None:
        """Takes the embeddings (B, D), on any device, of the images ``indices`` (B,) of a global batch just trained."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values for ``load_state_dict``, at any time within an epoch; alike in all processes."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up ``state``.

        Raises:
            ValueError: if it is of another data set or of other arguments.
        """
