"""Which training classes are set aside to choose by, so that the test classes choose nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metricforge.argument_types import is_number
from metricforge.arrays import Flags
from metricforge.datasets.tables.class_split import training_classes
from metricforge.errors import DatasetError

FEWEST_CLASSES = 10
_ALLOWED = (
    "must be a share of the training classes such as 0.1, dict(folds=5, fold=0), a list of class names or a .txt file "
    'with one name a line, "val" (the rows that the data set itself keeps for it), "test" (the test classes, as many '
    "papers do, which scores.json then says), or None for the weights of the last epoch"
)


def validation_faults(wanted: Any) -> list[str]:
    """What is wrong with the config's ``validation``; empty if nothing is."""
    if wanted is None or wanted in ("val", "test"):
        return []
    if isinstance(wanted, str):
        return [] if wanted.endswith(".txt") else [f"validation: {wanted!r} {_ALLOWED}"]
    if isinstance(wanted, Mapping):
        folds, fold = wanted.get("folds"), wanted.get("fold")
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (folds, fold))
        if set(wanted) == {"folds", "fold"} and whole and folds >= 2 and 0 <= fold < folds:  # type: ignore[operator]
            return []
        return [f"validation: {dict(wanted)!r}: folds must be at least 2 and fold in 0..folds-1; it {_ALLOWED}"]
    if isinstance(wanted, Sequence):
        return (
            [] if wanted and all(isinstance(name, str) for name in wanted) else [f"validation: {wanted!r} {_ALLOWED}"]
        )
    if is_number(wanted) and 0 < wanted < 1:
        return []
    return [f"validation: {wanted!r} {_ALLOWED}"]


def validation_classes(
    class_names: Sequence[str], wanted: float | str | Sequence[str] | Mapping[str, int], where: str
) -> Flags | None:
    """Whether each of the training classes ``class_names`` (C,) validates; None where they are too few to spare any.

    A share is of the classes whose hashed names come first, at least two: the same ones for every seed, and a class
    that is added moves hardly any other. Folds are consecutive parts, as those of a data set. Of fewer than
    ``FEWEST_CLASSES`` classes, neither sets any aside; those that are named are taken at their word.

    Args:
        class_names: of the training set.
        wanted: a share, folds and fold, names, or a file of names; see ``validation_faults``.
        where: the collection, for messages.

    Raises:
        DatasetError: for a name that is no training class, or if fewer than two classes would be left on either side.
    """
    count = len(class_names)
    named = isinstance(wanted, str | Sequence)
    if not named and count < FEWEST_CLASSES:
        return None
    if isinstance(wanted, Mapping):
        chosen = np.zeros(count, dtype=bool)
        if wanted["folds"] <= count:  # more would take time and memory, and leave a fold without classes
            chosen[np.array_split(np.arange(count), wanted["folds"])[wanted["fold"]]] = True
    elif isinstance(wanted, str | Sequence):
        chosen = training_classes(where, class_names, 1.0, wanted, argument="validation")
    else:
        order = sorted(range(count), key=lambda c: hashlib.sha256(class_names[c].encode()).digest())
        chosen = np.zeros(count, dtype=bool)
        chosen[order[: max(2, round(wanted * count))]] = True
    if chosen.sum() < 2 or (~chosen).sum() < 2:
        raise DatasetError(
            f"validation: {wanted!r} sets {chosen.sum()} of the {count} training classes of {where} aside, but both "
            "sides need at least 2; change it, or take the weights of the last epoch (validation=None)"
        )
    return chosen


def refuse_shared_classes(train: Sequence[str], validation: Sequence[str], where: str) -> None:
    """Raise DatasetError, naming some, if validation classes are also trained on."""
    shared = sorted(set(train) & set(validation))
    if shared:
        raise DatasetError(
            f'validation: {len(shared)} of the {len(validation)} classes of {where} that are "val" are trained as well '
            f"({', '.join(shared[:5])}{', ...' if len(shared) > 5 else ''}), and scores of those say "
            "nothing about new classes; set whole classes aside, such as validation=0.1"
        )
