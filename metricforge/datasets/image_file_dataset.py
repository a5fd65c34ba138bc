"""A data set whose images are files under one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from metricforge.datasets.image_dataset import ImageDataset


class ImageFileDataset(ImageDataset):
    """Images that lie as files under ``root``; a subclass says which, and of which class each is.

    Args:
        root: the folder that ``files`` are relative to.
        files: the path of each image (N,), relative to ``root``.
        name: see ImageDataset, as for the arguments that follow.
    """

    def __init__(
        self,
        *,
        root: Path,
        files: Sequence[str],
        name: str,
        split: str,
        labels: Sequence[int] | np.ndarray[Any, np.dtype[Any]],
        class_names: Sequence[str],
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        super().__init__(name=name, split=split, labels=labels, class_names=class_names, transform=transform)
        assert len(files) == len(self.labels)
        self.root = root
        self.files = tuple(files)

    def load(self, index: int) -> Image.Image:
        with Image.open(self.root / self.files[index]) as image:
            image.load()
        return image

    def location(self, index: int) -> str:
        return str(self.root / self.files[index])

    def _digest_images(self, digest: hashlib._Hash) -> None:
        # Names and sizes: reading every file would take minutes on a large collection.
        for file in self.files:
            digest.update(f"{file}\0{(self.root / file).stat().st_size}\n".encode())
