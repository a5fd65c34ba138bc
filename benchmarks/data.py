"""Images a second and core: our training pipeline beside torchvision and Pillow in a plain DataLoader.

    python benchmarks/data.py

Both read the same JPEGs of 500 x 375 pixels, which it makes, with the same transforms, in this process, on one thread.
The plain one is torchvision's documented way: ``ImageFolder``, whose Pillow images are cropped and mirrored, then
converted to normalised floats. Ours normalises uint8 on the device, within the model, so that this is done here on the
batch and counts as ours. The passes of the two alternate; the ratio is that of their medians, in seconds of processor
time, which other work on the machine disturbs least.

A recipe that begins with a resizing is measured twice: as its first epoch runs, and from the cache of resized images
(``train_dataloader.cache``), as all later ones do; what the cache hands out is the same, bit for bit.

The last table is the share of a training step that waits for data, with workers as in training. Exits with 1 where the
ratio of a 224-pixel crop is below 2 without the cache.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from metricforge import BACKBONES
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.loading.data_loading import build_train_loader
from metricforge.samplers import RandomBatchSampler

HEIGHT, WIDTH = 375, 500
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REQUIRED = 2.0

# name -> our config, and the same in torchvision's words; where the config begins with Resize, also from the cache
RECIPES: dict[str, tuple[list[dict[str, Any]], list[nn.Module]]] = {
    "random resized crop 224": (
        [dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip")],
        [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    ),
    "squash 256, crop 224": (
        [dict(type="Resize", size=(256, 256)), dict(type="RandomCrop", size=224), dict(type="RandomHorizontalFlip")],
        [transforms.Resize((256, 256)), transforms.RandomCrop(224), transforms.RandomHorizontalFlip()],
    ),
    "resize 256, random 224": (
        [dict(type="Resize", size=256), dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip")],
        [transforms.Resize(256), transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
    ),
    "random resized crop 128": (
        [dict(type="RandomResizedCrop", size=128, scale=(0.3, 1.0)), dict(type="RandomHorizontalFlip")],
        [transforms.RandomResizedCrop(128, scale=(0.3, 1.0)), transforms.RandomHorizontalFlip()],
    ),
}


def make_images(folder: Path, count: int) -> int:
    """Write ``count`` JPEGs in two classes, with detail at every scale, and return their mean size in bytes."""
    generator = np.random.default_rng(0)
    for number in range(count):
        picture = np.zeros((HEIGHT, WIDTH, 3))
        for rows, weight in ((6, 0.45), (24, 0.25), (94, 0.18), (188, 0.07), (HEIGHT, 0.05)):
            cells = generator.integers(0, 256, (rows, rows * 4 // 3, 3), dtype=np.uint8)
            picture += weight * np.asarray(Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        target = folder / f"class_{number % 2}" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(target, quality=90)
    return sum(file.stat().st_size for file in folder.rglob("*.jpg")) // count


def plain_loader(folder: Path, steps: list[nn.Module], batch: int, workers: int) -> DataLoader[Any]:
    """What torchvision's documentation shows."""
    whole = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    return DataLoader(ImageFolder(folder, whole), batch, shuffle=True, num_workers=workers, drop_last=True)


def our_loader(
    folder: Path, steps: list[dict[str, Any]], batch: int, workers: int, cache: Path | None = None
) -> DataLoader[dict[str, Any]]:
    """The loader that ``build_runner`` builds for training."""
    dataset = ImageFolderDataset(folder, split="all", transform=steps)
    dataset.reduced_decoding = True
    if cache is not None:
        dataset.cache_in(cache)
    sampler = RandomBatchSampler(dataset.labels, batch)
    return build_train_loader(dataset, sampler, seed=0, num_workers=workers, device=torch.device("cpu"))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """What our model does with uint8 images (B, 3, H, W) on the device."""
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return images.to(torch.float32, copy=True).sub_(mean).div_(std)


def core_seconds(one_pass: Callable[[], int]) -> float:
    """Seconds of processor time an image."""
    started = time.process_time()
    images = one_pass()
    return (time.process_time() - started) / images


