"""Stanford Online Products, in its official class-disjoint parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metricforge.datasets.benchmarks.benchmark_layout import absence, check_files, check_split, read_lines, read_rows
from metricforge.datasets.benchmarks.benchmark_layout import check_counts as check_split_counts
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

COUNTS = {"train": (11318, 59551), "test": (11316, 60502)}
_HEADER = ["image_id", "class_id", "super_class_id", "path"]
_AGAIN = "unpack Stanford_Online_Products.zip again"


@DATASETS.register_module()
class StanfordOnlineProductsDataset(ImageFileDataset):
    """Stanford Online Products: 11,318 classes to train (59,551 images), 11,316 to test (60,502).

    Its groups are the 12 kinds of product ("bicycle", ...).

    Args:
        root: the official folder as unpacked, with Ebay_train.txt, Ebay_test.txt and the kinds' folders.
        split: "train" or "test".
        check_counts: whether the number of classes and images must be the official one.
        transform: see ImageDataset.

    Raises:
        DatasetError: if the folder or its list is absent or damaged, or images are missing.
        ValueError: for another split.
    """

    def __init__(
        self,
        root: str | Path = "data/Stanford_Online_Products",
        split: Literal["train", "test"] = "train",
        check_counts: bool = True,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        check_split(split)
        folder = Path(root).expanduser().absolute()
        source = folder / f"Ebay_{split}.txt"
        if not source.is_file():
            raise _absence(folder, source.name)
        products, kinds, files = _read_list(source)
        order = sorted(range(len(files)), key=lambda i: (products[i], files[i]))
        files = [files[i] for i in order]
        numbers, labels = np.unique(np.array([products[i] for i in order], dtype=np.int64), return_inverse=True)
        if check_counts:
            check_split_counts(
                "Stanford Online Products", source, split, (len(numbers), len(files)), COUNTS[split], _AGAIN
            )
            check_files(folder, files, source.name, _AGAIN)
        kind_numbers, groups = np.unique([kinds[i] for i in order], return_inverse=True)
        first_of_kind = [files[int(np.argmax(groups == g))] for g in range(len(kind_numbers))]
        super().__init__(
            root=folder,
            files=files,
            name="Stanford Online Products",
            split=split,
            labels=labels,
            class_names=[f"product {number}" for number in numbers],
            groups=groups,
            group_names=[file.partition("/")[0].removesuffix("_final") for file in first_of_kind],
            transform=transform,
        )


def _absence(folder: Path, name: str) -> DatasetError:
    return absence(
        "Stanford Online Products",
        folder,
        f"lacks {name}",
        "Ebay_train.txt, Ebay_test.txt and <kind>_final/<image>.JPG",
        "metricforge data prepare sop",
    )


def _read_list(source: Path) -> tuple[list[int], list[int], list[str]]:
    """Product number, kind number and path of each image."""
    lines = read_lines(source, _AGAIN)
    if not lines or lines[0].split() != _HEADER:
        raise DatasetError(f"{source}, line 1: expected {' '.join(_HEADER)!r}, got {(lines or [''])[0]!r}; {_AGAIN}")
    rows = read_rows(
        source,
        lines,
        header=1,
        columns=4,
        expected="three numbers and a path",
        is_valid=lambda fields: all(field.isdecimal() for field in fields[:3]),
        key=3,
        again=_AGAIN,
    )
    return [int(row[1]) for row in rows], [int(row[2]) for row in rows], [row[3] for row in rows]
