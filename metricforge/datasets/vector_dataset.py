"""Vectors that another network made, of images, text, sound or anything else, as a labelled data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metricforge.arrays import Flags, Floats32, Indices
from metricforge.datasets.image_dataset import ImageDataset
from metricforge.datasets.tables.class_split import check_split_arguments, classes_of_split, training_classes
from metricforge.embedding_files import TaggedEmbeddings, read_embedding_file
from metricforge.errors import DatasetError, EmbeddingsError
from metricforge.large_arrays import ROWS_AT_ONCE, row_blocks
from metricforge.registry import DATASETS

_IN_FINGERPRINT = 1000  # vectors, spread over the file: reading all of a file larger than memory takes minutes


@DATASETS.register_module()
class VectorDataset(ImageDataset):
    """The labelled vectors of a file, such as those of a frozen network; ``IdentityBackbone`` feeds them to a head.

    The file is a .npz with ``embeddings`` (N, F), ``labels`` (N,) and optionally ``ids`` (N,), or a Parquet file with a
    row each. What ``numpy.savez`` wrote is read where it lies, and may be larger than memory. Classes are in the order
    of their labels, and split as ImageFolderDataset splits them. Item ``i`` is ``dict(image, label, id)``, where
    ``image`` is the vector (F,) float32.

    Args:
        file: the file, absolute or relative to ``root``.
        root: a folder; None: the working folder.
        split: "train", "val", "test" or "all".
        train_fraction: share of the classes that train.
        train_classes: see ImageFolderDataset.
        folds: see ImageFolderDataset.
        fold: see ImageFolderDataset.

    Raises:
        DatasetError: for a file that is absent or damaged, numbers that float32 cannot hold, or a split of fewer than
            two classes.
        ValueError: for arguments that do not go together.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/vectors.npz", embeddings=np.eye(8), labels=np.arange(8) // 2)
        ...     VectorDataset("vectors.npz", root=folder).describe()
        'vectors.npz train: 4 vectors of 2 classes'
    """

    unit: ClassVar[str] = "vectors"
    has_pictures: ClassVar[bool] = False

    def __init__(
        self,
        file: str | Path,
        root: str | Path | None = None,
        split: Literal["train", "val", "test", "all"] = "train",
        train_fraction: float = 0.5,
        train_classes: Sequence[str] | str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        check_split_arguments(split, train_fraction, folds, fold)
        path = (Path() if root is None else Path(root).expanduser()) / Path(file).expanduser()
        stored = _read(path)
        values, numbers = np.unique(stored.labels, return_inverse=True)  # (C,), (N,)
        names = [str(value) for value in values]
        for_training = training_classes(str(path), names, train_fraction, train_classes)  # (C,)
        chosen = classes_of_split(for_training, split, folds, fold)  # (C,)
        if chosen.sum() < 2:
            raise DatasetError(
                f"the {split} split of {path} has {int(chosen.sum())} of its {len(names)} classes, but retrieval needs "
                f"at least 2; add classes, or change train_fraction ({train_fraction}), train_classes or folds"
            )
        self.vectors = stored.embeddings  # (N', F), of all splits
        self._rows: Indices = np.flatnonzero(chosen[numbers])  # (N,), of this one
        self._ids = None if stored.ids is None else stored.ids[self._rows]
        super().__init__(
            name=path.name,
            split=split,
            labels=(np.cumsum(chosen) - 1)[numbers[self._rows]],
            class_names=[name for name, used in zip(names, chosen, strict=True) if used],
        )

    @property
    def vector_dim(self) -> int:
        """F, the length of a vector."""
        return int(self.vectors.shape[1])

    def load(self, index: int) -> Image.Image:
        raise DatasetError(f"{self.location(index)} is a vector and has no picture")

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0..{len(self) - 1} of {self.describe()}")
        batch = self.__getitems__([index])
        return {"image": batch["image"][0], "label": int(batch["label"]), "id": index}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return ``image`` (B, F) float32, ``label`` (B,) and ``id`` (B,) of a batch at once; DataLoader calls it."""
        chosen = np.asarray(indices, dtype=np.int64)  # (B,)
        vectors: Floats32 = np.asarray(self.vectors[self._rows[chosen]], dtype=np.float32)
        return {
            "image": torch.from_numpy(vectors),
            "label": torch.from_numpy(self.labels[chosen]),
            "id": torch.from_numpy(chosen),
        }

    def location(self, index: int) -> str:
        row = int(self._rows[index])
        return f"{self.name}, row {row + 1}" + ("" if self._ids is None else f" ({self._ids[index]})")

    def _keep_images(self, rows: Flags) -> None:
        self._rows = self._rows[rows]
        self._ids = None if self._ids is None else self._ids[rows]

    def _digest_images(self, digest: hashlib._Hash) -> None:
        digest.update(repr((len(self), self.vector_dim, str(self.vectors.dtype))).encode())
        some = np.linspace(0, len(self) - 1, min(len(self), _IN_FINGERPRINT)).astype(int)
        digest.update(np.ascontiguousarray(self.vectors[self._rows[some]]).tobytes())


def _read(path: Path) -> TaggedEmbeddings:
    if not path.is_file():
        raise DatasetError(
            f"{path}: there is no such file; write one, as numpy.savez(FILE, embeddings=..., labels=...) does, or name "
            "another (file) or its folder: --cfg-options data_root=FOLDER"
        )
    try:
        stored = read_embedding_file(path)
    except EmbeddingsError as fault:
        raise DatasetError(str(fault)) from fault
    largest = np.finfo(np.float32).max
    for place, block in row_blocks(stored.embeddings, ROWS_AT_ONCE):
        beyond = (np.abs(block) > largest).any(axis=1)  # (b,)
        if beyond.any():
            raise DatasetError(
                f"{path}, row {place.start + int(np.argmax(beyond)) + 1}: has a number of more than {largest:.3g}, "
                "which float32 cannot hold; scale the vectors"
            )
    return stored
