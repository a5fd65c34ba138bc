"""Images that a table lists, up to many millions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricforge.arrays import Array, Bytes, Flags, Indices, Integers32
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.datasets.tables.class_split import check_split_arguments, classes_of_split, training_classes
from metricforge.datasets.tables.image_table import BOX, ImageTable, read_image_table
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS
from metricforge.structures import Role

_ROLES = {"query": Role.QUERY, "gallery": Role.GALLERY, "both": Role.BOTH}
_LOOKED_AT = 100


@DATASETS.register_module()
class TableDataset(ImageFileDataset):
    """The images that a CSV or Parquet table lists, one row each, in the table's order.

    Columns:

    - ``path``: of the image, absolute or relative to ``root``;
    - ``label``: its class; text, or whole numbers in Parquet. Classes are in the order of their labels;
    - ``split``, optional: "train", "val" or "test", each class in one of them;
    - ``role``, optional: "query", "gallery" or "both" (also: empty), for images that are not for training;
    - ``group``, optional: what is above the class, such as the kind of product;
    - ``left``, ``top``, ``right``, ``bottom``, optional: a box in pixels of the upright image, right and bottom
      excluded, that ``crop`` cuts out.

    Where there is no split column, or ``train_fraction`` or ``train_classes`` is given, classes are split as
    ImageFolderDataset splits them. ``folds`` parts the classes for training as it does there. Paths, labels and the
    rest are kept in flat arrays: ten million rows take seconds, and workers share them.

    Args:
        table: the file, ending in .csv or .parquet.
        root: what paths are relative to; None: the table's folder.
        split: "train", "val", "test" or "all".
        columns: what the table calls a column, where it is not as above: ``dict(path="file", label="product_id")``.
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
        split: Literal["train", "val", "test", "all"] = "train",
        columns: Mapping[str, str] | None = None,
        crop: bool = False,
        train_fraction: float | None = None,
        train_classes: Sequence[str] | str | Path | None = None,
        folds: int | None = None,
        fold: int | None = None,
        shared_classes: bool = False,
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        check_split_arguments(split, train_fraction, folds, fold)
        file = Path(table).expanduser().absolute()
        rows = read_image_table(file, columns or {})
        by_column = rows.splits is not None and train_fraction is None and train_classes is None
        if by_column:
            chosen = _rows_by_column(rows, split, folds, fold, shared_classes, file)
        else:
            fraction = 0.5 if train_fraction is None else train_fraction
            for_training = training_classes(str(file), rows.class_names, fraction, train_classes)  # (C,)
            chosen = classes_of_split(for_training, split, folds, fold)[rows.labels]  # (N,)
        used, labels = _renumbered(rows.labels[chosen])
        if len(used) < 2:
            raise DatasetError(
                f"the {split} split of {file} has {len(used)} of its {len(rows.class_names)} classes, but retrieval "
                f"needs at least 2; {_way_out(rows, by_column)}"
            )
        files = rows.paths.filter(chosen)
        folder = file.parent if root is None else Path(root).expanduser().absolute()
        looked_at = [files[i] for i in np.linspace(0, len(files) - 1, min(len(files), _LOOKED_AT)).astype(int).tolist()]
        self.root = folder
        missing = [name for name in looked_at if not self._is_there(name)]
        if missing:
            raise DatasetError(
                f"{len(missing)} of {len(looked_at)} images of {file} that were looked for are not there, such as "
                f"{folder / missing[0]}; name the folder that its paths are relative to (root), or see which are "
                f"missing: metricforge data check {file}"
            )
        groups, group_names = None, []
        if rows.groups is not None:
            kept, groups = _renumbered(rows.groups[chosen])
            group_names = [rows.group_names[g] for g in kept]
        super().__init__(
            root=folder,
            files=files,
            name=file.stem,
            split=split,
            labels=labels,
            class_names=[rows.class_names[c] for c in used],
            boxes=_boxes(rows, chosen, file) if crop else None,
            roles=None if rows.roles is None or split == "train" else _roles(rows.roles.filter(pa.array(chosen)), file),
            groups=groups,
            group_names=group_names,
            transform=transform,
        )

    def _is_there(self, name: str) -> bool:
        return (self.root / name).is_file()

    def _digest_images(self, digest: hashlib._Hash) -> None:
        # Names alone: asking for millions of sizes would take minutes.
        self.files.add_to(digest)
        if self.boxes is not None:
            digest.update(self.boxes.astype("<i4").tobytes())


