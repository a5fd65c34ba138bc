"""Counts the batches that gave a loss nothing to compare, and warns of them now and then."""

from __future__ import annotations

import warnings

from torch import Tensor


class EmptyBatchWarning(UserWarning):
    """A loss was 0 because its batch had no positive pair, no negative pair or no mined tuple.

    Examples:
        >>> import torch
        >>> import warnings
        >>> from metricforge import LOSSES
        >>> loss = LOSSES.build(dict(type="TripletLoss"))
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     output = loss(torch.randn(4, 8), torch.zeros(4, dtype=torch.int64))  # one class: no negative
        >>> output.total.item(), caught[0].category.__name__
        (0.0, 'EmptyBatchWarning')
    """


class EmptyBatches:
    """How many batches so far gave a loss nothing to compare. Warns of the first, the tenth, the hundredth, ...

    Args:
        loss: the loss's name, for the warning.
    """

    def __init__(self, loss: str) -> None:
        self._loss = loss
        self._batches = 0
        self._empty = 0
        self._unread: Tensor | int = 0
        self._next_warning = 1

    def add(self, comparable: Tensor | bool, look_every: int = 1) -> None:
        """Count one batch.

        Args:
            comparable: whether it had something to compare; a tensor () stays on its device until it is looked at.
            look_every: the count is read at the first batch and then at every so many; reading it stops a GPU.
        """
        empty = (~comparable).long() if isinstance(comparable, Tensor) else int(not comparable)
        self._unread = self._unread + empty
        if self._batches % look_every == 0:
            self._empty += int(self._unread)
            self._unread = 0
        self._batches += 1
        if self._empty < self._next_warning:
            return
        while self._next_warning <= self._empty:
            self._next_warning *= 10
        warnings.warn(
            f"{self._empty} of {self._batches} batches so far gave {self._loss} nothing to compare (no positive pair, "
            "no negative pair, or no mined tuple): their loss and gradient were 0. If it goes on, draw batches with "
            "ClassBalancedBatchSampler, at least 2 classes and samples_per_class=2, or choose another miner. "
            f"The next warning comes at {self._next_warning} such batches.",
            EmptyBatchWarning,
            stacklevel=3,  # whoever called the loss
        )
