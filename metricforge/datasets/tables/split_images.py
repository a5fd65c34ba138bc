"""The images of one split of a collection, by the collection's own splits or by classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricforge.arrays import Bytes, Flags, Indices, Integers32
from metricforge.datasets.string_column import StringColumn
from metricforge.datasets.tables.class_split import check_split_arguments, classes_of_split, training_classes
from metricforge.datasets.tables.image_table import ImageTable
from metricforge.datasets.tables.left_out import LeftOut, first_names
from metricforge.datasets.tables.splits_and_roles import ROLES, SPLITS
from metricforge.datasets.tables.table_options import BOX
from metricforge.errors import DatasetError
from metricforge.structures import Role

_BITS = {"query": Role.QUERY, "gallery": Role.GALLERY, "both": Role.BOTH}


@dataclass(frozen=True)
class SplitRequest:
    """Which images are asked for; ImageFolderDataset explains each.

    Raises:
        ValueError: for arguments that do not go together.
    """

    split: str = "train"
    train_fraction: float | None = None
    train_classes: Sequence[str] | str | Path | None = None
    folds: int | None = None
    fold: int | None = None
    shared_classes: bool = False

    def __post_init__(self) -> None:
        check_split_arguments(self.split, self.train_fraction, self.folds, self.fold)

    @property
    def by_classes(self) -> bool:
        """Whether the classes are split whatever splits the collection has of its own."""
        return self.train_fraction is not None or self.train_classes is not None


@dataclass(frozen=True)
class SplitImages:
    """The N images of a split, with the labels that a data set needs: see ImageDataset."""

    files: StringColumn
    labels: Indices
    class_names: list[str]
    roles: Bytes | None
    groups: Indices | None
    group_names: list[str]
    cameras: Indices | None
    camera_names: list[str]
    boxes: Integers32 | None
    notes: tuple[str, ...]


def images_of_split(rows: ImageTable, where: str, request: SplitRequest, crop: bool = False) -> SplitImages:
    """Those of ``rows`` that ``request`` asks for; ``where`` is the collection, for messages.

    Raises:
        DatasetError: for a split, role or box that is none, a class in two splits, or a split of fewer than two
            classes.
    """
    notes = [*rows.notes, *(left.describe() for left in rows.left_out)]
    by_column = rows.splits is not None and not request.by_classes
    if by_column:
        chosen = _rows_by_column(rows, request, where, notes)
    else:
        fraction = 0.5 if request.train_fraction is None else request.train_fraction
        for_training = training_classes(where, rows.class_names, fraction, request.train_classes)  # (C,)
        chosen = classes_of_split(for_training, request.split, request.folds, request.fold)[rows.labels]  # (N,)
    roles = None
    if rows.roles is not None and request.split != "train":
        roles = _roles(rows.roles, where)  # (N,)
        junk = chosen & (roles == 0)
        if junk.any():
            notes.append(LeftOut("junk images, neither searched with nor found", rows.paths.filter(junk)).describe())
            chosen &= ~junk
        roles = roles[chosen]
    if request.split == "zero_shot":
        seen = _is_of_train(rows) if by_column else for_training[rows.labels]  # (N,)
        roles = np.where(seen, Role.GALLERY, Role.QUERY).astype(np.uint8)[chosen]
    used, labels = _renumbered(rows.labels[chosen])
    if len(used) < 2:
        raise DatasetError(
            f"the {request.split} split of {where} has {len(used)} of its {len(rows.class_names)} classes, but "
            f"retrieval needs at least 2; {_way_out(by_column, request)}"
        )
    groups, group_names = _kept(rows.groups, rows.group_names, chosen)
    cameras, camera_names = _kept(rows.cameras, rows.camera_names, chosen)
    return SplitImages(
        files=rows.paths.filter(chosen),
        labels=labels,
        class_names=[rows.class_names[c] for c in used],
        roles=roles,
        groups=groups,
        group_names=group_names,
        cameras=cameras,
        camera_names=camera_names,
        boxes=_boxes(rows, chosen, where) if crop else None,
        notes=tuple(notes),
    )


def _kept(numbers: Indices | None, names: Sequence[str], chosen: Flags) -> tuple[Indices | None, list[str]]:
    if numbers is None or not chosen.any():
        return None, []
    kept, renumbered = _renumbered(numbers[chosen])
    return renumbered, [names[number] for number in kept]


def _renumbered(numbers: Indices) -> tuple[Indices, Indices]:
    """The numbers that occur, and ``numbers`` (N,) as positions among those; np.unique would sort millions."""
    occurs = np.bincount(numbers) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[numbers]


def _rows_by_column(rows: ImageTable, request: SplitRequest, where: str, notes: list[str]) -> Flags:
    """Whether each row (N,) is in the split by the collection's own splits."""
    assert rows.splits is not None
    number = pc.index_in(rows.splits, pa.array(SPLITS, type=pa.large_string()))
    if number.null_count:
        row = int(np.argmax(number.is_null().to_numpy()))
        raise DatasetError(
            f"{where}, row {row + 1}: split {rows.splits[row].as_py()!r} must be train, val or test (or query or "
            "gallery of a test); leave the column out, or give train_fraction, to split by classes"
        )
    part = number.to_numpy()  # (N,)
    if not request.shared_classes:
        _refuse_shared_classes(rows, part, where)
    if request.split == "all":
        return np.ones(len(part), dtype=bool)
    wanted = SPLITS.index("test" if request.split == "zero_shot" else request.split)
    if wanted == SPLITS.index("test") and not (part == wanted).any() and (part == 1).any():
        notes.append("there is no test split, so the val split is the test")
        wanted = 1
    if request.split == "zero_shot":
        return (part == 0) | (part == wanted)
    if request.folds is None or request.split == "test":
        return part == wanted
    if (part == 1).any():
        raise ValueError(f'folds part the classes for training, but {where} says itself which rows are "val"')
    for_training = np.zeros(len(rows.class_names), dtype=bool)  # (C,)
    for_training[rows.labels[part == 0]] = True
    return classes_of_split(for_training, request.split, request.folds, request.fold)[rows.labels] & (part == 0)


