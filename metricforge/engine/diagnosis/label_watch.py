"""Which training images never have one of their own class nearest, although their classmates do."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import bdtr
from torch import Tensor

from metricforge.arrays import Indices

FEWEST_LOOKS = 6
RARELY = 0.25  # of the looks at an image
USUALLY = 0.7  # of those at its classmates
BY_CHANCE = 0.05  # how likely it may be that any image at all, labelled as its classmates are, looks as wrong


class LabelWatch:
    """Counts for each training image how often, in a batch, the nearest other image is of its own class.

    Args:
        labels: the class (N,) of each image.
    """

    def __init__(self, labels: Indices) -> None:
        self._labels = labels
        self._looks = np.zeros(len(labels), dtype=np.int32)
        self._hits = np.zeros(len(labels), dtype=np.int32)
        self._unread: list[tuple[Tensor, Tensor]] = []

    def look(self, ids: Tensor, hits: Tensor) -> None:
        """Note the ``hits`` (B,) of the images ``ids`` (B,); NaN for those without another of their class."""
        self._unread.append((ids, hits))

    def read(self) -> None:
        """Fetch what was noted, in one transfer."""
        if not self._unread:
            return
        ids = torch.cat([ids.cpu() for ids, _ in self._unread]).numpy()
        hits = torch.cat([hits for _, hits in self._unread]).cpu().numpy()
        self._unread.clear()
        counted = ~np.isnan(hits)
        np.add.at(self._looks, ids[counted], 1)
        np.add.at(self._hits, ids[counted], hits[counted].astype(np.int32))

    def doubtful(self) -> tuple[Indices, int]:
        """The images whose label looks wrong, the surest first, and how many were looked at often enough to tell."""
        self.read()
        known = self._looks >= FEWEST_LOOKS
        count = int(self._labels.max(initial=-1)) + 1
        looks, hits = (np.bincount(self._labels, column, count)[self._labels] for column in (self._looks, self._hits))
        with np.errstate(invalid="ignore", divide="ignore"):
            own = self._hits / self._looks
            mates = (hits - self._hits) / (looks - self._looks)  # NaN without one
            chance = bdtr(self._hits, self._looks, mates)  # of so few hits, at the rate of the classmates
        told = (own <= RARELY) & (mates >= USUALLY) & (chance * known.sum() < BY_CHANCE)
        chosen = np.flatnonzero(known & told)
        return chosen[np.lexsort((-mates[chosen], own[chosen]))], int(known.sum())


@torch.no_grad()
def nearest_is_match(embeddings: Tensor, labels: Tensor, ids: Tensor | None = None) -> Tensor:
    """For each of ``embeddings`` (B, D): 1 if the nearest other one has its label, 0 if not, NaN where none has it.

    Args:
        embeddings: of a batch.
        labels: their classes (B,).
        ids: of their images (B,): one that is there twice is no other image. None: all are different.
    """
    squares = embeddings.square().sum(dim=1)  # (B,)
    nearness = torch.addmm(squares.neg()[None].expand(len(labels), -1), embeddings, embeddings.T, alpha=2)  # (B, B)
    keys = torch.arange(len(labels), device=labels.device) if ids is None else ids
    itself = keys[:, None] == keys[None]  # (B, B)
    nearness.masked_fill_(itself, -torch.inf)
    alone = ~((labels[:, None] == labels[None]) & ~itself).any(dim=1)  # (B,)
    hits = (labels[nearness.argmax(dim=1)] == labels).float()  # (B,)
    return hits.masked_fill(alone, torch.nan)
