"""Find what is wrong with a collection from what was recorded of each image."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from metricforge.doctor.collection import Collection
from metricforge.doctor.duplicates import exact_duplicates, near_duplicates
from metricforge.doctor.examine import Examination

TINY = 32
_NO_NAMES = frozenset(
    ("nan", "none", "null", "n/a", "na", "nil", "?", "-", "unknown", "undefined", "unlabelled", "unlabeled")
)


@dataclass(frozen=True)
class Finding:
    """One kind of problem, and every case of it.

    Args:
        kind: a short name.
        wrong: whether it harms training or scores; otherwise it is only worth knowing.
        advice: what to do about it, or what the readers do.
        groups: indices of the images of each case.
        details: a remark on each case.
        shown: whether the contact sheet shows it.
    """

    kind: str
    wrong: bool
    advice: str
    groups: Sequence[tuple[int, ...]]
    details: Sequence[str]
    shown: bool = True


def diagnose(collection: Collection, found: Examination, tiny: int = TINY) -> list[Finding]:
    """Everything that was found, errors first; kinds without a case are left out.

    Args:
        collection: what was checked.
        found: what was recorded of its images.
        tiny: an image is tiny if its shorter side has fewer pixels.
    """
    exact, near = exact_duplicates(found), near_duplicates(found)
    listed_twice = _listed_twice(collection)
    findings = [
        _finding(
            "cannot be read",
            True,
            "replace or remove them: training stops at the first",
            [(i,) for i in found.errors],
            list(found.errors.values()),
            shown=False,
        ),
        _duplicates(collection, exact, "same picture, different classes", True, "one label is wrong", _differ),
        _duplicates(
            collection, near, "nearly the same picture, different classes", False, "look: is a label wrong?", _differ
        ),
        _duplicates(
            collection,
            [*exact, *near],
            "same or nearly the same picture in two splits",
            True,
            "remove one of each: a test on seen pictures flatters",
            lambda c, g: len({c.split_of(i) for i in g}) > 1,
        ),
        _shared_classes(collection),
        _duplicates(
            collection,
            listed_twice,
            "listed more than once",
            True,
            "keep one row an image",
            lambda c, g: True,
        ),
        _duplicates(collection, exact, "same picture, one class", False, "a trivial match: keep one", _agree),
        _duplicates(collection, near, "nearly the same picture, one class", False, "an easy match in a test", _agree),
        *_labels_alike(collection),
        _lone_classes(collection, found),
        _tiny(found, tiny),
        _finding(
            "extension of another format",
            False,
            "read all the same, by their contents",
            [(i,) for i in found.extensions],
            [f"is {form}" for form in found.extensions.values()],
        ),
    ]
    handled = {
        "CMYK": "converted to RGB",
        "16 bits a channel": "scaled to 8 bits by their full range",
        "palette": "converted to RGB",
        "transparent": "laid on white",
        "several frames": "the first one counts",
        "turned by EXIF": "turned upright",
    }
    for oddity, done in handled.items():
        those = [(i,) for i, odd in found.oddities.items() if oddity in odd]
        findings.append(_finding(oddity, False, done, those, [""] * len(those)))
    return sorted((f for f in findings if f.groups), key=lambda f: not f.wrong)


def _finding(
    kind: str,
    wrong: bool,
    advice: str,
    groups: Sequence[tuple[int, ...]],
    details: Sequence[str],
    shown: bool = True,
) -> Finding:
    assert len(groups) == len(details)
    return Finding(kind, wrong, advice, groups, details, shown)


def _duplicates(
    collection: Collection,
    groups: Sequence[tuple[int, ...]],
    kind: str,
    wrong: bool,
    advice: str,
    chosen: Callable[[Collection, tuple[int, ...]], bool],
) -> Finding:
    those = [group for group in groups if chosen(collection, group)]
    details = [" / ".join(dict.fromkeys(collection.class_of(i) for i in group)) for group in those]
    return _finding(kind, wrong, advice, those, details)


def _listed_twice(collection: Collection) -> list[tuple[int, ...]]:
    """The images of each file that is listed more than once, whether it can be read or not."""
    repeated = collection.files.repeated().field("values")
    nth = pc.index_in(collection.files.array, repeated).to_numpy(zero_copy_only=False)  # (N,), NaN of the others
    return [tuple(np.flatnonzero(nth == number).tolist()) for number in range(len(repeated))]


def _differ(collection: Collection, group: tuple[int, ...]) -> bool:
    return len(set(collection.labels[list(group)].tolist())) > 1


def _agree(collection: Collection, group: tuple[int, ...]) -> bool:
    return not _differ(collection, group)


def _shared_classes(collection: Collection) -> Finding:
    inside = np.zeros((len(collection.class_names), len(collection.split_names)), dtype=bool)
    inside[collection.labels, collection.splits] = True
    groups, details = [], []
    for label in np.flatnonzero(inside.sum(axis=1) > 1).tolist():
        firsts = [
            int(np.argmax((collection.labels == label) & (collection.splits == split)))
            for split in np.flatnonzero(inside[label]).tolist()
        ]
        groups.append(tuple(firsts))
        names = " and ".join(collection.split_of(i) for i in firsts)
        details.append(f"{collection.class_names[label]} is in {names}")
    advice = "a test on classes seen in training says nothing about new ones"
    return _finding("class in two splits", True, advice, groups, details)


def _labels_alike(collection: Collection) -> list[Finding]:
    """Classes whose names a person hardly tells apart, and names that stand for no class."""
    kinds: dict[bool, tuple[list[tuple[int, ...]], list[str]]] = {True: ([], []), False: ([], [])}
    alike: dict[str, list[int]] = {}
    for label, name in enumerate(collection.class_names):
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        alike.setdefault(plain, []).append(label)
    for labels in alike.values():
        names = [collection.class_names[label] for label in labels]
        if len(labels) > 1:
            only_blanks = len({" ".join(name.split()) for name in names}) < len(names)
            groups, details = kinds[only_blanks]
            groups.append(tuple(_first_of(collection, label) for label in labels))
            details.append(" and ".join(map(repr, names)))
    missing = [label for label, name in enumerate(collection.class_names) if name.strip().casefold() in _NO_NAMES]
    return [
        _finding("labels that look alike", True, "one class under two names: make them one", *kinds[True]),
        _finding("labels that differ in case or writing", False, "look: are they one class?", *kinds[False]),
        _finding(
            "label that says there is none",
            False,
            "look: is it a class? otherwise ignore_labels leaves it out",
            [(_first_of(collection, label),) for label in missing],
            [repr(collection.class_names[label]) for label in missing],
        ),
    ]


def _first_of(collection: Collection, label: int) -> int:
    return int(np.argmax(collection.labels == label))


def _lone_classes(collection: Collection, found: Examination) -> Finding:
    readable = np.ones(len(collection), dtype=bool)
    readable[list(found.errors)] = False
    counts = np.bincount(collection.labels[readable], minlength=len(collection.class_names))
    lone = np.flatnonzero(readable & (counts[collection.labels] == 1)).tolist()
    advice = "no pair to learn from, and nothing to find in a test"
    return _finding("class with one image", False, advice, [(i,) for i in lone], [collection.class_of(i) for i in lone])


def _tiny(found: Examination, tiny: int) -> Finding:
    shorter = found.sides.min(axis=1)
    those = np.flatnonzero((shorter > 0) & (shorter < tiny)).tolist()
    details = [f"{found.sides[i, 0]} x {found.sides[i, 1]}" for i in those]
    return _finding(f"shorter side below {tiny} pixels", False, "enlarged to the crop", [(i,) for i in those], details)
