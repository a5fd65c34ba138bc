from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from metricforge.datasets import TableDataset
from metricforge.errors import DatasetError, UnreadableImageError
from metricforge.registry import DATASETS
from metricforge.structures import Role

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fox"]
COLUMNS = {
    "path": [f"pictures/{name}{i}.png" for name in CLASSES for i in range(2)],
    "label": [name for name in CLASSES for _ in range(2)],
}


@pytest.fixture
def write(tmp_path):
    """Writes a table with these columns, as CSV or Parquet, and the pictures that it lists."""

    def write(columns, kind="csv", name="animals") -> Path:
        for number, path in enumerate(columns.get("path", [])):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            Image.new("L", (9, 7), number).save(tmp_path / path)
        file = tmp_path / f"{name}.{kind}"
        if kind == "parquet":
            parquet.write_table(pa.table(columns), file)
        else:
            rows = zip(*columns.values(), strict=True)
            text = ["" if value is None else value for row in rows for value in row]
            lines = [",".join(map(str, text[i : i + len(columns)])) for i in range(0, len(text), len(columns))]
            file.write_text("\n".join([",".join(columns), *lines]) + "\n")
        return file

    return write


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_become_images_in_the_table_s_order_and_half_of_the_classes_train(write, kind):
    shuffled = np.random.default_rng(0).permutation(12)
    table = write({name: [values[i] for i in shuffled] for name, values in COLUMNS.items()}, kind)
    train, test = TableDataset(table), TableDataset(table, split="test")
    assert train.class_names == ("ant", "bee", "cat")
    assert test.class_names == ("dog", "eel", "fox")
    for dataset, first in ((train, 0), (test, 3)):
        of_class = [int(i) // 2 - first for i in shuffled if 0 <= i // 2 - first < 3]
        assert dataset.labels.tolist() == of_class
        for i, number in enumerate(int(i) for i in shuffled if 0 <= i // 2 - first < 3):
            written_as = int(np.flatnonzero(shuffled == number)[0])
            assert dataset[i]["image"][0, 0, 0] == written_as
    assert train.describe() == "animals train: 6 images of 3 classes"


@pytest.mark.skipif(sys.platform != "linux", reason="named pipes, /dev/zero")
def test_a_row_that_names_a_pipe_or_a_device_is_refused_by_its_path_and_never_waited_for(write, tmp_path):
    table = write(COLUMNS)
    dataset = TableDataset(table)
    pipe, device = tmp_path / "pictures" / "bee0.png", "/dev/zero"
    pipe.unlink()
    os.mkfifo(pipe)
    with pytest.raises(DatasetError, match=rf"1 of 6 images .* are not there, such as {pipe};"):
        TableDataset(table)
    table.write_text(table.read_text().replace("pictures/ant1.png", device))
    with pytest.raises(DatasetError, match=rf"2 of 6 images .* are not there, such as {device};"):
        TableDataset(table)
    # of a long table not every row is looked for before it is read
    dataset.files = type(dataset.files)([device, COLUMNS["path"][2], *COLUMNS["path"][2:6]])
    for index, (file, kind) in enumerate(((device, "a device"), (pipe, "a named pipe"))):
        with pytest.raises(
            UnreadableImageError, match=rf"^{file} cannot be read as an image \(it is {kind}, not a file"
        ):
            dataset[index]


def test_the_fingerprint_follows_the_labels_and_the_paths_of_the_rows(write):
    label = [*COLUMNS["label"][:1], "bee", "ant", *COLUMNS["label"][3:]]  # as many of each class
    path = [*COLUMNS["path"][:1], "pictures/other.png", *COLUMNS["path"][2:]]
    tables = [
        write(COLUMNS | change, name=f"table{i}") for i, change in enumerate(({}, {"label": label}, {"path": path}))
    ]
    fingerprints = [TableDataset(table).fingerprint() for table in (*tables, write(COLUMNS))]
    assert len({*fingerprints}) == 3
    assert fingerprints[3] == fingerprints[0]


def test_a_split_column_decides_where_no_fraction_is_given(write):
    table = write(COLUMNS | {"split": ["train"] * 4 + ["val"] * 4 + ["test"] * 4})
    for split, names in (("train", ("ant", "bee")), ("val", ("cat", "dog")), ("test", ("eel", "fox"))):
        assert TableDataset(table, split=split).class_names == names
    assert len(TableDataset(table, split="all")) == 12
    assert TableDataset(table, train_fraction=0.67).class_names == ("ant", "bee", "cat", "dog")
    assert TableDataset(table, train_classes=["fox", "ant"]).class_names == ("ant", "fox")


def test_a_class_in_two_splits_is_refused_unless_asked_for(write):
    table = write(COLUMNS | {"split": ["train"] * 5 + ["test"] * 7})
    with pytest.raises(DatasetError, match=r"1 of 6 classes .* more than one split \(cat; 3 in train, 4 in test\)"):
        TableDataset(table)
    assert TableDataset(table, shared_classes=True).class_names == ("ant", "bee", "cat")
    assert TableDataset(table, split="test", shared_classes=True).class_names == ("cat", "dog", "eel", "fox")


def test_folds_validate_every_training_class_once_and_never_touch_the_test(write):
    for extra in ({}, {"split": ["train"] * 8 + ["test"] * 4}):
        table = write(COLUMNS | extra)
        fraction = None if extra else 2 / 3
        validated = []
        for fold in range(2):
            arguments = dict(folds=2, fold=fold, train_fraction=fraction)
            train, val, test = (TableDataset(table, split=s, **arguments) for s in ("train", "val", "test"))
            assert not set(train.class_names) & set(val.class_names)
            assert {*train.class_names, *val.class_names} == {"ant", "bee", "cat", "dog"}
            assert test.class_names == ("eel", "fox")
            validated += val.class_names
        assert sorted(validated) == ["ant", "bee", "cat", "dog"]


def test_folds_of_all_classes_leave_no_test(write):
    table = write(COLUMNS)
    assert TableDataset(table, split="val", train_fraction=1, folds=3, fold=2).class_names == ("eel", "fox")
    with pytest.raises(DatasetError, match=r"test split of .* has 0 of its 6 classes"):
        TableDataset(table, split="test", train_fraction=1, folds=3, fold=2)


def test_whole_numbers_in_parquet_are_ordered_by_value(write):
    labels = [10, 10, 9, 9, 100, 100, 2, 2, 1, 1, 30, 30]
    table = write({"path": COLUMNS["path"], "label": labels, "group": [label // 10 for label in labels]}, "parquet")
    dataset = TableDataset(table, split="all")
    assert dataset.class_names == ("1", "2", "9", "10", "30", "100")
    assert dataset.labels.tolist() == [3, 3, 2, 2, 5, 5, 1, 1, 0, 0, 4, 4]
    assert dataset.group_names == ("0", "1", "3", "10")
    assert dataset.groups.tolist() == [1, 1, 0, 0, 3, 3, 0, 0, 0, 0, 2, 2]


def test_a_dictionary_encoded_table_is_read_as_a_plain_one(write):
    columns = {name: pa.array(values).dictionary_encode() for name, values in COLUMNS.items()}
    plain = TableDataset(write(COLUMNS, "parquet"), split="all")
    file = plain.root / "animals.parquet"
    parquet.write_table(pa.table(columns), file)
    encoded = TableDataset(file, split="all")
    assert encoded.files[:] == plain.files[:]
    assert encoded.fingerprint() == plain.fingerprint()


def test_roles_are_for_the_test_alone_and_empty_means_both(write):
    table = write(COLUMNS | {"role": ["query"] * 6 + ["query", "gallery", "both", None, "query", "gallery"]})
    assert TableDataset(table).roles is None
    assert TableDataset(table, split="test").roles.tolist() == [
        Role.QUERY, Role.GALLERY, Role.BOTH, Role.BOTH, Role.QUERY, Role.GALLERY,
    ]  # fmt: skip
    wrong = write(COLUMNS | {"role": ["probe"] * 12})
    with pytest.raises(DatasetError, match=r"role must be query, gallery, both, junk or empty, got \['probe'\]"):
        TableDataset(wrong, split="test")


def test_boxes_crop_where_they_are_asked_for(write):
    boxes = {"left": [1] * 12, "top": [2.0] * 12, "right": [5] * 12, "bottom": [4] * 12}
    table = write(COLUMNS | boxes)
    assert TableDataset(table, crop=True)[0]["image"].shape == (3, 2, 4)
    assert TableDataset(table)[0]["image"].shape == (3, 7, 9)
    assert TableDataset(table, crop=True).fingerprint() != TableDataset(table).fingerprint()
    with pytest.raises(DatasetError, match="has no columns left, top, right, bottom to crop to"):
        TableDataset(write(COLUMNS, name="plain"), crop=True)
    holed = write(COLUMNS | boxes | {"left": [None] + [1] * 11}, name="holed")
    with pytest.raises(DatasetError, match="1 rows have no left"):
        TableDataset(holed, crop=True)


def test_columns_of_other_names_are_told(write):
    table = write({"file": COLUMNS["path"], "path": COLUMNS["path"], "product": COLUMNS["label"]})
    renamed = TableDataset(table, columns=dict(path="file", label="product"))
    assert renamed.class_names == ("ant", "bee", "cat")
    with pytest.raises(DatasetError, match=r"has no column 'label'; it has file, path, product; name those"):
        TableDataset(table)
    with pytest.raises(DatasetError, match="has no column 'fold'"):
        TableDataset(table, columns=dict(label="product", split="fold"))
    with pytest.raises(ValueError, match=r"columns must be among path, label, .* got labels"):
        TableDataset(table, columns=dict(labels="product"))


def test_a_path_that_stands_twice_is_named_with_its_labels(write):
    table = write({"path": [*COLUMNS["path"], "pictures/bee0.png"], "label": [*COLUMNS["label"], "fox"]})
    with pytest.raises(
        DatasetError, match=r"1 paths stand more than once, such as pictures/bee0\.png with .* bee, fox"
    ):
        TableDataset(table)


def test_a_row_without_a_label_is_named(write):
    table = write({"path": COLUMNS["path"], "label": [*COLUMNS["label"][:-1], None]}, "parquet")
    with pytest.raises(
        DatasetError, match=r"1 of 12 rows have no label \(rows 12, such as pictures/fox1\.png\).* drop_unlabelled=True"
    ):
        TableDataset(table)


def test_a_split_that_is_none_is_named_with_its_row(write):
    with pytest.raises(DatasetError, match="row 3: split 'held out' must be train, val or test"):
        TableDataset(write(COLUMNS | {"split": ["train", "train", "held out"] + ["test"] * 9}))


def test_images_that_are_not_where_the_table_says_are_seen_at_once(write, tmp_path):
    table = write(COLUMNS)
    with pytest.raises(DatasetError, match=r"6 of 6 images .* are not there, such as .*elsewhere/pictures/ant0\.png"):
        TableDataset(table, root=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.csv", None, "does not exist"),
        ("t.xlsx", b"path,label\n", r"must end in \.parquet, \.csv, \.tsv, \.txt or \.lst"),
        ("t.csv", b"path,label\n", "has no row"),
        ("t.csv", b"path,label\na,b\nc\n", "cannot be read as a table"),
        ("t.parquet", b"PAR1 or not", "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path, name, content, complaint):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=complaint):
        TableDataset(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (dict(split="dev"), "got 'dev'"),
        (dict(split="val"), r'split "val" is one part .* folds=4, fold=0'),
        (dict(folds=3), "folds and fold go together, got folds=3, fold=None"),
        (dict(folds=1, fold=0), r"folds \(1\) must be at least 2"),
        (dict(folds=3, fold=3), r"fold \(3\) in 0\.\.folds-1"),
        (dict(split="val", folds=10**12, fold=10**12 - 1), r"val split .* has 0 of its 6 classes"),
        (dict(train_fraction=1), r"train_fraction must be between 0 and 1.* got 1"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(write, arguments, complaint):
    with pytest.raises((ValueError, DatasetError), match=complaint):
        TableDataset(write(COLUMNS), **arguments)


def test_paths_take_no_python_object_a_row(write):
    table = write(COLUMNS)
    files = TableDataset(table, split="all").files
    assert files.array.nbytes < 400
    assert (files[-1], files[2:4]) == ("pictures/fox1.png", ("pictures/bee0.png", "pictures/bee1.png"))


def test_a_config_builds_it(write):
    cfg = dict(
        type="TableDataset", table=str(write(COLUMNS)), split="test", transform=[dict(type="Resize", size=[3, 3])]
    )
    assert DATASETS.build(cfg)[0]["image"].shape == (3, 3, 3)
