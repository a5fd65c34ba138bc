"""Recognises which levels of a folder are splits, which are classes, and which say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metricforge.datasets.tables.left_out import first_names
from metricforge.datasets.tables.splits_and_roles import SPLIT_WORDS
from metricforge.errors import DatasetError

Folders = tuple[str, ...]  # the folders that an image lies in, from the root on

# Folders that hold a collection's parts, and no class of their own, when they stand beside others.
_PARTS = {
    "images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "annotations", "annotation", "masks", "mask",
    "segmentations", "labels", "trimaps",
}  # fmt: skip
# What benchmarks call their splits; Market-1501, VeRi-776 and others of their kind.
_BENCHMARK_WORDS = {
    "bounding_box_train": ("train", ""),
    "bounding_box_test": ("test", "gallery"),
    "image_train": ("train", ""),
    "image_test": ("test", "gallery"),
    "image_query": ("test", "query"),
}


@dataclass(frozen=True)
class FolderLayout:
    """Where splits and classes stand.

    Args:
        base: how many levels come before the classes: folders around everything, and that of the splits.
        class_depth: at which level, from the root on, the class stands; what is deeper says nothing.
        split_level: which level says the split, from 0 on; None: none does.
        splits: folder of that level -> split and role ("" where it says none).
        notes: how the folder was understood, a line each.
    """

    base: int
    class_depth: int
    split_level: int | None
    splits: dict[str, tuple[str, str]]
    notes: tuple[str, ...]


def split_word(folder: str) -> tuple[str, str] | None:
    """The split and the role that a folder's name says, or None."""
    word = folder.strip().casefold()
    return SPLIT_WORDS.get(word) or _BENCHMARK_WORDS.get(word)


def recognise_splits(images: Sequence[Folders], strict: bool) -> tuple[int, dict[str, tuple[str, str]]]:
    """How many levels stand around everything, and what the folders below them say of splits; empty: nothing.

    Folders are splits if all of them are called so, or several are that say different things. ``strict``: the others
    are then an error (of "train", "test" and "cats", which is a class?), and otherwise left to the caller.
    """
    level = _levels_around(images)
    tops = _names_at(images, level)
    words = {top: word for top in tops if (word := split_word(top)) is not None}
    others = [top for top in tops if top not in words]
    if not words or (others and len({split for split, _ in words.values()}) < 2):
        return level, {}
    if others and strict and all(len(folders) == level + 1 for folders in images):
        return level, {}  # images lie in all of them: "train" and "test" are classes like "bus" and "car"
    return level, words


def recognise_layout(where: str, images: Sequence[Folders], class_depth: int | None) -> FolderLayout:
    """Where splits and classes stand in the folder ``where``, by the folders of its ``images``.

    Raises:
        DatasetError: if that is not clear, with what was found and the options.
    """
    level, splits = recognise_splits(images, strict=class_depth is None)
    around = images[0][:level] if level and all(len(folders) >= level for folders in images) else ()
    notes = [f"everything lies in {'/'.join(around)}/"] if around else []
    if class_depth is not None and class_depth <= level + 1:
        splits = {}
        level = min(level, class_depth - 1)
    others = [top for top in _names_at(images, level) if top not in splits]
    if class_depth is None:
        _refuse_unclear(where, images, level, splits, others)
    elif splits and others:
        notes.append(f"left out: {len(others)} folders that are not splits: {first_names(others)}")
    base = level + 1 if splits else level
    used = [folders for folders in images if not splits or (len(folders) > level and folders[level] in splits)]
    if splits:
        told = ", ".join(f"{folder}/ ({' '.join(filter(None, word))})" for folder, word in splits.items())
        notes.insert(0, f"its folders are splits: {told}")
    if class_depth is None:
        base, class_depth = _class_level(where, used, base)
    shown = sorted(folders for folders in used if len(folders) >= class_depth)
    if not shown:
        raise DatasetError(
            f"{where}: class_depth={class_depth}, but no image lies that deep: {'; '.join(_options(used, base))}"
        )
    if class_depth > 1:
        notes.append(f"classes stand at level {class_depth}, such as {'/'.join(shown[0][:class_depth])}/")
    return FolderLayout(base, class_depth, level if splits else None, splits, tuple(notes))


def _levels_around(images: Sequence[Folders]) -> int:
    """How many levels consist of a single folder, with nothing beside it and folders with images within."""
    level = 0
    while True:
        deep_enough = all(len(folders) > level + 1 for folders in images)
        if not deep_enough or len(_names_at(images, level)) != 1:
            return level
        level += 1


def _names_at(images: Iterable[Folders], level: int) -> list[str]:
    return sorted({folders[level] for folders in images if len(folders) > level})


def _refuse_unclear(
    where: str, images: Sequence[Folders], level: int, splits: dict[str, tuple[str, str]], others: Sequence[str]
) -> None:
    """Raise DatasetError for folders of which nobody can say whether they are splits, parts or classes."""
    if splits and others:
        raise DatasetError(
            f"{where} holds folders that are called splits ({first_names(list(splits))}) beside others "
            f"({first_names(others)}); say which level the classes stand at: class_depth={level + 1} takes all of "
            f"these folders as classes, class_depth={level + 2} takes the first as splits and leaves the others out; "
            "or name another folder (root)"
        )
    if splits and all(len(folders) == level + 1 for folders in images):
        raise DatasetError(
            f"{where}: images lie directly in {first_names([f'{split}/' for split in splits])}, with no folder that "
            "could be their class; put each class into a folder of its own, take the class from their names "
            "(pattern=...), or list them in a table (TableDataset)"
        )
    parts = [top for top in others if top.casefold() in _PARTS]
    beside = [f"{top}/" for top in others if top not in parts]
    if parts and len(others) > 1:
        raise DatasetError(
            f"{where} holds {first_names([f'{part}/' for part in parts])} beside {len(beside)} other folders "
            f"({first_names(beside)}), which may be classes or the collection's parts; name the folder with the "
            f"classes (root={where}/{parts[0]}), or say that these are classes: class_depth={level + 1}"
        )


def _class_level(where: str, images: Sequence[Folders], base: int) -> tuple[int, int]:
    """The levels before the class, and the class's own, where only one is possible."""
    images = [folders for folders in images if len(folders) > base]  # images outside of a class are left out
    while len(_names_at(images, base)) == 1 and all(len(folders) > base + 1 for folders in images):
        base += 1  # such as images/ within each split
    if any(len(folders) == base + 1 for folders in images):
        return base, base + 1
    below: dict[str, set[str]] = {}
    for folders in images:
        below.setdefault(folders[base], set()).add(folders[base + 1])
    if all(len(inside) == 1 for inside in below.values()):
        return base, base + 1  # cat/images/1.jpg: the level below parts nothing
    raise DatasetError(
        f"{where}: no image lies directly in its {len(below)} folders ({first_names(sorted(below))}), so their own "
        f"folders may be the classes; say which level the class stands at: {'; '.join(_options(images, base))}"
    )


def _options(images: Sequence[Folders], base: int) -> list[str]:
    """What each ``class_depth`` from ``base`` on would give."""
    told = []
    for depth in range(base + 1, max((len(folders) for folders in images), default=0) + 1):
        classes = sorted({folders[base:depth] for folders in images if len(folders) >= depth})
        told.append(f"class_depth={depth} gives {len(classes):,} classes such as {'/'.join(classes[0])}")
    return told[:4]
