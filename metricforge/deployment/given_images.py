"""Images in any form, from paths to arrays, read and prepared as in evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import fsspec
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from metricforge.datasets import ImageFileDataset
from metricforge.datasets.decoding.regular_file import read_regular_file

ImageLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | np.ndarray[Any, Any] | Tensor"
)


class GivenImages(ImageFileDataset):
    """A few images of any kind, in the order given; item ``i`` is ``dict(image, label, id)``, its label always 0.

    Args:
        images: paths, URLs (through fsspec), encoded files as bytes, Pillow images, uint8 arrays (H, W), (H, W, 3) or
            (H, W, 4), or uint8 tensors (3, H, W).
        transform: callables, applied to the uint8 image (3, H, W).
        first: the number of the first one, for messages.

    Raises:
        TypeError: for anything else, or an array of another shape or type.
    """

    unreadable_advice = "replace it, or leave it out"

    def __init__(self, images: Sequence[ImageLike], transform: Sequence[Callable[[Any], Any]], first: int = 0) -> None:
        self._images = [_checked(image, f"images[{first + number}]") for number, image in enumerate(images)]
        super().__init__(
            root=Path(),
            files=[_name(image, first + number) for number, image in enumerate(images)],
            name="images",
            split="given",
            labels=np.zeros(len(images), dtype=np.int64),
            class_names=[""],
            transform=transform,
        )

    def _begin(self, index: int) -> tuple[Tensor, int]:
        image = self._images[index]
        if isinstance(image, Tensor):
            return image, 0
        if isinstance(image, Image.Image):
            return self._pixels(index, lambda _: ImageOps.exif_transpose(image)), 0
        return self._decode(index)

    def _read(self, index: int) -> bytes:
        image = self._images[index]
        if isinstance(image, bytes):
            return image
        assert isinstance(image, str)
        if "://" in image:
            try:
                with fsspec.open(image, "rb") as file:
                    return bytes(file.read())
            except Exception as fault:  # fsspec's many back-ends have no common error
                raise OSError(f"{type(fault).__name__}: {fault}") from fault
        try:
            return read_regular_file(image)
        except ValueError as fault:  # a zero byte in the path
            raise OSError(str(fault)) from fault

    def location(self, index: int) -> str:
        return self.files[index]


def one_or_many(images: ImageLike | Iterable[ImageLike]) -> Iterator[ImageLike]:
    """Iterate over ``images``, which may be a single image."""
    single = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    of_paths = isinstance(images, np.ndarray) and images.dtype.kind in "OU"
    array = isinstance(images, (np.ndarray, Tensor)) and images.ndim <= 3 and not of_paths
    if isinstance(images, single) or array:
        return iter([images])  # type: ignore[list-item]
    if not isinstance(images, Iterable) or hasattr(images, "read"):  # an open file iterates over lines
        raise TypeError(
            f"images must be an image or an iterable of images, got {type(images).__name__}; of a file, give its path "
            "or what read() returns"
        )
    return iter(images)  # type: ignore[arg-type]


def _checked(image: Any, name: str) -> str | bytes | Image.Image | Tensor:
    """Return ``image`` as a path, bytes, a Pillow image or a tensor."""
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image) if isinstance(os.fspath(image), str) else os.fsdecode(image)
    if isinstance(image, Tensor):
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or not image.numel():
            raise TypeError(
                f"{name}: a tensor must be uint8 (3, H, W), got {image.dtype} {tuple(image.shape)}; "
                "the model scales and normalises it"
            )
        return image
    if isinstance(image, np.ndarray):
        shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
        if image.dtype != np.uint8 or not shaped or not image.size:
            raise TypeError(
                f"{name}: an array must be uint8 (H, W), (H, W, 3) or (H, W, 4), got {image.dtype} {image.shape}; "
                "convert values in 0..1 with (255 * array).round().astype('uint8')"
            )
        return Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    raise TypeError(
        f"{name}: {type(image).__name__} is not an image; give a path, a URL, bytes, a Pillow image, or a uint8 array"
    )


def _name(image: Any, number: int) -> str:
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    path = getattr(image, "filename", "")
    return str(path) if path else f"images[{number}] ({type(image).__name__})"
