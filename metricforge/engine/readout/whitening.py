"""Whitening in closed form: principal components of features, each divided by the square root of its singular value."""

from __future__ import annotations

import numpy as np

from metricforge.arrays import Array

LEAST = 1e-10  # of the largest eigenvalue: below it is rounding
BYTE = 8


def whitening(features: Array, dim: int) -> tuple[Array, Array]:
    """Return the linear map, weight (D', F) and bias (D',) in float32, that whitens ``features`` (N, F).

    The principal components are divided by the *square root* of their singular values, which evens out the spread of
    the features without letting noise weigh as much as they do. Only the directions matter: the scale of the result is
    arbitrary, and the largest entry of each component is positive. Computed in float64.

    Args:
        features: of images of the training classes, finite.
        dim: D, the wanted number of components.

    Returns:
        As many components as there are: D' = D, or where the rank of the features, at most min(F, N - 1), is smaller,
        that; then of 8 or more a multiple of 8, whose signs fill bytes. None if all features are equal.

    Raises:
        ValueError: if ``features`` are no matrix of at least one row, or ``dim`` is below 1.
    """
    rows = np.asarray(features, dtype=np.float64)  # (N, F)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"features must be (N, F) with N at least 1, got {rows.shape}")
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    mean = rows.mean(axis=0)  # (F,)
    centred = rows - mean
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred)  # (F,) ascending, (F, F)
    eigenvalues, vectors = eigenvalues[::-1][:dim], vectors[:, ::-1][:, :dim]
    found = int((eigenvalues > LEAST * max(eigenvalues[0], np.finfo(np.float64).tiny)).sum())
    if found < dim and found > BYTE:
        found -= found % BYTE
    components = vectors[:, :found].T  # (D', F)
    largest = np.abs(components).argmax(axis=1)  # (D',)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    weight = components / eigenvalues[:found, None] ** 0.25  # an eigenvalue is a singular value squared
    if len(weight):
        weight /= np.linalg.norm(weight, axis=1).mean()
    return weight.astype(np.float32), -(weight @ mean).astype(np.float32)
