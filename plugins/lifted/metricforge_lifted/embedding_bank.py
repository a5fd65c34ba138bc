"""The latest embedding of every training image, searched for the nearest images of other classes."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Candidates fetched beyond those asked for: where float32 cannot tell neighbours apart, float64 chooses among them.
_SPARE = 32
_VALUES_AT_ONCE = 2**22  # of the candidates' embeddings, in float64 32 MB


class EmbeddingBank:
    """One embedding (D,) float32 for each of N images, searched exactly for the nearest images of other classes.

    Args:
        labels: the class of each image (N,), any integers.
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self._labels = labels
        _, class_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        self._own_class_size = sizes[class_of]  # (N,)
        self._rows: NDArray[np.float32] | None = None
        self._unread: list[tuple[Tensor, Tensor]] = []

    @property
    def is_empty(self) -> bool:
        """Whether it holds no embeddings yet."""
        return self._rows is None

    def replace(self, embeddings: Tensor) -> None:
        """Replace everything it holds by ``embeddings`` (N, D).

        Raises:
            ValueError: unless there is one finite row for each image.
        """
        if embeddings.dim() != 2 or len(embeddings) != len(self._labels):
            raise ValueError(
                f"the bank needs one embedding for each of the {len(self._labels)} images of the data set, "
                f"got {tuple(embeddings.shape)}; embed the very data set whose labels the sampler was given"
            )
        rows = embeddings.detach().float().cpu().numpy().copy()
        _check_finite(rows, np.arange(len(rows)))
        self._rows, self._unread = rows, []

    def update(self, indices: Tensor, embeddings: Tensor) -> None:
        """Store ``embeddings`` (B, D) of the images ``indices`` (B,); they stay on their device until they are read.

        Raises:
            ValueError: for images that the data set does not have, or embeddings of another size; and, when the bank
                is read, for embeddings that are not finite.
        """
        rows = self._filled()
        if embeddings.shape != (len(indices), rows.shape[1]):
            raise ValueError(
                f"the bank holds embeddings of {rows.shape[1]} dimensions and was given {len(indices)} indices, "
                f"got {tuple(embeddings.shape)}; only the model that filled the bank can update it"
            )
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(rows)):
            raise ValueError(
                f"indices must be in 0..{len(rows) - 1}, the images of the bank, got {int(indices.min())}.."
                f"{int(indices.max())}; embed the very data set whose labels the sampler was given"
            )
        self._unread.append((indices.clone(), embeddings.detach().float().clone()))

    def rows(self) -> NDArray[np.float32]:
        """All embeddings (N, D), the latest of each image."""
        rows = self._filled()
        for indices, embeddings in self._unread:
            here, new = indices.cpu().numpy(), embeddings.cpu().numpy()
            _check_finite(new, here)
            rows[here] = new
        self._unread = []
        return rows

    def nearest_of_other_classes(self, images: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Find the ``count`` nearest images of other classes (n, count) of each of ``images`` (n,), nearest first.

        The result is exactly that of a loop which computes each squared distance in float64, adding up one dimension
        after another, and sorts by it; ties, which are distances that are equal in this arithmetic, go to the smaller
        index. faiss finds candidates in float32. Where its rounding may hide a nearer image, all images are compared.

        Args:
            images: indices of the images whose neighbours are wanted.
            count: at least so many images must be of another class, for each of ``images``.
        """
        rows = self.rows()
        assert int(self._own_class_size[images].max(initial=0)) + count <= len(rows)
        centred = _centred_in_unit_ball(rows)
        index = faiss.IndexFlatL2(rows.shape[1])
        index.add(centred.rows)
        found = np.empty((len(images), count), dtype=np.int64)
        undecided: list[int] = []
        # Only an image's own class can crowd out others, so this many candidates nearly always suffice. Images of
        # classes of similar size share a block, so that one huge class does not widen every search.
        enough = np.minimum(self._own_class_size[images] + count + _SPARE, len(rows))  # (n,)
        remaining = np.argsort(enough, kind="stable")
        while len(remaining):
            block = remaining[: max(1, _VALUES_AT_ONCE // (int(enough[remaining[0]]) * rows.shape[1]))]
            block = block[: max(1, _VALUES_AT_ONCE // (int(enough[block[-1]]) * rows.shape[1]))]
            wanted = int(enough[block[-1]])
            rough, candidates = index.search(centred.rows[images[block]], wanted)  # (b, K), by rising distance
            distances = _squared_distances(rows[candidates], rows[images[block], None])  # (b, K)
            distances[self._labels[candidates] == self._labels[images[block], None]] = np.inf
            order = np.lexsort((candidates, distances), axis=1)[:, :count]
            found[block] = np.take_along_axis(candidates, order, axis=1)
            if wanted < len(rows):
                farthest = np.take_along_axis(distances, order[:, -1:], axis=1)[:, 0]  # (b,)
                beyond = centred.least_distances(images[block], rough[:, -1])  # (b,)
                undecided += block[farthest >= beyond].tolist()
            remaining = remaining[len(block) :]
        self._compare_with_all(rows, images, np.array(undecided, dtype=np.int64), found)
        return found

    def _compare_with_all(
        self,
        rows: NDArray[np.float32],
        images: NDArray[np.int64],
        undecided: NDArray[np.int64],
        found: NDArray[np.int64],
    ) -> None:
        """Fill in the rows ``undecided`` of ``found`` from the distances to all images, once for equal embeddings."""
        if not len(undecided):
            return
        count = found.shape[1]
        _, groups = np.unique(rows[images[undecided]], axis=0, return_inverse=True)
        step = max(1, _VALUES_AT_ONCE // rows.shape[1])
        for group in range(int(groups.max()) + 1):
            members = undecided[groups.ravel() == group]
            row = rows[images[members[0]]]
            blocks = [_squared_distances(rows[start : start + step], row) for start in range(0, len(rows), step)]
            distances = np.concatenate(blocks)  # (N,)
            for member in members:
                others = np.where(self._labels == self._labels[images[member]], np.inf, distances)  # (N,)
                near = np.flatnonzero(others <= np.partition(others, count - 1)[count - 1])  # in the order of indices
                found[member] = near[np.argsort(others[near], kind="stable")[:count]]

    def _filled(self) -> NDArray[np.float32]:
        if self._rows is None:
            raise ValueError(
                "the bank is empty; give it the embeddings of the whole training set first (refresh), as training does "
                "at the start of an epoch"
            )
        return self._rows


@dataclass(frozen=True, slots=True)
class _CentredRows:
    """Embeddings moved and scaled to lie around the origin, at most 1 away, in float32.

    A cloud far from the origin would lose its inner distances to float32's rounding, and a collapsed one is just that;
    squares of very large or small numbers would overflow or vanish.
    """

    rows: NDArray[np.float32]  # (N, D)
    lengths: NDArray[np.float64]  # (N,)
    scale: float

    def least_distances(self, images: NDArray[np.int64], rough: NDArray[np.float32]) -> NDArray[np.float64]:
        """What true squared distances (b,) from ``images`` (b,) exceed if float32 found ``rough`` (b,) or more.

        Between x and y float32 errs by at most e (|x| + |y|)^2, with e = 2 (D + 8) 2^-24 for rounding x and y, for D
        products and their sum, in any order, twice as much as is needed. As |y| <= |x| + d for the distance d, that is
        at most e (8 |x|^2 + 2 d^2).
        """
        dim = self.rows.shape[1]
        error = 2 * (dim + 8) * 2.0**-24
        vanished = dim * float(np.finfo(np.float32).tiny)
        squares = (rough - 8 * error * self.lengths[images] ** 2 - vanished) / (1 + 2 * error)
        return squares * self.scale**2


def _centred_in_unit_ball(rows: NDArray[np.float32]) -> _CentredRows:
    moved = rows - rows.mean(axis=0, dtype=np.float64)  # (N, D) float64
    lengths = np.linalg.norm(moved, axis=1)  # (N,)
    scale = float(lengths.max()) or 1.0
    return _CentredRows((moved / scale).astype(np.float32), lengths / scale, scale)


def _squared_distances(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the last axis of ``x`` (..., D) and ``y``, which is broadcast: (...,), added up from the first to the last."""
    squares = np.subtract(x, y, dtype=np.float64) ** 2  # (..., D)
    return np.add.accumulate(squares, axis=-1)[..., -1]


def _check_finite(rows: NDArray[np.float32], images: NDArray[np.int64]) -> None:
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        first = ", ".join(str(i) for i in images[~finite][:5])
        raise ValueError(
            f"{int((~finite).sum())} of {len(rows)} embeddings are not finite (the first images: {first}); "
            "the training has diverged: try a smaller learning rate"
        )
