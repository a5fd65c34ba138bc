"""Caltech-UCSD Birds 200-2011, in the class-disjoint halves of the metric-learning literature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

IMAGES_OF_SPLIT = {"train": 5864, "test": 5924}
_EXPECTED = ("images.txt", "image_class_labels.txt", "classes.txt", "images")


@DATASETS.register_module()
class CUB200Dataset(ImageFileDataset):
    """CUB-200-2011: classes 1-100 for training (5,864 images), 101-200 for the test (5,924), whole images.

    The official train/test list and the bounding boxes are not used, as in the papers.

    Args:
        root: the official folder as unpacked, with images.txt, image_class_labels.txt, classes.txt and images/.
        split: "train" or "test".
        check_counts: whether the number of classes and images must be the official one.
        transform: see ImageDataset.

    Raises:
        DatasetError: if the folder or one of its parts is absent, or images are missing.
        ValueError: for another split.
    """

    def __init__(
        self,
        root: str | Path = "data/CUB_200_2011",
        split: Literal["train", "test"] = "train",
        check_counts: bool = True,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        if split not in IMAGES_OF_SPLIT:
            raise ValueError(f'split must be "train" or "test", got {split!r}')
        folder = Path(root).expanduser().absolute()
        absent = [name for name in _EXPECTED if not (folder / name).exists()]
        if absent:
            raise DatasetError(_absent(folder, absent))
        names = _read_table(folder / "classes.txt")
        files = _read_table(folder / "images.txt")
        class_of = {image: int(number) for image, number in _read_table(folder / "image_class_labels.txt").items()}
        if class_of.keys() != files.keys() or not set(class_of.values()) <= names.keys():
            raise DatasetError(
                f"{folder}: images.txt lists {len(files)} images, image_class_labels.txt {len(class_of)}, classes.txt "
                f"{len(names)} classes, and they do not belong together; unpack CUB_200_2011.tgz again"
            )
        wanted = range(1, 101) if split == "train" else range(101, 201)
        numbers = sorted(number for number in set(class_of.values()) if number in wanted)
        images = sorted((image for image in files if class_of[image] in wanted), key=lambda i: (class_of[i], files[i]))
        if check_counts:
            _check_counts(folder, split, numbers, [files[image] for image in images])
        label_of = {number: label for label, number in enumerate(numbers)}
        super().__init__(
            root=folder / "images",
            files=[files[image] for image in images],
            name="CUB-200-2011",
            split=split,
            labels=[label_of[class_of[image]] for image in images],
            class_names=[names[number] for number in numbers],
            transform=transform,
        )


def _absent(folder: Path, absent: list[str]) -> str:
    found = "which does not exist" if not folder.is_dir() else f"which lacks {', '.join(absent)}"
    return (
        f"CUB-200-2011 was looked for in {folder}, {found}.\n"
        "  expected there: images.txt, image_class_labels.txt, classes.txt and images/<class>/<image>.jpg\n"
        "  to get it: download CUB_200_2011.tgz (1.1 GB) from https://www.vision.caltech.edu/datasets/cub_200_2011/\n"
        f"  and unpack it with: tar xf CUB_200_2011.tgz -C {folder.parent}\n"
        "  if you have it elsewhere: --cfg-options data_root=FOLDER"
    )


def _read_table(file: Path) -> dict[int, str]:
    """The lines ``<number> <value>`` of ``file``."""
    table = {}
    for position, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        number, _, value = line.strip().partition(" ")
        if not (number.isdecimal() and value):
            raise DatasetError(f"{file}, line {position}: expected <number> <value>, got {line!r}")
        table[int(number)] = value
    return table


def _check_counts(folder: Path, split: str, numbers: list[int], files: list[str]) -> None:
    if len(numbers) != 100 or len(files) != IMAGES_OF_SPLIT[split]:
        raise DatasetError(
            f"{folder / 'images.txt'} lists {len(files):,} images of {len(numbers)} {split} classes; CUB-200-2011 has "
            f"{IMAGES_OF_SPLIT[split]:,} of 100; unpack CUB_200_2011.tgz again, or set check_counts=False to use a part"
        )
    missing = [file for file in files if not (folder / "images" / file).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing):,} of {len(files):,} images that images.txt lists are missing from {folder / 'images'}, "
            f"such as {', '.join(missing[:3])}; unpack CUB_200_2011.tgz again"
        )
