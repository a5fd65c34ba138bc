"""Embeddings from another tool, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metricforge.arrays import Array
from metricforge.embedding_files.array_of import array_of
from metricforge.errors import EmbeddingsError
from metricforge.large_arrays import finite_rows

if TYPE_CHECKING:
    from metricforge.embedding_files.array_of import Values

SHOWN = 5


@dataclass(frozen=True, init=False)
class TaggedEmbeddings:
    """``embeddings`` (N, D) numbers, ``labels`` (N,), and ``ids`` and ``cameras`` (N,) or None: integers or text.

    Each may be given as an array, a tensor of any device and type, with or without a gradient, or a list; it is kept as
    an array.

    Args:
        source: what errors call it, such as the file's name.

    Raises:
        EmbeddingsError: for other shapes or types, lengths that differ, none at all, numbers that are not finite (it
            says how many rows and the first ids), or an id that stands twice.

    Examples:
        >>> named = TaggedEmbeddings(np.eye(2), np.array(["cat", "dog"]), ids=np.array(["a.jpg", "b.jpg"]))
        >>> named.embeddings.shape
        (2, 2)
        >>> import torch
        >>> TaggedEmbeddings(torch.eye(2, requires_grad=True), ["cat", "dog"]).labels.tolist()
        ['cat', 'dog']
    """

    embeddings: Array
    labels: Array
    ids: Array | None = None
    source: str = "the embeddings"
    cameras: Array | None = None

    def __init__(
        self,
        embeddings: Values,
        labels: Values,
        ids: Values | None = None,
        source: str = "the embeddings",
        cameras: Values | None = None,
    ) -> None:
        given = {"embeddings": embeddings, "labels": labels, "ids": ids, "cameras": cameras}
        for name, values in given.items():
            object.__setattr__(self, name, None if values is None else array_of(values, name, source))
        object.__setattr__(self, "source", source)
        self._check()

    def _check(self) -> None:
        shape, kind = self.embeddings.shape, self.embeddings.dtype
        if len(shape) != 2 or not shape[0] or not shape[1]:
            raise EmbeddingsError(f"{self.source}: embeddings must be (N, D), with N and D above 0, got shape {shape}")
        if not (np.issubdtype(kind, np.floating) or np.issubdtype(kind, np.integer)):
            raise EmbeddingsError(f"{self.source}: embeddings must be floats or integers, got {kind}")
        for name, column in (("labels", self.labels), ("ids", self.ids), ("cameras", self.cameras)):
            if column is None:
                continue
            if column.shape != (shape[0],):
                raise EmbeddingsError(
                    f"{self.source}: {name} must be one for each of the {shape[0]:,} embeddings, got shape "
                    f"{column.shape}; write both from the same loop"
                )
            if not (np.issubdtype(column.dtype, np.integer) or column.dtype.kind == "U"):
                raise EmbeddingsError(f"{self.source}: {name} must be integers or text, got {column.dtype}")
            empty = np.char.strip(column) == "" if column.dtype.kind == "U" else np.zeros(len(column), dtype=bool)
            if empty.any():
                raise EmbeddingsError(
                    f"{self.source}: {int(empty.sum()):,} of {shape[0]:,} {name} are empty (the first rows: "
                    f"{_listed(np.flatnonzero(empty) + 1)}); fill them in, or leave these rows out"
                )
        names = np.arange(shape[0]) if self.ids is None else self.ids
        finite = finite_rows(self.embeddings)  # (N,)
        if not finite.all():
            raise EmbeddingsError(
                f"{self.source}: {int((~finite).sum()):,} of {shape[0]:,} embeddings are not finite (the first ids: "
                f"{_listed(names[~finite])}); find out why before any score is computed: a diverged model, a division "
                "by a length of 0?"
            )
        values, counts = np.unique(names, return_counts=True)
        if len(values) != shape[0]:
            raise EmbeddingsError(
                f"{self.source}: ids must be unique, but {int((counts > 1).sum()):,} stand more than once (the first: "
                f"{_listed(values[counts > 1])}); drop the repeated rows, or leave ids out"
            )

    def __len__(self) -> int:
        return len(self.embeddings)


def _listed(values: Array) -> str:
    return ", ".join(str(value) for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
