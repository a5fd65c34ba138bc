"""A folder of images whose sub-folders or file names say the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from metricforge.datasets.folders.folder_options import FolderOptions
from metricforge.datasets.folders.read_image_folder import read_image_folder
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.datasets.tables.split_images import SplitRequest, images_of_split
from metricforge.registry import DATASETS


@DATASETS.register_module()
class ImageFolderDataset(ImageFileDataset):
    """The images under ``root/<class>/``, however deep, split into train and test classes that do not overlap.

    Classes and images are in lexicographic order. Either the first ``train_fraction`` of the classes is for training,
    or ``train_classes`` lists its classes; all others are the test split. ``split="all"`` takes every class. So does
    ``split="zero_shot"``: images of the training classes are its gallery, those of the test classes its queries, as the
    evaluator ZeroShot asks for.

    Folders called train, val (also: valid, validation, dev), test, query and gallery are splits that contain the
    classes; they are used unless ``train_fraction`` or ``train_classes`` is given. A folder around everything, such as
    images/, is not a class. If folders are nested deeper, so that several levels could be the classes, ``class_depth``
    says which one is. ``notes`` say how the folder was read and what was left out of it (hidden files, formats that are
    not read, empty folders, circular links, ...).

    For a class-disjoint cross-validation, ``folds`` splits the training classes into that many consecutive parts. Part
    ``fold`` is then the "val" split, the others are the "train" split, and the test split stays the same.

    Args:
        root: the folder.
        split: "train", "val" (only with ``folds`` or a folder of that name), "test", "all" or "zero_shot".
        train_fraction: share of the classes for training, rounded to whole classes, above 0 and below 1; with
            ``folds`` also 1, which leaves no test split. None: the folder's own splits, or 0.5 if it has none.
        train_classes: names of the training classes instead of a share, or a text file with one name per line.
        folds: of the cross-validation, at least 2.
        fold: the part that validates, in 0..folds-1.
        class_depth: the level of the class folders below ``root``: 1 for class/image, 2 for split/class or
            alphabet/character, 3 for split/coarse/fine. A folder above the class is its group.
        pattern: a regular expression for a file's name or else its path, whose groups say ``label`` and, optionally,
            ``camera``, ``group``, ``split`` and ``role``: ``r"(?P<label>-?\\d+)_c(?P<camera>\\d+)"`` for Market-1501.
        drop_unlabelled: leave out files that ``pattern`` does not match and report how many; else they are an error.
        ignore_labels: classes whose images are left out, such as ``["-1"]``.
        shared_classes: whether a class may be in several splits of the folder, which the papers' protocols never do.
        transform: see ImageDataset.

    Raises:
        DatasetError: if the folder is absent, has no images or is ambiguous; if a class is in two of its splits, a
            split has fewer than two classes, or ``train_classes`` names a class that does not exist.
        ValueError: for another split, a fraction outside its range, or arguments that contradict each other.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val", "test", "all", "zero_shot"] = "train",
        train_fraction: float | None = None,
        train_classes: Sequence[str] | str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
        class_depth: int | None = None,
        pattern: str | None = None,
        drop_unlabelled: bool = False,
        ignore_labels: Sequence[str] = (),
        shared_classes: bool = False,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        request = SplitRequest(split, train_fraction, train_classes, folds, fold, shared_classes)
        options = FolderOptions(class_depth, pattern, drop_unlabelled, ignore_labels)
        folder = Path(root).expanduser().absolute()
        images = images_of_split(read_image_folder(folder, options), str(folder), request)
        super().__init__(
            root=folder,
            files=images.files,
            name=folder.name,
            split=split,
            labels=images.labels,
            class_names=images.class_names,
            roles=images.roles,
            groups=images.groups,
            group_names=images.group_names,
            cameras=images.cameras,
            camera_names=images.camera_names,
            notes=images.notes,
            transform=transform,
        )
