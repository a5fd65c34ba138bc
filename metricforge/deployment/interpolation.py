"""What a transform's ``interpolation`` means, in whichever of torchvision's spellings it stands."""

from __future__ import annotations

from typing import Any

from torchvision.transforms import v2

_BY_NUMBER = {
    0: v2.InterpolationMode.NEAREST,
    1: v2.InterpolationMode.LANCZOS,
    2: v2.InterpolationMode.BILINEAR,
    3: v2.InterpolationMode.BICUBIC,
    4: v2.InterpolationMode.BOX,
    5: v2.InterpolationMode.HAMMING,
}


def interpolation_mode(value: Any) -> v2.InterpolationMode:
    """``value``, an ``InterpolationMode``, its name such as "bicubic", or Pillow's number, as the first of these."""
    return _BY_NUMBER[value] if isinstance(value, int) else v2.InterpolationMode(value)
