"""The immutable values that components hand to each other, and the shape letters used in every comment.

========  =====================================================
``B``     images in a batch
``D``     dimensions of an embedding
``F``     dimensions of a backbone's pooled feature
``C``     classes
``N, M``  samples in general
``Q, G``  queries, gallery
``K``     neighbours a query
``P``     pairs; ``T`` triplets or quadruplets
========  =====================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntFlag
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Array, Flags, Indices
from metricforge.large_arrays import array_beside, finite_rows


def _check_index_columns(owner: object) -> None:
    """Raise ValueError unless every integer column of ``owner`` is one-dimensional and of one length."""
    columns = {f.name: getattr(owner, f.name) for f in fields(owner)}  # type: ignore[arg-type]
    shapes = {name: tuple(column.shape) for name, column in columns.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) != 1:
        raise ValueError(f"{type(owner).__name__} needs one-dimensional columns of one length, got {shapes}")
    for name, column in columns.items():
        allowed = torch.bool if name == "positive" and isinstance(owner, Pairs) else torch.int64
        if column.dtype != allowed:
            raise ValueError(f"{type(owner).__name__}.{name} must be {allowed}, got {column.dtype}")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Unordered pairs of a batch: rows ``first`` (P,) and ``second`` (P,), and whether they are of one class (P,).

    Examples:
        >>> import torch
        >>> pairs = Pairs(torch.tensor([0, 0]), torch.tensor([1, 2]), torch.tensor([True, False]))
        >>> len(pairs)
        2
    """

    first: Tensor
    second: Tensor
    positive: Tensor

    def __post_init__(self) -> None:
        _check_index_columns(self)

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, slots=True)
class DirectedPairs(Pairs):
    """Pairs whose ``first`` is the anchor that chose ``second``.

    A pair that both of its samples chose stands there twice, once in each direction. Losses that know anchors tell the
    two apart; another that accepts ``Pairs`` sees a pair that counts twice.

    Examples:
        >>> import torch
        >>> one = torch.tensor([0])
        >>> isinstance(DirectedPairs(first=one, second=one + 1, positive=one.bool()), Pairs)
        True
    """


@dataclass(frozen=True, slots=True)
class Triplets:
    """Rows of a batch (T,): ``positive`` is another image of the ``anchor``'s class, ``negative`` of another class.

    Examples:
        >>> import torch
        >>> triplets = Triplets(anchor=torch.tensor([0]), positive=torch.tensor([1]), negative=torch.tensor([2]))
        >>> len(triplets)
        1
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor

    def __post_init__(self) -> None:
        _check_index_columns(self)

    def __len__(self) -> int:
        return len(self.anchor)


@dataclass(frozen=True, slots=True)
class Quadruplets:
    """Rows of a batch (T,): a positive pair (``anchor``, ``positive``), and a negative of each of the two.

    Examples:
        >>> import torch
        >>> one = torch.tensor([0])
        >>> len(Quadruplets(anchor=one, positive=one + 1, anchor_negative=one + 2, positive_negative=one + 3))
        1
    """

    anchor: Tensor
    positive: Tensor
    anchor_negative: Tensor
    positive_negative: Tensor

    def __post_init__(self) -> None:
        _check_index_columns(self)

    def __len__(self) -> int:
        return len(self.anchor)


Tuples = Pairs | Triplets | Quadruplets


@dataclass(frozen=True, slots=True)
class LossOutput:
    """What a loss returns: ``total``, a scalar and the only thing that is differentiated, and ``parts`` to log.

    Examples:
        >>> import torch
        >>> output = LossOutput(torch.tensor(1.5), {"pull": torch.tensor(1.0), "push": torch.tensor(0.5)})
        >>> sorted(output.parts)
        ['pull', 'push']
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.total.dim() != 0:
            raise ValueError(f"LossOutput.total must be a scalar, got shape {tuple(self.total.shape)}; reduce it first")


class Role(IntFlag):
    """What an image is for in a test: something to search with, something to find, or both."""

    QUERY = 1
    GALLERY = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class RowShard:
    """Which rows of a parameter this process holds: from number ``first`` on, of ``total`` on all processes.

    Examples:
        >>> RowShard(first=250_000, total=1_000_000)  # the second of four processes
        RowShard(first=250000, total=1000000)
    """

    first: int
    total: int


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """Embedded images: ``embeddings`` (N, D) float, ``labels`` (N,) and ``ids`` (N,) int64, on the host.

    An id names an image once and for all: it is how a query is kept from being its own neighbour. Ids default to the
    position. ``class_names``, where given, is indexed by label. ``cameras`` (N,) int64, where given, says what took
    each image, by one numbering for all sets that are searched in each other.

    Raises:
        ValueError: for other shapes, lengths that differ, embeddings that are not finite, or an id that stands twice.

    Examples:
        >>> import numpy as np
        >>> images = EmbeddingSet(np.eye(3, dtype=np.float32), labels=np.array([0, 0, 1]))
        >>> len(images.where(images.labels == 0))
        2
    """

    embeddings: Array
    labels: Indices
    ids: Indices | None = None
    class_names: tuple[str, ...] | None = None
    cameras: Indices | None = None

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise ValueError(f"embeddings must be (N, D), got shape {self.embeddings.shape}")
        count = len(self.embeddings)
        if self.ids is None:
            object.__setattr__(self, "ids", np.arange(count))
        assert self.ids is not None
        if self.labels.shape != (count,) or self.ids.shape != (count,):
            raise ValueError(
                f"labels and ids must be one for each of the {count} embeddings, "
                f"got labels {self.labels.shape} and ids {self.ids.shape}"
            )
        if not (np.issubdtype(self.labels.dtype, np.integer) and np.issubdtype(self.ids.dtype, np.integer)):
            raise ValueError(f"labels and ids must be integers, got {self.labels.dtype} and {self.ids.dtype}")
        if self.cameras is not None and self.cameras.shape != (count,):
            raise ValueError(f"cameras must be one for each of the {count} embeddings, got {self.cameras.shape}")
        finite = finite_rows(self.embeddings)  # (N,)
        if not finite.all():
            first = ", ".join(str(i) for i in self.ids[~finite][:5])
            raise ValueError(
                f"{int((~finite).sum())} of {count} embeddings are not finite (the first ids: {first}); "
                "find out why before any score is computed: a diverged model, or an image of one colour?"
            )
        if len(np.unique(self.ids)) != count:
            raise ValueError(f"ids must be unique, but {count - len(np.unique(self.ids))} of {count} stand twice")

    def __len__(self) -> int:
        return len(self.embeddings)

    def where(self, chosen: Flags) -> EmbeddingSet:
        """The images for which ``chosen`` (N,) is true, with the ids they have here."""
        assert self.ids is not None
        count = int(np.count_nonzero(chosen))
        embeddings = array_beside(self.embeddings, (count, self.embeddings.shape[1]), self.embeddings.dtype)
        np.compress(chosen, self.embeddings, axis=0, out=embeddings)
        cameras = None if self.cameras is None else self.cameras[chosen]
        return EmbeddingSet(embeddings, self.labels[chosen], self.ids[chosen], self.class_names, cameras)
