"""Any folder with one sub-folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.datasets.tables.class_split import check_split_arguments, classes_of_split, training_classes
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


@DATASETS.register_module()
class ImageFolderDataset(ImageFileDataset):
    """The images under ``root/<class>/``, however deep, split into train and test classes that do not overlap.

    Classes and images are in lexicographic order, hidden files and folders are skipped. Either the first
    ``train_fraction`` of the classes is for training, or ``train_classes`` lists its classes; all others are the test
    split. ``split="all"`` takes every class.

    For a class-disjoint cross-validation, ``folds`` parts the classes for training into as many consecutive parts of
    their order. Part ``fold`` is then the "val" split, the others are the "train" split, and the test stays as it is.

    Args:
        root: the folder with one sub-folder a class.
        split: "train", "val" (only with ``folds``), "test" or "all".
        train_fraction: how many of the classes are for training, rounded to whole classes, in 0..1, both excluded;
            with ``folds`` also 1, which leaves no test.
        train_classes: names of the training classes instead of a fraction, or a text file with one name a line.
        folds: of the cross-validation, at least 2.
        fold: which part validates, in 0..folds-1.
        transform: see ImageDataset.

    Raises:
        DatasetError: if the folder is absent, has no class, has a class without an image or gives a split fewer than
            two classes, or if ``train_classes`` names a class that is not there.
        ValueError: for another split, a fraction that is not between 0 and 1, or folds that do not go together.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val", "test", "all"] = "train",
        train_fraction: float = 0.5,
        train_classes: Sequence[str] | str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        check_split_arguments(split, train_fraction, folds, fold)
        folder = Path(root).expanduser().absolute()
        by_class = images_by_class(folder)
        for_training = training_classes(str(folder), list(by_class), train_fraction, train_classes)  # (C,)
        in_split = classes_of_split(for_training, split, folds, fold)
        chosen = [name for name, wanted in zip(by_class, in_split, strict=True) if wanted]
        if len(chosen) < 2:
            raise DatasetError(
                f"the {split} split of {folder} has {len(chosen)} of its {len(by_class)} classes, but retrieval needs "
                f"at least 2; add classes (one sub-folder each), or change train_fraction ({train_fraction}), "
                "train_classes or folds"
            )
        super().__init__(
            root=folder,
            files=[file for name in chosen for file in by_class[name]],
            name=folder.name,
            split=split,
            labels=[label for label, name in enumerate(chosen) for _ in by_class[name]],
            class_names=chosen,
            transform=transform,
        )


def images_by_class(folder: Path) -> dict[str, list[str]]:
    """Class name to its images' paths relative to ``folder``, both sorted."""
    expected = (
        f"looked in {folder}; expected there: one sub-folder a class with that class's images ({', '.join(SUFFIXES)}), "
        "such as cats/1.jpg and dogs/1.jpg; unpack your images like that, or name another folder: "
        "--cfg-options data_root=FOLDER"
    )
    if not folder.is_dir():
        raise DatasetError(f"the image folder {'is not a folder' if folder.exists() else 'does not exist'}: {expected}")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DatasetError(f"the image folder has no sub-folder: {expected}")
    by_class = {name: _images_below(folder, name) for name in classes}
    empty = [name for name, files in by_class.items() if not files]
    if empty:
        named = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise DatasetError(
            f"{len(empty)} of {len(classes)} classes have no image ({named}); remove those sub-folders or fill them: "
            f"{expected}"
        )
    return by_class


def _images_below(folder: Path, class_name: str) -> list[str]:
    files = []
    for parent, folders, names in os.walk(folder / class_name, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        files += [
            (relative / name).as_posix()
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    return sorted(files)
