"""Images of any mode as 8 bits of red, green and blue."""

from __future__ import annotations

import numpy as np
from PIL import Image

_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
# Pillow clips these to 8 bits, so that an image would silently become white; nothing says how to scale them.
OPEN_SCALE = ("I", "F")


def eight_bit_rgb(image: Image.Image) -> Image.Image:
    """Convert ``image`` of any mode to RGB: 16 bits are scaled to 8 by their full range, transparency becomes white."""
    if image.mode in _SIXTEEN_BITS:
        deep = np.asarray(image).astype(np.uint32)  # (H, W)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        ground = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(ground, pixels).convert("RGB")
    return image.convert("RGB")
