"""Caltech-UCSD Birds 200-2011, in the class-disjoint halves of the metric-learning literature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metricforge.arrays import Integers32
from metricforge.datasets.benchmarks.benchmark_layout import (
    absence,
    check_files,
    check_split,
    read_lines,
    read_rows,
    refuse_repeated,
)
from metricforge.datasets.benchmarks.benchmark_layout import check_counts as check_split_counts
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

COUNTS = {"train": (100, 5864), "test": (100, 5924)}
_AGAIN = "unpack CUB_200_2011.tgz again"
_EXPECTED = ("images.txt", "image_class_labels.txt", "classes.txt", "images")


@DATASETS.register_module()
class CUB200Dataset(ImageFileDataset):
    """CUB-200-2011: classes 1-100 for training (5,864 images), 101-200 for the test (5,924), whole images.

    The official train/test list is not used, and the boxes only if asked for, as in the papers.

    Args:
        root: the official folder as unpacked, with images.txt, image_class_labels.txt, classes.txt and images/.
        split: "train" or "test".
        crop: whether images are cropped to the boxes of bounding_boxes.txt; the papers take whole images.
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
        crop: bool = False,
        check_counts: bool = True,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        check_split(split)
        folder = Path(root).expanduser().absolute()
        expected = (*_EXPECTED, "bounding_boxes.txt") if crop else _EXPECTED
        absent = [name for name in expected if not (folder / name).exists()]
        if absent:
            raise _absence(folder, absent)
        names = _read_table(folder / "classes.txt")
        files = _read_table(folder / "images.txt")
        class_of = {image: int(number) for image, number in _read_table(folder / "image_class_labels.txt").items()}
        if class_of.keys() != files.keys() or not set(class_of.values()) <= names.keys():
            raise DatasetError(
                f"{folder}: images.txt lists {len(files)} images, image_class_labels.txt {len(class_of)}, classes.txt "
                f"{len(names)} classes, and they do not belong together; unpack CUB_200_2011.tgz again"
            )
        refuse_repeated([*files.values()], folder / "images.txt", _AGAIN)
        wanted = range(1, 101) if split == "train" else range(101, 201)
        numbers = sorted(number for number in set(class_of.values()) if number in wanted)
        images = sorted((image for image in files if class_of[image] in wanted), key=lambda i: (class_of[i], files[i]))
        if check_counts:
            listed = [files[image] for image in images]
            source = folder / "images.txt"
            check_split_counts("CUB-200-2011", source, split, (len(numbers), len(listed)), COUNTS[split], _AGAIN)
            check_files(folder / "images", listed, source.name, _AGAIN)
        label_of = {number: label for label, number in enumerate(numbers)}
        super().__init__(
            root=folder / "images",
            files=[files[image] for image in images],
            name="CUB-200-2011",
            split=split,
            labels=[label_of[class_of[image]] for image in images],
            class_names=[names[number] for number in numbers],
            boxes=_read_boxes(folder / "bounding_boxes.txt", images) if crop else None,
            transform=transform,
        )


def _absence(folder: Path, absent: list[str]) -> DatasetError:
    return absence(
        "CUB-200-2011",
        folder,
        f"lacks {', '.join(absent)}",
        "images.txt, image_class_labels.txt, classes.txt and images/<class>/<image>.jpg",
        "metricforge data prepare cub200\n"
        "  or download CUB_200_2011.tgz (1.2 GB) from https://www.vision.caltech.edu/datasets/cub_200_2011/\n"
        f"  and unpack it with: tar xf CUB_200_2011.tgz -C {folder.parent}",
    )


def _read_table(file: Path) -> dict[int, str]:
    """The lines ``<number> <value>`` of ``file``."""
    rows = read_rows(
        file,
        read_lines(file, _AGAIN),
        header=0,
        columns=2,
        expected="<number> <value>",
        is_valid=lambda fields: fields[0].isdecimal() and fields[0] == str(int(fields[0])),  # "03" would be 3 again
        key=0,
        again=_AGAIN,
    )
    return {int(number): value for number, value in rows}


def _read_boxes(file: Path, images: list[int]) -> Integers32:
    """(N, 4) as left, top, right, bottom, from lines ``<image> <left> <top> <width> <height>``."""
    table = _read_table(file)
    absent = [image for image in images if image not in table]
    if absent:
        raise DatasetError(f"{file} has no box of {len(absent):,} images, such as image {absent[0]}; {_AGAIN}")
    try:
        boxes = np.array([[float(value) for value in table[image].split()] for image in images]).reshape(-1, 4)
    except ValueError as fault:
        raise DatasetError(f"{file}: expected <image> <left> <top> <width> <height> in each line ({fault})") from fault
    boxes[:, 2:] += boxes[:, :2]
    return boxes.astype(np.int32)
