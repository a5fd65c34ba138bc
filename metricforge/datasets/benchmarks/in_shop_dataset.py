"""DeepFashion's In-Shop Clothes Retrieval, with its queries and its gallery."""

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
from metricforge.structures import Role

COUNTS = {"train": (3997, 25882), "query": (3985, 14218), "gallery": (3985, 12612)}
_LIST = "list_eval_partition.txt"
_HEADER = ["image_name", "item_id", "evaluation_status"]
_AGAIN = "fetch the list and img.zip again"
_ROLES = {"train": Role.BOTH, "query": Role.QUERY, "gallery": Role.GALLERY}


@DATASETS.register_module()
class InShopDataset(ImageFileDataset):
    """In-Shop: 3,997 items to train (25,882 images); a test of 3,985 items, 14,218 queries in a gallery of 12,612.

    The test split holds queries and gallery together, and says of each image which it is (``roles``): an evaluation
    searches the queries in the gallery.

    Args:
        root: the official folder, with list_eval_partition.txt and img/, each there or in its Eval/ and Img/.
        split: "train" or "test".
        check_counts: whether the number of classes and images must be the official one.
        transform: see ImageDataset.

    Raises:
        DatasetError: if the folder or its list is absent or damaged, or images are missing.
        ValueError: for another split.
    """

    def __init__(
        self,
        root: str | Path = "data/inshop",
        split: Literal["train", "test"] = "train",
        check_counts: bool = True,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        check_split(split)
        folder = Path(root).expanduser().absolute()
        lists = [file for file in (folder / _LIST, folder / "Eval" / _LIST) if file.is_file()]
        images = [below for below in (folder, folder / "Img") if (below / "img").is_dir()]
        if not lists or not images:
            absent = [name for name, found in ((_LIST, lists), ("img", images)) if not found]
            raise _absence(folder, absent)
        parts = ("train",) if split == "train" else ("query", "gallery")
        rows = sorted((item, file, part) for file, item, part in _read_list(lists[0]) if part in parts)
        files = [file for _, file, _ in rows]
        if check_counts:
            for part in parts:
                items = [item for item, _, of in rows if of == part]
                check_split_counts("In-Shop", lists[0], part, (len(set(items)), len(items)), COUNTS[part], _AGAIN)
            check_files(images[0], files, _LIST, _AGAIN)
        names = sorted({item for item, _, _ in rows})
        label_of = {name: label for label, name in enumerate(names)}
        super().__init__(
            root=images[0],
            files=files,
            name="In-Shop",
            split=split,
            labels=[label_of[item] for item, _, _ in rows],
            class_names=names,
            roles=np.array([_ROLES[part] for _, _, part in rows], dtype=np.uint8),
            transform=transform,
        )


def _absence(folder: Path, absent: list[str]) -> DatasetError:
    return absence(
        "In-Shop",
        folder,
        f"lacks {' and '.join(absent)}",
        f"{_LIST} (or Eval/{_LIST}) and img/WOMEN/.../<image>.jpg (or Img/img/...)",
        f"metricforge data prepare inshop --from img.zip --from {_LIST}",
    )


def _read_list(source: Path) -> list[tuple[str, str, str]]:
    """Path, item and part of each image; the first line of the file is their number, the second the column names."""
    lines = read_lines(source, _AGAIN)
    if len(lines) < 2 or not lines[0].strip().isdecimal() or lines[1].split() != _HEADER:
        raise DatasetError(f"{source}: expected a number and then the line {' '.join(_HEADER)!r}; {_AGAIN}")
    rows = read_rows(
        source,
        lines,
        header=2,
        columns=3,
        expected="a path, an item and train, query or gallery",
        is_valid=lambda fields: fields[2] in _ROLES,
        key=0,
        again=_AGAIN,
    )
    if len(rows) != int(lines[0]):
        raise DatasetError(f"{source} lists {len(rows):,} images and says {int(lines[0]):,} in line 1; {_AGAIN}")
    return [(path, item, part) for path, item, part in rows]
