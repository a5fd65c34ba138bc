"""Reads a folder of images into the same columns as a table's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from metricforge.datasets.folders.folder_layout import FolderLayout, Folders, recognise_layout, recognise_splits
from metricforge.datasets.folders.folder_options import FolderOptions
from metricforge.datasets.folders.walk_images import SUFFIXES, WalkedFolder, walk_images
from metricforge.datasets.tables.image_table import ImageTable, image_table
from metricforge.datasets.tables.name_pattern import check_pattern, read_names
from metricforge.datasets.tables.table_options import TableOptions
from metricforge.errors import DatasetError

_ANY = FolderOptions()
_OUTSIDE = "images outside of a class's folder"


def read_image_folder(folder: Path, options: FolderOptions = _ANY) -> ImageTable:
    """Find the images of ``folder`` and what its folders, or their names, say of each.

    Classes are in lexicographic order, images in that of their class, then path.

    Raises:
        DatasetError: for a folder that is absent, holds no image, or of which it is not clear what its folders are;
            for names of files that ``pattern`` does not fit, unless ``drop_unlabelled``.
    """
    expected = (
        f"looked in {folder}; expected one sub-folder per class with its images ({', '.join(SUFFIXES)}), "
        "such as cats/1.jpg and dogs/1.jpg; unpack your images like that, or name another folder: "
        "--cfg-options data_root=FOLDER"
    )
    if not folder.is_dir():
        raise DatasetError(f"the image folder {'is not a folder' if folder.exists() else 'does not exist'}: {expected}")
    walked = walk_images(folder)
    if not walked.files:
        found = "; ".join(left.describe() for left in walked.left_out)
        raise DatasetError(f"the image folder has no image{f' ({found})' if found else ''}: {expected}")
    folders = [tuple(file.split("/")[:-1]) for file in walked.files]
    if options.pattern is not None:
        return _by_names(folder, walked, folders, options)
    if not any(folders):
        raise DatasetError(
            f"the image folder has no sub-folder with images, and {len(folders):,} images of its own; classes may also "
            f"be read from names (pattern=...) or a table (TableDataset): {expected}"
        )
    layout = recognise_layout(str(folder), [each for each in folders if each], options.class_depth)
    return _by_folders(folder, walked, folders, layout, options)


def images_by_class(folder: Path) -> dict[str, list[str]]:
    """Class to its images' paths relative to ``folder``, both sorted; each of its sub-folders is a class.

    Raises:
        DatasetError: see ``read_image_folder``.
    """
    rows = read_image_folder(folder, FolderOptions(class_depth=1))
    by_class: dict[str, list[str]] = {name: [] for name in rows.class_names}
    for label, file in zip(rows.labels.tolist(), rows.paths, strict=True):
        by_class[rows.class_names[label]].append(file)
    return by_class


def _by_folders(
    folder: Path, walked: WalkedFolder, folders: Sequence[Folders], layout: FolderLayout, options: FolderOptions
) -> ImageTable:
    rows = []
    for file, inside in zip(walked.files, folders, strict=True):
        if layout.split_level is not None and (not inside or inside[layout.split_level] not in layout.splits):
            continue  # a note of the layout tells of these folders
        if len(inside) < layout.class_depth:
            walked.leave_out(_OUTSIDE, file)
            continue
        split = ("", "") if layout.split_level is None else layout.splits[inside[layout.split_level]]
        rows.append(("/".join(inside[layout.base : layout.class_depth]), file, *split))
    rows.sort()
    columns = {
        "label": _text(row[0] for row in rows),
        "path": _text(row[1] for row in rows),
    }
    if layout.split_level is not None:
        columns["split"] = _text(row[2] for row in rows)
        columns["role"] = _text(row[3] for row in rows)
    if layout.class_depth > layout.base + 1:
        columns["group"] = _text(row[0].rpartition("/")[0] for row in rows)
    return image_table(str(folder), columns, _row_options(options), notes=layout.notes, left_out=walked.left_out)


def _by_names(folder: Path, walked: WalkedFolder, folders: Sequence[Folders], options: FolderOptions) -> ImageTable:
    assert options.pattern is not None
    level, splits = recognise_splits(folders, strict=False)
    paths, words = [], []
    for file, inside in zip(walked.files, folders, strict=True):
        if splits and (len(inside) <= level or inside[level] not in splits):
            walked.leave_out("images in no folder of a split", file)
            continue
        paths.append(file)
        words.append(splits[inside[level]] if splits else ("", ""))
    columns = {"path": _text(paths), **read_names(check_pattern(options.pattern), paths)}
    notes: tuple[str, ...] = ()
    if splits:
        columns.setdefault("split", _text(split for split, _ in words))
        columns.setdefault("role", _text(role for _, role in words))
        told = ", ".join(f"{name}/ ({' '.join(filter(None, word))})" for name, word in splits.items())
        notes = (f"its folders are splits: {told}",)
    return image_table(str(folder), columns, _row_options(options), notes=notes, left_out=walked.left_out)


def _row_options(options: FolderOptions) -> TableOptions:
    return TableOptions(drop_unlabelled=options.drop_unlabelled, ignore_labels=options.ignore_labels)


def _text(values: object) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.large_string())])
