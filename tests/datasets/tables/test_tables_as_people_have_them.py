"""Tables and lists in the forms in which people have them, each read by arguments alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from metricforge.cli.main import main
from metricforge.datasets import TableDataset
from metricforge.doctor import collection_of_table
from metricforge.errors import DatasetError
from metricforge.structures import Role

ROWS = [("a/1.png", "ant"), ("a/2.png", "ant"), ("b/1.png", "bee"), ("b/2.png", "bee"), ("c/1.png", "cat"),
        ("c/2.png", "cat"), ("d/1.png", "dog"), ("d/2.png", "dog")]  # fmt: skip


@pytest.fixture
def pictures(tmp_path):
    for number, (path, _) in enumerate(ROWS):
        save(tmp_path / path, number)
    return tmp_path


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def listed(dataset: TableDataset) -> list[tuple[str, str]]:
    names = [dataset.class_names[label] for label in dataset.labels]
    return list(zip(dataset.files, names, strict=True))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", ", ", " ; ", "; "])
@pytest.mark.parametrize("name", ["t.csv", "t.txt"])
def test_the_delimiter_is_found_out_and_blanks_around_it_do_not_count(pictures, name, mark):
    lines = [mark.join(row) for row in [("Path", "Label"), *ROWS]]
    (pictures / name).write_text("\n".join(lines) + "\n")
    assert [(path, label.strip()) for path, label in listed(TableDataset(pictures / name, split="all"))] == ROWS


@pytest.mark.parametrize(
    ("name", "mark"), [("t.tsv", "\t"), ("t.txt", " "), ("t.txt", "   "), ("t.lst", "\t"), ("t.csv", ";")]
)
def test_a_list_without_a_header_is_read_by_the_numbers_of_its_columns(pictures, name, mark):
    (pictures / name).write_text("\n".join(mark.join((str(i), *row)) for i, row in enumerate(ROWS)))
    assert listed(TableDataset(pictures / name, split="all", columns=dict(path=1, label=2))) == ROWS
    with pytest.raises(DatasetError, match=r"has no column 7; its 3 columns count from 0"):
        TableDataset(pictures / name, columns=dict(path=1, label=7))
    with pytest.raises(DatasetError, match=r"by number where there is no header: columns=dict\(path=0, label=1\)"):
        TableDataset(pictures / name)


def test_a_header_is_no_image_where_columns_are_told_by_number(pictures):
    (pictures / "t.csv").write_text("\n".join(",".join(row) for row in [("file", "kind"), *ROWS]))
    with pytest.raises(DatasetError, match=r"first row \(file\) looks like a header.*dict\(path=\"file\""):
        TableDataset(pictures / "t.csv", columns=dict(path=0, label=1))


def test_names_and_numbers_of_columns_do_not_mix_and_delimiters_are_one_character(pictures):
    for arguments, complaint in (
        (dict(columns=dict(path=0, label="kind")), "all names .* or all numbers"),
        (dict(columns=dict(path=-1, label=1)), "numbers from 0 on"),
        (dict(delimiter=";;"), "one character"),
        (dict(ignore_labels="ant"), "list of labels"),
        (dict(path_template="no column"), "must name a column in braces"),
        (dict(pattern="(?P<name>x)"), "must name a group label"),
        (dict(pattern="("), "is not a regular expression"),
    ):
        (pictures / "t.csv").write_text("path,label\n" + "\n".join(",".join(row) for row in ROWS))
        with pytest.raises(ValueError, match=complaint):
            TableDataset(pictures / "t.csv", **arguments)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_the_encoding_are_no_part_of_a_table_or_a_class_file(pictures, encoding):
    lines = [",".join(row) for row in [("path", "label"), *ROWS]]
    (pictures / "t.csv").write_text("\n".join(lines), encoding=encoding)
    (pictures / "classes.txt").write_text("ant\ndog\n", encoding="utf-8-sig")
    table = TableDataset(pictures / "t.csv", train_classes=pictures / "classes.txt")
    assert table.class_names == ("ant", "dog")


def test_quoted_cells_may_hold_delimiters_and_lines_also_after_blanks(pictures):
    (pictures / "t.csv").write_text("path, label\n" + "\n".join(f'{path}, "{label}, grey"' for path, label in ROWS))
    assert TableDataset(pictures / "t.csv").class_names == ("ant, grey", "bee, grey")
    (pictures / "t.csv").write_text("path,title,label\n" + "\n".join(f'{p},"two\nlines",{label}' for p, label in ROWS))
    assert listed(TableDataset(pictures / "t.csv", split="all")) == ROWS


@pytest.mark.parametrize(
    ("words", "second"),
    [
        (("Train", "Validation"), "val"),
        (("TRAIN", "val"), "val"),
        (("training", "Test"), "test"),
        (("train ", "dev"), "val"),
    ],
)
def test_splits_are_understood_in_the_words_people_have_for_them(pictures, words, second):
    rows = [f"{path},{label},{words[label > 'bee']}" for path, label in ROWS]
    (pictures / "t.csv").write_text("path,label,split\n" + "\n".join(rows))
    assert TableDataset(pictures / "t.csv").class_names == ("ant", "bee")
    assert TableDataset(pictures / "t.csv", split=second).class_names == ("cat", "dog")
    test = TableDataset(pictures / "t.csv", split="test")
    assert test.class_names == ("cat", "dog")
    assert test.notes == (("there is no test split, so the val split is the test",) if second == "val" else ())


def test_query_and_gallery_are_the_two_roles_of_a_test(pictures):
    words = ["train"] * 4 + ["Query", "Gallery"] * 2
    rows = [f"{path},{label},{word}" for (path, label), word in zip(ROWS, words, strict=True)]
    (pictures / "t.csv").write_text("path,label,split\n" + "\n".join(rows))
    assert TableDataset(pictures / "t.csv").roles is None
    assert TableDataset(pictures / "t.csv", split="test").roles.tolist() == [Role.QUERY, Role.GALLERY] * 2


def test_flags_say_what_is_searched_with_and_found(pictures):
    flags = [("", "")] * 4 + [("True", "False"), ("false", "1"), ("1.0", "TRUE"), ("0", "False")]
    rows = [
        f"{p},{label},{'train' if not q else 'validation'},{q},{g}"
        for (p, label), (q, g) in zip(ROWS, flags, strict=True)
    ]
    (pictures / "t.csv").write_text("path,label,split,is_query,is_gallery\n" + "\n".join(rows))
    test = TableDataset(pictures / "t.csv", split="test")
    assert test.roles.tolist() == [Role.QUERY, Role.GALLERY, Role.BOTH]
    assert any("1 junk images, neither searched with nor found: d/2.png" in note for note in test.notes)
    (pictures / "t.csv").write_text("path,label,is_query\n" + "\n".join(f"{p},{label},maybe" for p, label in ROWS))
    with pytest.raises(DatasetError, match="row 1: is_query must be true or false, got 'maybe'"):
        TableDataset(pictures / "t.csv", split="test")


EMPTY = {"nothing": "", "blanks": "   ", "quotes": '""', "quoted blanks": '"  "', "NaN": "NaN", "nan": " nan"}


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("column", ["label", "group"])
def test_an_empty_label_is_no_class(pictures, empty, column):
    rows = [(path, label, "g") for path, label in ROWS]
    for number in (1, 2, 5):
        rows[number] = (rows[number][0], empty, "g") if column == "label" else (*rows[number][:2], empty)
    (pictures / "t.csv").write_text("path,label,group\n" + "\n".join(",".join(row) for row in rows))
    with pytest.raises(DatasetError, match=rf"3 of 8 rows have no {column} \(rows 2, 3, 6, such as a/2\.png\)"):
        TableDataset(pictures / "t.csv")
    with pytest.raises(DatasetError, match="drop_unlabelled=True"):
        collection_of_table(pictures / "t.csv")
    kept = TableDataset(pictures / "t.csv", split="all", drop_unlabelled=True)
    assert listed(kept) == [row for number, row in enumerate(ROWS) if number not in (1, 2, 5)]
    assert kept.notes == (f"left out: 3 rows without a {column}: a/2.png, b/1.png, c/2.png",)


@pytest.mark.parametrize(
    "labels",
    [
        ["x", "x", "y", "y", "", None, " ", "z"],
        pa.array([1.0, 1.0, 2.0, 2.0, float("nan"), None, None, 3.0]),
        pa.array([1, 1, 2, 2, None, None, None, 3]),
        pa.array(["x", "x", "y", "y", "", None, "\t", "z"]).dictionary_encode(),
    ],
    ids=["text", "floats", "integers", "dictionary"],
)
def test_an_empty_label_of_a_parquet_table_is_no_class(pictures, labels):
    parquet.write_table(pa.table({"path": [path for path, _ in ROWS], "label": labels}), pictures / "t.parquet")
    with pytest.raises(DatasetError, match=r"3 of 8 rows have no label \(rows 5, 6, 7, such as c/1\.png\)"):
        TableDataset(pictures / "t.parquet")
    kept = TableDataset(pictures / "t.parquet", split="all", drop_unlabelled=True)
    assert kept.labels.tolist() == [0, 0, 1, 1, 2]
    assert kept.class_names in (("x", "y", "z"), ("1", "2", "3"))


def test_labels_to_leave_out_are_left_out_and_told(pictures):
    (pictures / "t.csv").write_text("path,label\n" + "\n".join(",".join(row) for row in ROWS))
    kept = TableDataset(pictures / "t.csv", split="all", ignore_labels=["bee", "dog"])
    assert kept.class_names == ("ant", "cat")
    assert kept.notes == ("left out: 4 images of the labels bee, dog: b/1.png, b/2.png, d/1.png, d/2.png",)
    with pytest.raises(DatasetError, match="ignore_labels names 1 labels that no row has: new_whale; it has ant, bee"):
        TableDataset(pictures / "t.csv", ignore_labels=["new_whale"])


def test_one_file_written_in_two_ways_is_one_file(pictures):
    twice = [("./a/1.png", "ant"), (f"{pictures}/a/2.png", "ant"), ("b//1.png", "bee"), ("b\\2.png", "bee"),
             ("a/../c/1.png", "cat"), ("./c/./2.png", "cat"), *ROWS[6:]]  # fmt: skip
    (pictures / "t.csv").write_text("path,label\n" + "\n".join(",".join(row) for row in twice))
    assert listed(TableDataset(pictures / "t.csv", split="all")) == ROWS
    for again in ("a/1.png", f"{pictures}/./b/1.png", "c/../b/2.png"):
        (pictures / "t.csv").write_text("path,label\n" + "\n".join(",".join(row) for row in [*twice, (again, "dog")]))
        with pytest.raises(DatasetError, match="1 paths stand more than once"):
            TableDataset(pictures / "t.csv")


def test_a_kaggle_table_of_images_and_ids(pictures):
    rows = [f"{path.replace('/', '_')},{label if i else 'new_whale'}" for i, (path, label) in enumerate(ROWS)]
    for number, (path, _) in enumerate(ROWS):
        save(pictures / "train" / path.replace("/", "_"), number)
    (pictures / "train.csv").write_text("Image,Id\n" + "\n".join(rows))
    dataset = TableDataset(
        pictures / "train.csv", pictures / "train", split="all", columns=dict(path="Image", label="Id"),
        ignore_labels=["new_whale"],
    )  # fmt: skip
    assert len(dataset) == 7
    assert dataset[0]["image"].shape == (3, 40, 40)


def test_hotels_landmarks_and_shops_by_a_template_an_extension_or_columns(pictures):
    rows = [(f"{i:04x}abcd", label) for i, (_, label) in enumerate(ROWS)]
    for number, (name, label) in enumerate(rows):
        for path in (f"{label}/{name}.jpg", f"{name[0]}/{name[1]}/{name[2]}/{name}.jpg", f"shop/{name}.jpg"):
            save(pictures / path, number)
    text = "\n".join(f"{name},{label},2020-01-01" for name, label in rows)
    (pictures / "hotels.csv").write_text("image,hotel_id,timestamp\n" + text)
    (pictures / "landmarks.csv").write_text("id,landmark_id,url\n" + text)
    (pictures / "shop.csv").write_text(
        "posting_id,image,title,label_group\n" + "\n".join(f'x,{n}.jpg,"a, b",{label}' for n, label in rows)
    )
    hotels = TableDataset(
        pictures / "hotels.csv", columns=dict(label="hotel_id"), path_template="{hotel_id}/{image}", extension="jpg"
    )
    landmarks = TableDataset(
        pictures / "landmarks.csv",
        columns=dict(label="landmark_id"),
        path_template="{id[0]}/{id[1]}/{id[2:3]}/{id}.jpg",
    )
    shop = TableDataset(pictures / "shop.csv", pictures / "shop", columns=dict(path="image", label="label_group"))
    ids = TableDataset(
        pictures / "landmarks.csv", pictures / "shop", columns=dict(path="id", label="landmark_id"), extension=".jpg"
    )
    for dataset in (hotels, landmarks, shop, ids):
        assert dataset.class_names == ("ant", "bee")
        assert dataset[3]["image"].shape == (3, 40, 40)
    assert landmarks.files[3] == "0/0/0/0003abcd.jpg"
    with pytest.raises(DatasetError, match="has no column 'hash'"):
        TableDataset(pictures / "landmarks.csv", columns=dict(label="landmark_id"), path_template="{hash}.jpg")


def test_a_list_of_names_says_person_and_camera_by_a_pattern(pictures):
    names = [f"{person:04d}_c{camera:03d}_{i:08d}_0.jpg" for i, (person, camera) in enumerate(
        [(1, 1), (1, 2), (2, 1), (2, 3), (5, 1), (5, 2), (9, 3), (9, 1)])]  # fmt: skip
    for number, name in enumerate(names):
        save(pictures / "image_train" / name, number)
    (pictures / "name_train.txt").write_text("\n".join(names) + "\n")
    dataset = TableDataset(
        pictures / "name_train.txt", pictures / "image_train", columns=dict(path=0),
        pattern=r"(?P<label>\d+)_c(?P<camera>\d+)",
    )  # fmt: skip
    assert dataset.class_names == ("0001", "0002")
    assert [dataset.camera_names[camera] for camera in dataset.cameras] == ["001", "002", "001", "003"]


def test_the_doctor_takes_the_same_options_and_tells_labels_that_differ_in_blanks(pictures, tmp_path, capsys):
    rows = [f"{path};{label} " if path == "a/2.png" else f"{path};{label}" for path, label in ROWS]
    (pictures / "t.csv").write_text("file;kind\n" + "\n".join([*rows, "x.png;junk", "y.png; "]))
    options = ["--columns", "path=file", "label=kind", "--ignore-labels", "junk", "--drop-unlabelled"]
    with pytest.raises(SystemExit):
        main(["data", "check", str(pictures / "t.csv"), *options, "--out", str(tmp_path / "out"), "--workers", "1"])
    said = capsys.readouterr().out
    assert "8 images of 5 classes" in said
    assert "1 rows without a label: y.png" in said
    assert "1 images of the labels junk: x.png" in said
    assert "labels that look alike" in said
    assert "'ant' and 'ant '" in said
    found = (tmp_path / "out" / "findings.csv").read_text()
    assert "rows without a label,no,,y.png" in found
