"""Decoding at a fraction of the size, where a transform makes the picture that small anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode, v2

from metricforge.datasets.jpeg_file import FACTORS, JpegFile

# torchvision keeps an interpolation as it was given: as its mode, its name or Pillow's number.
_SMOOTH = {
    InterpolationMode.BILINEAR: "bilinear",
    "bilinear": "bilinear",
    2: "bilinear",
    InterpolationMode.BICUBIC: "bicubic",
    "bicubic": "bicubic",
    3: "bicubic",
}


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

    def cut(self, image: Tensor) -> Tensor:
        """The rectangle of ``image`` (3, H, W), without a copy."""
        return image[:, self.top : self.top + self.height, self.left : self.left + self.width]


def decode_for(
    jpeg: JpegFile, area: Region, step: Callable[[Any], Any] | None, reduce: bool
) -> tuple[Tensor, bool] | None:
    """The part ``area`` of a picture, uint8 (3, H', W'), and whether ``step`` was applied to it already.

    ``RandomResizedCrop`` draws its crop first, exactly as it would from the decoded picture, and ``Resize`` needs no
    more than the size. If ``reduce``, the picture is then decoded at 1/2, 1/4 or 1/8 where what is resized still has
    at least as many pixels on either side as its result, so that nothing is enlarged that would not be anyway, and
    approximately in any case (``JpegFile.pixels``). Without ``reduce``, for other transforms, and for those that do not
    smooth (antialias, bilinear or bicubic), the result is that of the full picture, bit for bit.

    None, with nothing drawn, if Pillow should read the file.
    """
    if not (reduce and type(step) in (v2.RandomResizedCrop, v2.Resize) and getattr(step, "antialias", False)):
        pixels = jpeg.pixels()
        return None if pixels is None else (area.cut(pixels), False)
    drawn_before = torch.get_rng_state()
    size: tuple[int, int] | None
    if isinstance(step, v2.RandomResizedCrop):
        # No memory stands behind it: only the size is asked for.
        params = step.make_params([torch.empty(1, dtype=torch.uint8).expand(3, area.height, area.width)])
        crop, size = Region(**params), (step.size[0], step.size[-1])
    else:
        assert isinstance(step, v2.Resize)
        params, crop, size = {}, Region(0, 0, area.height, area.width), _resized(step, area.height, area.width)
    wanted = Region(area.top + crop.top, area.left + crop.left, crop.height, crop.width)
    mode = _SMOOTH.get(step.interpolation)
    factor = 1 if mode is None else _factor(wanted, size)
    pixels = jpeg.pixels(factor, approximate=mode is not None)
    if pixels is None:
        torch.set_rng_state(drawn_before)
        return None
    if size is None or mode is None:
        return step.transform(area.cut(pixels), params), True
    part = (wanted if factor == 1 else wanted.shrunk(factor)).cut(pixels)
    # what torchvision calls in the end; asking what kind of input it was given takes it a fifth of the whole time
    return interpolate(part[None], size, mode=mode, antialias=True)[0], True


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
    """What size ``step`` makes of a picture, by the rule that torchvision documents; None where it is another."""
    if step.size is None or step.max_size is not None:
        return None
    if len(step.size) == 2:
        return step.size[0], step.size[1]
    short = step.size[0]
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short
