"""Images that a table lists, up to many millions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.datasets.tables.image_table import read_image_table
from metricforge.datasets.tables.split_images import SplitRequest, images_of_split
from metricforge.datasets.tables.table_options import TableOptions
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS

_LOOKED_AT = 100


@DATASETS.register_module()
class TableDataset(ImageFileDataset):
    """The images that a table lists, one row each, in the table's order.

    A table is a Parquet file, or a text file (.csv, .tsv, .txt, .lst) whose delimiter is found out: comma, semicolon,
    tab, bar, or blanks in .txt and .lst. Blanks around cells and upper or lower case of the header do not count.

    Columns:

    - ``path``: of the image, absolute or relative to ``root``; ``./img/a.jpg`` and ``img/a.jpg`` are one file;
    - ``label``: its class; text, or whole numbers in Parquet. Classes are in the order of their labels;
    - ``split``, optional: "train", "val" or "test", each class in one of them. "training", "valid", "validation",
      "dev" and "testing" are understood, and "query" and "gallery" as the two roles of a test, in any case;
    - ``role``, optional: "query", "gallery", "both" (also: empty) or "junk", for images that are not for training;
      what is junk is left out of a test;
    - ``is_query`` and ``is_gallery``, optional: the same as two columns of true and false;
    - ``group``, optional: what is above the class, such as the kind of product;
    - ``camera``, optional: what took the image;
    - ``left``, ``top``, ``right``, ``bottom``, optional: a box in pixels of the upright image, right and bottom
      excluded, that ``crop`` cuts out.

    Where there is no split column, or ``train_fraction`` or ``train_classes`` is given, classes are split as
    ImageFolderDataset splits them. ``folds`` parts the classes for training as it does there. Where the column says
    train and val and no test, the val split is the test. Paths, labels and the rest are kept in flat arrays: ten
    million rows take seconds, and workers share them.

    Args:
        table: the file.
        root: what paths are relative to; None: the table's folder.
        split: "train", "val", "test", "all" or "zero_shot", see ImageFolderDataset.
        columns: what the table calls a column, where it is not as above: ``dict(path="file", label="product_id")``;
            of a text file without a header the numbers, from 0 on: ``dict(path=0, label=1)``.
        delimiter: what stands between two columns of a text file; None: it is found out.
        extension: what paths lack at their end, such as ".jpg".
        path_template: how paths are made of columns: ``"{id[0]}/{id[1]}/{id[2]}/{id}.jpg"``, ``"{chain}/{image}"``.
        pattern: a regular expression for what a path says, see ImageFolderDataset; only ``path`` is needed then.
        drop_unlabelled: leave out rows without a label, group or camera, and tell how many; otherwise they are refused.
        ignore_labels: labels whose images are left out, such as ``["new_whale"]``.
        crop: whether each image is cropped to its box.
        train_fraction: see ImageFolderDataset; None: the split column, or a half where there is none.
        train_classes: see ImageFolderDataset.
        folds: see ImageFolderDataset.
        fold: see ImageFolderDataset.
        shared_classes: whether a class may be in several splits of the split column, which the papers' protocols
            never do: a test on classes seen in training says nothing about new ones.
        transform: see ImageDataset.

    Raises:
        DatasetError: for a file that is absent or no such table, a missing column or value, a path that stands twice, a
            split, role or box that is none, a class in two splits, a split of fewer than two classes, or images that
            are not where the table says (of some hundred that are looked at).
        ValueError: for arguments that do not go together.
    """

    def __init__(
        self,
        table: str | Path,
        root: str | Path | None = None,
        split: Literal["train", "val", "test", "all", "zero_shot"] = "train",
        columns: Mapping[str, str | int] | None = None,
        delimiter: str | None = None,
        extension: str | None = None,
        path_template: str | None = None,
        pattern: str | None = None,
        drop_unlabelled: bool = False,
        ignore_labels: Sequence[str] = (),
        crop: bool = False,
        train_fraction: float | None = None,
        train_classes: Sequence[str] | str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
        shared_classes: bool = False,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        request = SplitRequest(split, train_fraction, train_classes, folds, fold, shared_classes)
        options = TableOptions(
            columns or {}, delimiter, extension, path_template, pattern, drop_unlabelled, ignore_labels
        )
        file = Path(table).expanduser().absolute()
        self.root = file.parent if root is None else Path(root).expanduser().absolute()
        images = images_of_split(read_image_table(file, options, self.root), str(file), request, crop)
        count = min(len(images.files), _LOOKED_AT)
        looked_at = [images.files[i] for i in np.linspace(0, len(images.files) - 1, count).astype(int).tolist()]
        missing = [name for name in looked_at if not self._is_there(name)]
        if missing:
            raise DatasetError(
                f"{len(missing)} of {len(looked_at)} images of {file} that were looked for are not there, such as "
                f"{self.root / missing[0]}; name the folder that its paths are relative to (root), say how they end "
                '(extension=".jpg") or are made (path_template), or see which are missing: '
                f"metricforge data check {file}"
            )
        super().__init__(
            root=self.root,
            files=images.files,
            name=file.stem,
            split=split,
            labels=images.labels,
            class_names=images.class_names,
            boxes=images.boxes,
            roles=images.roles,
            groups=images.groups,
            group_names=images.group_names,
            cameras=images.cameras,
            camera_names=images.camera_names,
            notes=images.notes,
            transform=transform,
        )

    def _is_there(self, name: str) -> bool:
        return (self.root / name).is_file()

    def _digest_images(self, digest: hashlib._Hash) -> None:
        # Names alone: asking for millions of sizes would take minutes.
        self.files.add_to(digest)
        if self.boxes is not None:
            digest.update(self.boxes.astype("<i4").tobytes())
