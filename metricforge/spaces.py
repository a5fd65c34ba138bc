"""Smaller spaces that the same embeddings can be kept in: fewer dimensions, or a byte for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA

from metricforge.arrays import Array
from metricforge.common_offset import common_offset, without_offset
from metricforge.large_arrays import ROWS_AT_ONCE, array_beside, row_blocks

KINDS = 'spaces are "first:N", "pca:N" (N dimensions) and "int8", and steps joined by "+", such as "pca:64+int8"'


@dataclass(frozen=True, eq=False)
class FittingSet:
    """``embeddings`` (N, D) by the same model, such as those of the training set.

    Args:
        embeddings: of any float type.
        source: what the protocol calls it, such as a file's name.
        fingerprint: of the images, the same for two models' embeddings of them: scores that were fitted on sets of two
            fingerprints do not compare.
    """

    embeddings: Array
    source: str
    fingerprint: str


class Step(NamedTuple):
    """``kind`` "first", "pca" or "int8", and the ``dimensions`` that are left, None where all are."""

    kind: str
    dimensions: int | None


class Space:
    """What embeddings become, step by step, before they are searched; fitted on the gallery, or on other images.

    - ``first:N`` keeps the first N dimensions, as embeddings trained to be cut off have them;
    - ``pca:N`` keeps the N directions of largest variance, centred, not whitened;
    - ``int8`` rounds each dimension to -127..127 steps of 1/127 of the largest absolute value that it was fitted on.

    A similarity that normalises does so again afterwards. Steps are joined by "+".

    Args:
        name: such as "first:64", "pca:64" or "pca:64+int8".
        fit_on: what it is fitted on; None: the gallery.

    Raises:
        ValueError: for another name.
    """

    def __init__(self, name: str, fit_on: FittingSet | None = None) -> None:
        if not isinstance(name, str):
            raise ValueError(f"space must be text, got {name!r}; {KINDS}")
        self.name = name
        self.fit_on = fit_on
        self.steps = tuple(_step(part.strip(), name) for part in name.split("+"))
        if any(step.kind == "int8" for step in self.steps[:-1]):
            raise ValueError(f'space "{name}": int8 must be the last step; {KINDS}')

    def transformed(self, queries: Array, gallery: Array | None, seed: int) -> tuple[Array, Array | None]:
        """``queries`` (Q, D) and ``gallery`` (G, D), which None says to be the same, in this space (.., D'), float32.

        Raises:
            ValueError: for more dimensions than there are, for "pca" than there are images to fit it on, or a fitting
                set of other dimensions.
        """
        fit_on = self.fit_on
        if fit_on is not None and fit_on.embeddings.shape[1] != queries.shape[1]:
            raise ValueError(
                f'space "{self.name}" is fitted on {fit_on.source}, which has {fit_on.embeddings.shape[1]} dimensions, '
                f"and the queries have {queries.shape[1]}; embed both with the same model"
            )
        others = None if fit_on is None else fit_on.embeddings  # (N, D)
        for step in self.steps:
            available = queries.shape[1]
            if step.dimensions is not None and step.dimensions > available:
                raise ValueError(
                    f'space "{self.name}" keeps {step.dimensions} dimensions, and the embeddings have {available}; '
                    "take fewer"
                )
            own = queries if gallery is None else gallery
            change = self._fitted(step, own if others is None else others, seed)
            queries = change(queries)
            gallery = None if gallery is None else change(gallery)
            others = None if others is None or step is self.steps[-1] else change(others)
        return queries, gallery

    def bytes_per_vector(self, dimensions: int, item: int) -> int:
        """What a vector of ``dimensions`` numbers of ``item`` bytes takes in this space."""
        for step in self.steps:
            dimensions = dimensions if step.dimensions is None else step.dimensions
            item = {"first": item, "pca": 4, "int8": 1}[step.kind]
        return dimensions * item

    def _fitted(self, step: Step, fitted: Array, seed: int) -> Callable[[Array], Array]:
        """What ``step`` does to rows (N, D), as ``fitted`` (M, D) has it."""
        if step.kind == "first":
            return lambda rows: rows[:, : step.dimensions]
        if step.kind == "int8":
            blocks = row_blocks(fitted, ROWS_AT_ONCE)
            largest = np.max([np.abs(block).max(axis=0) for _, block in blocks], axis=0).astype(np.float32)  # (D,)
            unit = np.where(largest > 0, largest, 1) / np.float32(127)
            return lambda rows: _blockwise(rows, lambda block: np.clip(np.rint(block / unit), -127, 127) * unit)
        assert step.dimensions is not None
        if step.dimensions > len(fitted):
            where = "the gallery" if self.fit_on is None else self.fit_on.source
            raise ValueError(
                f'space "{self.name}" keeps {step.dimensions} dimensions, and PCA on the {len(fitted)} images of '
                f"{where} has at most {len(fitted)}; take fewer"
            )
        solver = "covariance_eigh" if len(fitted) >= fitted.shape[1] else "full"
        offset = common_offset(fitted)  # what PCA subtracts too, but not before float32 has lost the rest beside it
        if offset is not None:
            pca = PCA(step.dimensions, svd_solver=solver, random_state=seed).fit(without_offset(fitted, offset))
            return lambda rows: _blockwise(without_offset(rows, offset), pca.transform)
        floats = fitted if fitted.dtype == np.float32 else _blockwise(fitted, lambda block: block)
        pca = PCA(step.dimensions, svd_solver=solver, random_state=seed).fit(floats)
        return lambda rows: _blockwise(rows, pca.transform)


def _step(part: str, name: str) -> Step:
    kind, _, number = part.partition(":")
    if part == "int8":
        return Step("int8", None)
    if kind in ("first", "pca") and number.isascii() and number.isdigit() and int(number) >= 1:
        return Step(kind, int(number))
    raise ValueError(f'space "{name}": "{part}" is none; {KINDS}')


def _blockwise(rows: Array, change: Callable[[Array], Array]) -> Array:
    changed: Array | None = None
    for place, block in row_blocks(rows, ROWS_AT_ONCE):
        its_rows = change(np.asarray(block, dtype=np.float32))  # (rows, D')
        if changed is None:
            changed = array_beside(rows, (len(rows), its_rows.shape[1]), np.float32)
        changed[place] = its_rows
    assert changed is not None, "a context never holds an empty set"
    return changed