def _is_of_train(rows: ImageTable) -> Flags:
    """Whether each row (N,) is of the train split."""
    assert rows.splits is not None
    return np.asarray(pc.equal(rows.splits, "train").to_numpy(), dtype=bool)


def _refuse_shared_classes(rows: ImageTable, part: Indices, where: str) -> None:
    inside = np.zeros((3, len(rows.class_names)), dtype=bool)
    inside[part, rows.labels] = True
    shared = np.flatnonzero(inside.sum(axis=0) > 1)
    if len(shared):
        named = first_names([rows.class_names[c] for c in shared])
        counts = ", ".join(
            f"{int(row.sum())} in {split}" for split, row in zip(SPLITS, inside, strict=True) if row.any()
        )
        raise DatasetError(
            f"{len(shared):,} of {len(rows.class_names):,} classes of {where} are in more than one split ({named}; "
            f"{counts}); a test on classes seen in training says nothing about new ones: move their images, leave "
            "these splits aside and split by classes (train_fraction=0.5), or take the splits as they are "
            "(shared_classes=True)"
        )


def _roles(column: pa.ChunkedArray, where: str) -> Bytes:
    """The bits of ``Role`` of each image (N,); 0 of junk."""
    number = pc.index_in(pc.if_else(pc.equal(column, ""), "both", column), pa.array(ROLES, type=pa.large_string()))
    if number.null_count:
        wrong = pc.unique(column.filter(number.is_null())).to_pylist()[:3]
        raise DatasetError(f"{where}: role must be query, gallery, both, junk or empty, got {wrong}")
    bits = np.array([_BITS.get(role, 0) for role in ROLES], dtype=np.uint8)
    return bits[number.to_numpy()]


def _boxes(rows: ImageTable, chosen: Flags, where: str) -> Integers32:
    if rows.boxes is None:
        raise DatasetError(
            f"{where} has no columns {', '.join(BOX)} to crop to; set crop=False, or name them (columns)"
        )
    return np.stack(
        [_box_side(side.filter(pa.array(chosen)), name, where) for name, side in rows.boxes.items()], axis=1
    )


def _box_side(column: pa.ChunkedArray, name: str, where: str) -> Integers32:
    if column.null_count:
        raise DatasetError(f"{where}: {column.null_count:,} rows have no {name}; fill them in, or set crop=False")
    try:
        return pc.round(column.cast(pa.float64())).cast(pa.int32()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise DatasetError(f"{where}: column {name} must hold numbers of pixels ({fault})") from fault


def _way_out(by_column: bool, request: SplitRequest) -> str:
    if by_column:
        return "say which images are in it, or split by classes with train_fraction"
    told = 0.5 if request.train_fraction is None else request.train_fraction
    return f"add classes, or change train_fraction ({told}), train_classes or folds"