def _renumbered(
    numbers: Indices,
) -> tuple[Indices, Indices]:
    """The numbers that occur, and ``numbers`` (N,) as positions among those; np.unique would sort millions."""
    occurs = np.bincount(numbers) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[numbers]


def _rows_by_column(
    rows: ImageTable, split: str, folds: int | None, fold: int | None, shared_classes: bool, file: Path
) -> Flags:
    """Whether each row (N,) is in ``split`` by the table's split column."""
    assert rows.splits is not None
    known = pa.array(["train", "val", "test"], type=pa.large_string())
    number = pc.index_in(rows.splits, known)
    if number.null_count:
        row = int(np.argmax(number.is_null().to_numpy(zero_copy_only=False)))
        raise DatasetError(
            f"{file}, row {row + 1}: split {rows.splits[row].as_py()!r} must be train, val or test; leave the column "
            "out, or give train_fraction, to split by classes"
        )
    part = number.to_numpy(zero_copy_only=False)  # (N,)
    if not shared_classes:
        _refuse_shared_classes(rows, part, file)
    if split == "all":
        return np.ones(len(part), dtype=bool)
    if folds is None or split == "test":
        return part == ("train", "val", "test").index(split)
    if (part == 1).any():
        raise ValueError(f'folds part the classes for training, but {file} says itself which rows are "val"')
    for_training = np.zeros(len(rows.class_names), dtype=bool)  # (C,)
    for_training[rows.labels[part == 0]] = True
    return classes_of_split(for_training, split, folds, fold)[rows.labels] & (part == 0)


def _refuse_shared_classes(rows: ImageTable, part: Array, file: Path) -> None:
    inside = np.zeros((3, len(rows.class_names)), dtype=bool)
    inside[part, rows.labels] = True
    shared = np.flatnonzero(inside.sum(axis=0) > 1)
    if len(shared):
        named = ", ".join(rows.class_names[c] for c in shared[:5]) + (", ..." if len(shared) > 5 else "")
        raise DatasetError(
            f"{len(shared):,} of {len(rows.class_names):,} classes of {file} are in more than one split ({named}); a "
            "test on classes seen in training says nothing about new ones: move their rows, split by train_fraction, "
            "or set shared_classes=True"
        )


def _roles(column: pa.ChunkedArray, file: Path) -> Bytes:
    empty = pc.fill_null(pc.equal(column, ""), True)
    number = pc.index_in(pc.if_else(empty, "both", column), pa.array([*_ROLES], type=pa.large_string()))
    if number.null_count:
        wrong = pc.drop_null(pc.unique(column.filter(number.is_null()))).to_pylist()[:3]
        raise DatasetError(f"{file}: role must be query, gallery, both or empty, got {wrong}")
    return np.array([*_ROLES.values()], dtype=np.uint8)[number.to_numpy(zero_copy_only=False)]


def _boxes(rows: ImageTable, chosen: Flags, file: Path) -> Integers32:
    if rows.boxes is None:
        raise DatasetError(f"{file} has no columns {', '.join(BOX)} to crop to; set crop=False, or name them (columns)")
    return np.stack([_box_side(side.filter(pa.array(chosen)), name, file) for name, side in rows.boxes.items()], axis=1)


def _box_side(column: pa.ChunkedArray, name: str, file: Path) -> Integers32:
    if column.null_count:
        raise DatasetError(f"{file}: {column.null_count:,} rows have no {name}; fill them in, or set crop=False")
    try:
        return pc.round(column.cast(pa.float64())).cast(pa.int32()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise DatasetError(f"{file}: column {name} must hold numbers of pixels ({fault})") from fault


def _way_out(rows: ImageTable, by_column: bool) -> str:
    if by_column:
        return "say in its split column which rows those are, or split by classes with train_fraction"
    return "list more classes, or change train_fraction, train_classes or folds"