def compare_loaders(folder: Path, batch: int, passes: int) -> dict[str, float]:
    """Print a row a recipe and return the ratios without the cache."""
    print(f"{'':<26}{'images/s a core':^27}{'ratio':^17}")
    print(f"{'':<26}{'plain':>9}{'ours':>9}{'cached':>9}{'ours':>8}{'cached':>9}")
    ratios = {}
    for name, (config, steps) in RECIPES.items():
        loaders = [plain_loader(folder, steps, batch, 0), our_loader(folder, config, batch, 0)]
        with tempfile.TemporaryDirectory() as cache:
            if config[0]["type"] == "Resize":
                loaders.append(our_loader(folder, config, batch, 0, Path(cache)))
            images_a_second = measure_in_turn(loaders, passes)
        plain, *ours = images_a_second
        ratios[name] = ours[0] / plain
        cells = [f"{value:>9,.0f}" for value in images_a_second] + [" " * 9] * (3 - len(loaders))
        shares = [f"{value / plain:>8.2f} " for value in ours]
        print(f"{name:<26}{''.join(cells)}{''.join(shares)}", flush=True)
    return ratios


def measure_in_turn(loaders: list[DataLoader[Any]], passes: int) -> list[float]:
    """Images a second of each loader, the median of ``passes``, after one that warms up and fills a cache."""

    def one_pass(loader: DataLoader[Any]) -> int:
        if isinstance(loader.dataset, ImageFolder):
            return sum(len(images) for images, _ in loader)
        return sum(len(normalised(item["image"])) for item in loader)

    for loader in loaders:
        one_pass(loader)
    seconds = [[core_seconds(partial(one_pass, loader)) for loader in loaders] for _ in range(passes)]
    return [1 / statistics.median(column) for column in zip(*seconds, strict=True)]


def waiting_share(loader: DataLoader[Any], read: Callable[[Any], torch.Tensor], model: nn.Module) -> float:
    """Which part of an epoch's time passes between asking for a batch and having it, on the second epoch."""
    device = next(model.parameters()).device
    for _ in range(2):
        waited, first = 0.0, time.perf_counter()
        batches = iter(loader)
        asked = time.perf_counter()
        for batch in batches:
            waited += time.perf_counter() - asked
            model(read(batch).to(device)).square().mean().backward()
            model.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize()
            asked = time.perf_counter()
        whole = time.perf_counter() - first
    return waited / whole


def compare_waiting(folder: Path, batch: int, workers: int, backbone: str, device: torch.device) -> None:
    """Print the share of a training step that waits for data, with the plain loader and with ours."""
    config, steps = RECIPES["random resized crop 224"]
    model = BACKBONES.build(dict(type="TimmBackbone", name=backbone)).to(device)
    plain = waiting_share(plain_loader(folder, steps, batch, workers), lambda item: item[0], model)
    ours = waiting_share(our_loader(folder, config, batch, workers), lambda item: normalised(item["image"]), model)
    print(f"\nshare of a step that waits for data, {backbone} on {device}, {workers} workers, batch {batch}, an epoch")
    print(f"plain {plain:.1%}, ours {ours:.1%}")


def main() -> int:
    """Measure, print, and return 1 where a ratio is below what is required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2, help="of the second table")
    parser.add_argument("--backbone", default="resnet18", help="a timm model, of the second table")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        size = make_images(Path(folder), arguments.images)
        print(f"{arguments.images} JPEGs of {WIDTH} x {HEIGHT} pixels, {size / 1000:.0f} kB on average\n")
        ratios = compare_loaders(Path(folder), arguments.batch, arguments.passes)
        compare_waiting(Path(folder), arguments.batch, arguments.workers, arguments.backbone, arguments.device)
    slow = [f"{name} ({ratio:.2f})" for name, ratio in ratios.items() if name.endswith("224") and ratio < REQUIRED]
    print(f"\nrequired of crops of 224, without the cache: {REQUIRED} times; " + (f"missed: {slow}" if slow else "met"))
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
