"""Where every training image lay when the network last saw it, and who is near whom."""

from __future__ import annotations

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
        """Whether nothing was put into it yet."""
        return self._rows is None

    def replace(self, embeddings: Tensor) -> None:
        """Takes ``embeddings`` (N, D) in place of all that it holds.

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
        """Takes ``embeddings`` (B, D) of the images ``indices`` (B,); they stay on their device until they are read.

        Raises:
            ValueError: for images that the data set does not have, or embeddings of another size; and, when the bank
                is read, for embeddings that are not finite.
        """
        rows = self._filled()
        if embeddings.shape != (len(indices), rows.shape[1]):
            raise ValueError(
                f"the bank holds embeddings of {rows.shape[1]} dimensions and was told of {len(indices)} images, "
                f"got {tuple(embeddings.shape)}; only the model that filled the bank can update it"
            )
        if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= len(rows)):
            raise ValueError(
                f"indices must be in 0..{len(rows) - 1}, the images of the bank, got {int(indices.min())}.."
                f"{int(indices.max())}; embed the very data set whose labels the sampler was given"
            )
        self._unread.append((indices.clone(), embeddings.detach().float().clone()))

    def rows(self) -> NDArray[np.float32]:
        """All embeddings (N, D), the newest of each image."""
        rows = self._filled()
        for indices, embeddings in self._unread:
            here, new = indices.cpu().numpy(), embeddings.cpu().numpy()
            _check_finite(new, here)
            rows[here] = new
        self._unread = []
        return rows

    def nearest_of_other_classes(self, images: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """The ``count`` nearest images of other classes (n, count) of each of ``images`` (n,), nearest first.

        faiss's flat index finds the candidates in float32, float64 puts them into order; ties go to the smaller index.
        Every image must have ``count`` images of other classes.
        """
        rows = self.rows()
        assert int(self._own_class_size[images].max(initial=0)) + count <= len(rows)
        # A cloud far from the origin loses its inner distances to float32's rounding, and a collapsed one is just that.
        centred = (rows - rows.mean(axis=0, dtype=np.float64)).astype(np.float32)
        index = faiss.IndexFlatL2(rows.shape[1])
        index.add(centred)
        found = np.empty((len(images), count), dtype=np.int64)
        # An image's own class is all that can come before others: with so many more, there are surely enough. Images of
        # classes alike in size share a block, so that one huge class does not make every search as wide.
        enough = np.minimum(self._own_class_size[images] + count + _SPARE, len(rows))  # (n,)
        remaining = np.argsort(enough, kind="stable")
        while len(remaining):
            block = remaining[: max(1, _VALUES_AT_ONCE // (int(enough[remaining[0]]) * rows.shape[1]))]
            block = block[: max(1, _VALUES_AT_ONCE // (int(enough[block[-1]]) * rows.shape[1]))]
            _, candidates = index.search(centred[images[block]], int(enough[block[-1]]))  # (b, K)
            found[block] = self._in_order(rows, images[block], candidates)[:, :count]
            remaining = remaining[len(block) :]
        return found

    def _in_order(
        self,
        rows: NDArray[np.float32],
        images: NDArray[np.int64],
        candidates: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """``candidates`` (b, K) of ``images`` (b,), nearest first, those of the image's own class at the end."""
        apart = rows[candidates].astype(np.float64) - rows[images, None]  # (b, K, D)
        distances = np.einsum("bkd,bkd->bk", apart, apart)
        distances[self._labels[candidates] == self._labels[images, None]] = np.inf
        order = np.lexsort((candidates, distances), axis=1)
        return np.take_along_axis(candidates, order, axis=1)

    def _filled(self) -> NDArray[np.float32]:
        if self._rows is None:
            raise ValueError(
                "the bank is empty; give it the embeddings of the whole training set first (refresh), as training does "
                "at the start of an epoch"
            )
        return self._rows


def _check_finite(rows: NDArray[np.float32], images: NDArray[np.int64]) -> None:
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        first = ", ".join(str(i) for i in images[~finite][:5])
        raise ValueError(
            f"{int((~finite).sum())} of {len(rows)} embeddings are not finite (the first images: {first}); "
            "the training has diverged: try a smaller learning rate"
        )
