"""Keeps images as they are after the first transforms in a folder, so that later epochs need not decode them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from PIL import __version__ as pillow_version
from torch import Tensor
from torchvision import __version__ as torchvision_version
from torchvision.transforms import v2

from metricforge.atomic_write import atomic_write, write_atomically
from metricforge.errors import DatasetError

# What these make follows from the picture and from what they print of themselves alone.
DRAW_NOTHING = (v2.Resize, v2.CenterCrop)
_HEADER = 8
_TYPICAL = (3, 375, 500)


class ImageCache:
    """uint8 images (3, H, W) in files of their own, after the leading transforms that draw nothing at random.

    The name of a cached file follows from its source (path, size, modification time, box), that of its folder from the
    transforms, the kind of decoding and the versions of the libraries: a changed image is cached anew, and nothing
    outdated is ever read. Files are written atomically, so that any number of workers and processes may share a folder,
    and a killed run does no harm. Outdated files stay until the folder is removed, which is safe at any time.

    Args:
        folder: created if it does not exist.
        transform: that of the data set; the leading ``Resize`` and ``CenterCrop`` steps are applied before caching.
        reduced: whether JPEGs are decoded approximately, at a fraction of their size if that is enough.
        reader: the class that opens the files, if it does so in its own way.

    Raises:
        DatasetError: if the first transform is neither of the two: only the image itself could be cached.
    """

    def __init__(
        self, folder: Path, transform: Sequence[Callable[[Any], Any]], reduced: bool, reader: str = ""
    ) -> None:
        kept = 0
        while kept < len(transform) and type(transform[kept]) in DRAW_NOTHING:
            kept += 1
        if not kept:
            first = type(transform[0]).__name__ if transform else "nothing"
            raise DatasetError(
                f"cache: the first transform must be Resize or CenterCrop, whose result is kept, got {first}; "
                'put dict(type="Resize", size=256) before a random crop, or leave cache out'
            )
        self.steps = list(transform[:kept])
        made_by = (torch.__version__, torchvision_version, simplejpeg.__version__, pillow_version)
        decoding = "approximate" if reduced else "exact"
        self._what = f"{self.steps}\ndecoding: {decoding}\nreader: {reader}\nversions: {', '.join(made_by)}\n"
        self.folder = folder / hashlib.sha256(self._what.encode()).hexdigest()[:12]

    def get(self, state: str) -> Tensor | None:
        """Return the cached image (3, H, W) of a file in ``state``, or None."""
        try:
            content = np.fromfile(self._path(state), dtype=np.uint8)
        except OSError:
            return None
        if len(content) < _HEADER:
            return None
        height, width = content[:_HEADER].view("<u4").tolist()
        if len(content) != _HEADER + 3 * height * width:  # a disk that lost power
            return None
        return torch.from_numpy(content[_HEADER:].reshape(height, width, 3)).permute(2, 0, 1)

    def put(self, state: str, image: Tensor) -> None:
        """Cache ``image`` (3, H, W) of a file in ``state``.

        Raises:
            DatasetError: if it cannot be written.
        """
        path = self._path(state)
        try:
            with atomic_write(path, durable=False) as file:  # get checks the size
                file.write(np.array(image.shape[1:], dtype="<u4").tobytes())
                file.write(image.permute(1, 2, 0).contiguous().numpy().data)
        except OSError as fault:
            raise DatasetError(
                f"cache: {path} cannot be written ({fault.strerror}); free some space, name another folder, or leave "
                "cache out"
            ) from fault

    def prepare(self, images: int) -> None:
        """Create the folder and check that it has room for ``images``.

        Raises:
            DatasetError: if the folder cannot be created, or its disk lacks the space.
        """
        try:
            write_atomically(self.folder / "transform.txt", self._what)
        except OSError as fault:
            raise DatasetError(
                f"cache: {self.folder} cannot be created ({fault.strerror}); name another folder"
            ) from fault
        there = sum(len(files) for _, _, files in os.walk(self.folder)) - 1
        lacking, free = max(0, images - there) * self._bytes_an_image(), shutil.disk_usage(self.folder).free
        if lacking > free:
            raise DatasetError(
                f"cache: {self.folder} needs {lacking / 1e9:,.1f} GB more for all {images:,} images, and its disk has "
                f"{free / 1e9:,.1f} GB free; free some space, name another folder, or leave cache out"
            )

    def describe(self, images: int) -> str:
        """One line, such as ``/tmp/cache/0123456789ab: about 1.15 GB when all 5,864 images are in it``."""
        return (
            f"{self.folder}: about {images * self._bytes_an_image() / 1e9:,.2f} GB when all {images:,} images are in it"
        )

    def _bytes_an_image(self) -> int:
        image = torch.zeros(_TYPICAL, dtype=torch.uint8)
        for step in self.steps:
            image = step(image)
        return image.numel()

    def _path(self, state: str) -> Path:
        key = hashlib.sha256(state.encode()).hexdigest()
        return self.folder / key[:2] / key[2:]
