"""Stanford Cars (Cars196), in the class-disjoint halves of the metric-learning literature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.io

from metricforge.arrays import Array, Integers32
from metricforge.datasets.benchmarks.benchmark_layout import absence, check_files, check_split, refuse_repeated
from metricforge.datasets.benchmarks.benchmark_layout import check_counts as check_split_counts
from metricforge.datasets.folders.read_image_folder import images_by_class
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

COUNTS = {"train": (98, 8054), "test": (98, 8131)}
_AGAIN = "unpack car_ims.tgz and cars_annos.mat again"


class _Listing(NamedTuple):
    source: Path
    files: list[str]
    numbers: list[int]  # of each image's class, 1..196
    names: list[str]
    boxes: Integers32 | None


@DATASETS.register_module()
class Cars196Dataset(ImageFileDataset):
    """Cars196: classes 1-98 for training (8,054 images), 99-196 for the test (8,131), of both official parts.

    Three layouts are read, whichever is there:

    - cars_annos.mat and car_ims/, all images in one folder;
    - the later devkit: devkit/ with cars_meta.mat, cars_train_annos.mat and cars_test_annos_withlabels.mat (this one
      may also lie beside it), cars_train/ and cars_test/;
    - a class-folder tree: one folder a class, in the root or in train/ and test/ below it. Its classes are numbered by
      name, or by a leading number ("001.AM_General_Hummer_SUV_2000"). Names do not sort quite as the official numbers
      do, but the two halves are the same.

    Args:
        root: the folder with one of these layouts.
        split: "train" or "test".
        crop: whether images are cropped to the official boxes; the papers take whole images. Not with a folder tree.
        check_counts: whether the number of classes and images must be the official one.
        transform: see ImageDataset.

    Raises:
        DatasetError: if the folder or one of its parts is absent, images are missing, or there are no boxes to crop to.
        ValueError: for another split.
    """

    def __init__(
        self,
        root: str | Path = "data/cars196",
        split: Literal["train", "test"] = "train",
        crop: bool = False,
        check_counts: bool = True,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        check_split(split)
        folder = Path(root).expanduser().absolute()
        listing = _read_listing(folder)
        refuse_repeated(listing.files, listing.source, _AGAIN)
        if crop and listing.boxes is None:
            raise DatasetError(
                f"{folder} is a tree of class folders, which knows no boxes; set crop=False, or use the .mat layout"
            )
        in_split = [1 <= number <= 98 if split == "train" else 99 <= number <= 196 for number in listing.numbers]
        chosen = sorted(np.flatnonzero(in_split).tolist(), key=lambda i: (listing.numbers[i], listing.files[i]))
        files = [listing.files[i] for i in chosen]
        numbers = sorted({listing.numbers[i] for i in chosen})
        if check_counts:
            check_split_counts("Cars196", listing.source, split, (len(numbers), len(files)), COUNTS[split], _AGAIN)
            check_files(folder, files, listing.source.name, _AGAIN)
        label_of = {number: label for label, number in enumerate(numbers)}
        super().__init__(
            root=folder,
            files=files,
            name="Cars196",
            split=split,
            labels=[label_of[listing.numbers[i]] for i in chosen],
            class_names=[listing.names[number - 1] for number in numbers],
            boxes=listing.boxes[chosen] if crop and listing.boxes is not None else None,
            transform=transform,
        )


def _read_listing(folder: Path) -> _Listing:
    if (folder / "cars_annos.mat").is_file():
        return _read_one_folder(folder)
    if (folder / "devkit").is_dir():
        return _read_devkit(folder)
    tree = [folder / part for part in ("train", "test") if (folder / part).is_dir()] or [folder]
    if folder.is_dir() and any(entry.is_dir() for part in tree for entry in part.iterdir()):
        return _read_tree(folder, tree)
    raise absence(
        "Cars196",
        folder,
        "holds none of these layouts",
        "cars_annos.mat and car_ims/000001.jpg ...,\n"
        "    or devkit/*.mat, cars_train/ and cars_test/, or one folder per class, also below train/ and test/",
        "metricforge data prepare cars196 --from car_ims.tgz --from cars_annos.mat",
    )


def _read_one_folder(folder: Path) -> _Listing:
    source = folder / "cars_annos.mat"
    content = _read_mat(source, ("annotations", "class_names"))
    rows = _columns(source, content, ("relative_im_path", "class"))
    return _Listing(
        source,
        [str(file) for file in rows["relative_im_path"]],
        [int(number) for number in rows["class"]],
        [str(name) for name in np.atleast_1d(content["class_names"])],
        _boxes(source, content),
    )


def _read_devkit(folder: Path) -> _Listing:
    kit = folder / "devkit"
    with_labels = "cars_test_annos_withlabels.mat"
    test_list = kit / with_labels if (kit / with_labels).is_file() else folder / with_labels
    lists = {"cars_train": kit / "cars_train_annos.mat", "cars_test": test_list}
    absent = [file for file in (kit / "cars_meta.mat", *lists.values()) if not file.is_file()]
    if absent:
        raise DatasetError(
            f"Cars196 in {folder} lacks {', '.join(str(file.relative_to(folder)) for file in absent)}; unpack "
            f"car_devkit.tgz there, and put {with_labels} beside: the devkit's own list has no labels of the test part"
        )
    meta = _read_mat(kit / "cars_meta.mat", ("class_names",))
    files, numbers, boxes = [], [], []
    for part, source in lists.items():
        content = _read_mat(source, ("annotations",))
        rows = _columns(source, content, ("fname", "class"))
        files += [f"{part}/{file}" for file in rows["fname"]]
        numbers += [int(number) for number in rows["class"]]
        boxes.append(_boxes(source, content))
    names = [str(name) for name in np.atleast_1d(meta["class_names"])]
    return _Listing(kit, files, numbers, names, np.concatenate(boxes))


def _read_tree(folder: Path, parts: list[Path]) -> _Listing:
    below: dict[str, list[str]] = {}
    for part in parts:
        prefix = "" if part == folder else f"{part.name}/"
        for name, files in images_by_class(part).items():
            below.setdefault(name, []).extend(prefix + file for file in files)
    numbered = all(name.partition(".")[0].isdecimal() and name.partition(".")[2] for name in below)
    names = sorted(below, key=lambda name: (int(name.partition(".")[0]), name) if numbered else (0, name))
    number_of = {n: int(n.partition(".")[0]) if numbered else place for place, n in enumerate(names, start=1)}
    if len(set(number_of.values())) != len(names) or not set(number_of.values()) <= set(range(1, 197)):
        raise DatasetError(
            f"{folder} has {len(names)} class folders numbered {min(number_of.values())}..{max(number_of.values())}; "
            "Cars196 has 196, each number once"
        )
    by_number = [""] * 196
    for name, number in number_of.items():
        by_number[number - 1] = name
    rows = [(number_of[name], file) for name in names for file in below[name]]
    return _Listing(folder, [file for _, file in rows], [number for number, _ in rows], by_number, None)


def _read_mat(file: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        content = scipy.io.loadmat(file, squeeze_me=True)
    except (OSError, ValueError, TypeError, NotImplementedError, scipy.io.matlab.MatReadError) as fault:
        raise DatasetError(
            f"{file} cannot be read as a MATLAB file ({type(fault).__name__}: {fault}); fetch it again"
        ) from fault
    absent = [name for name in needed if name not in content]
    if absent:
        raise DatasetError(f"{file} holds no {' and no '.join(absent)}; is it the file of Cars196 of that name?")
    return content


def _columns(source: Path, content: dict[str, Any], needed: tuple[str, ...]) -> dict[str, Array]:
    rows = np.atleast_1d(content["annotations"])
    absent = [name for name in needed if name not in (rows.dtype.names or ())]
    if absent:
        raise DatasetError(
            f"the annotations of {source} have no {' and no '.join(absent)}; they have "
            f"{', '.join(rows.dtype.names or ()) or 'no fields'}"
        )
    return {name: rows[name] for name in needed}


def _boxes(source: Path, content: dict[str, Any]) -> Integers32:
    """(N, 4) as left, top, right, bottom; the file counts pixels from 1 and includes the last."""
    names = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    rows = _columns(source, content, names)
    boxes = np.stack([rows[name].astype(np.int32) for name in names], axis=1)  # (N, 4)
    return boxes - np.array([1, 1, 0, 0], dtype=np.int32)
