"""Decodes images at a fraction of their size if a transform shrinks them anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode, v2

from metricforge.datasets.decoding.jpeg_file import FACTORS, JpegFile, Pixels

# torchvision keeps an interpolation as it was given: as its mode, its name or Pillow's number.
_SMOOTH = {
    InterpolationMode.BILINEAR: "bilinear",
    "bilinear": "bilinear",
    2: "bilinear",
    InterpolationMode.BICUBIC: "bicubic",
    "bicubic": "bicubic",
    3: "bicubic",
}
_POINT = torch.empty(1, dtype=torch.uint8)


class Region(NamedTuple):
    """A rectangle of an upright picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def shrunk(self, factor: int) -> Region:
        """The rectangle in the picture of a ``factor``-th of the size, rounded to its pixels."""
        top, left = round(self.top / factor), round(self.left / factor)
        bottom, right = round((self.top + self.height) / factor), round((self.left + self.width) / factor)
        return Region(top, left, bottom - top, right - left)

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns, for indexing."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def decode_for(
    jpeg: JpegFile, area: Region, step: Callable[[Any], Any] | None, reduce: bool, by_pillow: Callable[[], Tensor]
) -> tuple[Tensor, bool]:
    """Decode the part ``area`` of an image, uint8 (3, H', W'), and say whether ``step`` is already applied to it.

    ``RandomResizedCrop`` draws its crop first, exactly as it would from the decoded picture, and ``Resize`` needs no
    more than the size. If ``reduce``, the picture is then decoded at 1/2, 1/4 or 1/8 where what is resized still has
    at least as many pixels on either side as its result, so that nothing is enlarged that would not be anyway, and
    approximately in any case (``JpegFile.pixels``). Without ``reduce``, for other transforms, and for those that do not
    smooth (antialias, bilinear or bicubic), the result is that of the full picture, bit for bit.

    ``by_pillow`` reads the part where Pillow should.
    """
    if not (reduce and type(step) in (v2.RandomResizedCrop, v2.Resize) and getattr(step, "antialias", False)):
        pixels = jpeg.pixels()
        return (by_pillow() if pixels is None else _image(pixels[area.place])), False
    size: tuple[int, int] | None
    if isinstance(step, v2.RandomResizedCrop):
        # no memory stands behind it: only the size is asked for
        params = step.make_params([_POINT.expand(3, area.height, area.width)])
        crop, size = Region(**params), (step.size[0], step.size[-1])
    else:
        assert isinstance(step, v2.Resize)
        params, crop, size = {}, Region(0, 0, area.height, area.width), _resized(step, area.height, area.width)
    wanted = Region(area.top + crop.top, area.left + crop.left, crop.height, crop.width)
    mode = _SMOOTH.get(step.interpolation)
    factor = 1 if mode is None else _factor(wanted, size)
    shrunk = wanted if factor == 1 else wanted.shrunk(factor)
    last = None if size is None else shrunk.top + shrunk.height
    pixels = jpeg.pixels(factor, approximate=mode is not None, rows=last)
    if pixels is None or size is None or mode is None:
        return step.transform(by_pillow() if pixels is None else _image(pixels[area.place]), params), True
    part = pixels[shrunk.place]  # (H', W', 3)
    # what torchvision calls in the end; asking what kind of input it was given takes it a fifth of the whole time
    return interpolate(_batch_of_one(part), size, mode=mode, antialias=True)[0], True


def _image(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)  # (3, H, W)


def _batch_of_one(pixels: Pixels) -> Tensor:
    """``pixels`` (H, W, 3) as (1, 3, H, W) with strides that tell torch that the colours lie side by side.

    It then neither takes them apart nor packs them again, a quarter of the time that resizing takes.
    """
    return torch.from_numpy(pixels.reshape(1, *pixels.shape).transpose(0, 3, 1, 2))


def _factor(wanted: Region, size: tuple[int, int] | None) -> int:
    if size is None:
        return 1
    for factor in FACTORS:
        if 2 * wanted.height < factor * size[0] or 2 * wanted.width < factor * size[1]:
            continue  # far from it, as in most cases
        shrunk = wanted.shrunk(factor)
        if shrunk.height >= size[0] and shrunk.width >= size[1]:
            return factor
    return 1


def _resized(step: v2.Resize, height: int, width: int) -> tuple[int, int] | None:
    """Return the size to which ``step`` resizes an image, by torchvision's documented rule; None for other rules."""
    if step.size is None or step.max_size is not None:
        return None
    if len(step.size) == 2:
        return step.size[0], step.size[1]
    short = step.size[0]
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short
