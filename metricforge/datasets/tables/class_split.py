"""Which classes train, validate and test: every class is in one part only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metricforge.arrays import Flags
from metricforge.errors import DatasetError

SPLITS_TO_ASK_FOR = ("train", "val", "test", "all", "zero_shot")


def check_split_arguments(split: str, train_fraction: float | None, folds: int | None, fold: int | None) -> None:
    """Raise ValueError if these contradict each other."""
    if split not in SPLITS_TO_ASK_FOR:
        raise ValueError(f'split must be "train", "val", "test", "all" or "zero_shot", got {split!r}')
    if train_fraction is not None and not (0 < train_fraction < 1 or (train_fraction == 1 and folds)):
        raise ValueError(
            f"train_fraction must be between 0 and 1, both excluded (1 only with folds), got {train_fraction}; "
            'split="all" takes all classes'
        )
    if (folds is None) != (fold is None):
        raise ValueError(f"folds and fold go together, got folds={folds}, fold={fold}; for example folds=4, fold=0")
    if folds is not None and fold is not None and not (folds >= 2 and 0 <= fold < folds):
        raise ValueError(f"folds ({folds}) must be at least 2 and fold ({fold}) in 0..folds-1")


def training_classes(
    where: str,
    names: Sequence[str],
    train_fraction: float,
    train_classes: Sequence[str] | str | Path | None,
    argument: str = "train_classes",
) -> Flags:
    """Whether each class of ``names`` (C,) is for training: the first of them, or those that are listed.

    Args:
        where: the collection, for messages.
        names: all classes, in order.
        train_fraction: how many are for training, rounded to whole classes.
        train_classes: their names instead, or a text file with one name a line.
        argument: what messages call the list.

    Raises:
        DatasetError: for a list file that does not exist, or a listed name that is no class.
    """
    if train_classes is None:
        return np.arange(len(names)) < round(train_fraction * len(names))
    source = argument
    if isinstance(train_classes, str | Path):
        file = Path(train_classes).expanduser().absolute()
        if not file.is_file():
            raise DatasetError(
                f"{argument} names the file {file}, which does not exist; write one class name a line into it, "
                "or give the names as a list"
            )
        source = f"{argument} ({file})"
        train_classes = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    listed = set(train_classes)
    missing = sorted(listed - set(names))
    if missing:
        raise DatasetError(
            f"{source} lists {len(missing)} classes that {where} does not have: {', '.join(missing[:5])}; "
            f"it has {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        )
    return np.array([name in listed for name in names], dtype=bool)


def classes_of_split(for_training: Flags, split: str, folds: int | None, fold: int | None) -> Flags:
    """Whether each class (C,) is in ``split``; see ImageFolderDataset for folds.

    Raises:
        ValueError: for "val" without folds: nothing says then which classes validate.
    """
    if split in ("all", "zero_shot"):
        return np.ones_like(for_training)
    if split == "test":
        return ~for_training
    if folds is None:
        if split == "val":
            raise ValueError('split "val" is one part of the classes for training; say which: folds=4, fold=0')
        return for_training
    part, trained = np.full(len(for_training), -1), np.flatnonzero(for_training)
    for number, classes in enumerate(np.array_split(trained, min(folds, len(trained)))):  # the others are empty
        part[classes] = number
    return part == fold if split == "val" else (part >= 0) & (part != fold)
