"""Which regions of a query and of what it found carry their similarity, by hiding them one after another."""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metricforge.arrays import Bytes, Flags, Floats
from metricforge.models import MetricLearner

CELLS = 8  # along each side of an image
QUARTER = 4  # one part in so many is what is blanked to try a map
DRAWS = 16  # regions of the same shape that the named ones are compared with
SIDE = 176  # pixels of a drawn map
AT_ONCE = 32


@dataclass(frozen=True)
class Explanation:
    """Why two images are similar, as far as hiding parts of the first tells.

    Args:
        heat: how much hiding each cell (CELLS, CELLS) lowers the similarity; negative where it raises it.
        similarity: of the two images as they are.
        without_named: with the quarter of the first that ``heat`` names blanked.
        without_others: the mean with regions of the same size and shape blanked, elsewhere in the image.
    """

    heat: Floats
    similarity: float
    without_named: float
    without_others: float


def explain(learner: MetricLearner, image: Tensor, other: Tensor, device: torch.device, seed: int = 0) -> Explanation:
    """Find which regions of ``image`` (3, H, W) uint8 make it similar to ``other`` (3, H', W').

    A window of two by two cells is moved over the image and filled with its mean colour (captum's ``Occlusion``): any
    backbone can be asked like this, for only its embeddings are looked at.

    Args:
        learner: gives embeddings and similarity.
        image: as the model sees it, at least ``CELLS`` pixels high and wide.
        other: the image that it is compared with.
        device: where ``learner`` is.
        seed: of the other regions.
    """
    from captum.attr import Occlusion

    with torch.no_grad():
        target = learner.embed(other[None].to(device))  # (1, D)

    @torch.no_grad()
    def similarity_of(images: Tensor) -> Tensor:
        embeddings = learner.embed(images)  # (B, D)
        return learner.similarity.score_lists(embeddings, target[None].expand(len(images), 1, -1))[:, 0].double()

    pixels = image[None].to(device, torch.float32)  # (1, 3, H, W)
    blank = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    height, width = (max(1, round(side / CELLS)) for side in pixels.shape[2:])
    heat = Occlusion(similarity_of).attribute(
        pixels,
        sliding_window_shapes=(3, 2 * height, 2 * width),
        strides=(3, height, width),
        baselines=blank,
        perturbations_per_eval=AT_ONCE,
    )  # (1, 3, H, W)
    cells = torch.nn.functional.adaptive_avg_pool2d(heat[0, :1].float(), CELLS)[0].cpu().numpy().astype(np.float64)
    named = named_cells(cells)  # (CELLS, CELLS)
    masks = [named, *shifted(named, DRAWS, seed)]
    hidden = torch.cat([blanked(pixels, blank, mask) for mask in masks])
    found = similarity_of(torch.cat([pixels, hidden])).cpu().numpy()  # (2 + DRAWS,)
    return Explanation(cells, float(found[0]), float(found[1]), float(found[2:].mean()))


def shifted(cells: Flags, count: int, seed: int) -> list[Flags]:
    """``count`` copies of ``cells`` (CELLS, CELLS) moved by random steps; what leaves on one side enters on the other.

    They are of the same size, and but for the edge of the same shape: cells at random would be many small holes, which
    change an image otherwise than a few large ones.
    """
    moves = 1 + np.random.default_rng(seed).permutation(cells.size - 1)[:count]  # never by nothing
    return [np.roll(cells, divmod(int(move), cells.shape[1]), axis=(0, 1)) for move in moves]


def named_cells(heat: Floats) -> Flags:
    """The quarter of the cells (CELLS, CELLS) with the most heat; among equals, the first."""
    named = np.zeros(heat.size, dtype=bool)
    named[np.argsort(-heat.ravel(), kind="stable")[: heat.size // QUARTER]] = True
    return named.reshape(heat.shape)


def blanked(pixels: Tensor, blank: Tensor, cells: Flags) -> Tensor:
    """``pixels`` (1, 3, H, W) with those of ``blank`` in the ``cells`` (CELLS, CELLS) that are true."""
    mask = torch.from_numpy(cells.astype(np.float32)).to(pixels.device)[None, None]
    mask = torch.nn.functional.interpolate(mask, size=pixels.shape[2:], mode="nearest")  # (1, 1, H, W)
    return torch.where(mask > 0, blank, pixels)


def draw_heat(image: Tensor, heat: Floats) -> str:
    """``image`` (3, H, W) uint8, darkened, with the cells that carry the similarity glowing, as WebP in base64."""
    picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.float64)  # (h, w, 3)
    carried = np.clip(heat, 0, None)
    strength = Image.fromarray((255 * carried / max(carried.max(), 1e-12)).astype(np.uint8))
    glow = np.asarray(strength.resize(size, Image.Resampling.BICUBIC), dtype=np.float64)[..., None] / 255  # (h, w, 1)
    colours = matplotlib.colormaps["inferno"](glow[..., 0])[..., :3] * 255
    grey = pixels.mean(axis=2, keepdims=True) * 0.55
    mixed: Bytes = np.clip(grey * (1 - 0.75 * glow) + colours * 0.75 * glow, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mixed).save(buffer, "WEBP", quality=80, method=2)
    return b64encode(buffer.getvalue()).decode()
