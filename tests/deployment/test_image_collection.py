from __future__ import annotations

import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from metricforge.deployment.image_collection import ImageCollection, open_collection
from metricforge.errors import DatasetError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"picture")


def test_a_folder_of_classes_has_labels(tmp_path):
    _touch(tmp_path, "b/2.jpg", "a/x/1.PNG", "a/.hidden.png", ".git/a.png", "a/notes.txt")
    images = open_collection(tmp_path)
    assert list(images.paths) == ["a/x/1.PNG", "b/2.jpg"]
    assert images.labels is not None
    assert images.labels.to_pylist() == ["a", "b"]
    assert images.location(0) == str(tmp_path / "a/x/1.PNG")


def test_a_flat_folder_has_none(tmp_path):
    _touch(tmp_path, "2.jpg", "1.jpg", "more/3.jpg")
    images = open_collection(tmp_path)
    assert list(images.paths) == ["1.jpg", "2.jpg", "more/3.jpg"]
    assert images.labels is None


def test_a_glob_chooses(tmp_path):
    _touch(tmp_path, "2024/1.jpg", "2024/2.png", "2025/3.jpg")
    assert list(open_collection(tmp_path, glob="2024/*.jpg").paths) == ["2024/1.jpg"]
    with pytest.raises(DatasetError, match=r"none of the 3 images .* matches --glob \*\.gif"):
        open_collection(tmp_path, glob="*.gif")


@pytest.mark.parametrize("name", ["table.csv", "table.tsv", "table.parquet"])
def test_a_table_keeps_its_columns(tmp_path, name):
    columns = {"path": ["a.jpg", "b, c.jpg"], "label": ["x", "y"], "price": [1.5, 2.0]}
    if name.endswith("parquet"):
        parquet.write_table(pa.table(columns), tmp_path / name)
    else:
        mark = "\t" if name.endswith("tsv") else ","
        rows = [mark.join(columns), mark.join(["a.jpg", "x", "1.5"]), mark.join(['"b, c.jpg"', "y", "2.0"])]
        (tmp_path / name).write_text("\n".join(rows) + "\n")
    images = open_collection(tmp_path / name)
    assert images.table.to_pydict() == columns
    assert images.location(1) == str(tmp_path / "b, c.jpg")


def test_columns_become_what_a_filter_reads_and_python_has(tmp_path):
    columns = {
        "path": ["a.jpg", "b.jpg"],
        "sold": pa.array([1_001, 2_002], pa.timestamp("ns", "UTC")),
        "opens": pa.array([1_001, 2_002], pa.time64("ns")),
        "takes": pa.array([1_001, 2_002], pa.duration("ns")),
        "name": pa.array(["x", "y"], pa.string_view()),
        "kind": pa.array(["x", "y"]).dictionary_encode(),
        "kinds": pa.array([["x"], ["y"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        "visits": pa.array([[1_001], [2_002]], pa.list_(pa.timestamp("ns"))),
        "pair": pa.array([[1_001], [2_002]], pa.list_(pa.time64("ns"), 1)),
        "box": pa.array([{"names": ["x"]}, {"names": ["y"]}], pa.struct([("names", pa.large_list(pa.string_view()))])),
        "by": pa.array([[("x", 1_001)], [("y", 2_002)]], pa.map_(pa.string(), pa.duration("ns"))),
    }
    parquet.write_table(pa.table(columns), tmp_path / "table.parquet")
    images = open_collection(tmp_path / "table.parquet")
    assert images.table.schema.field("kind").type == images.table.schema.field("kinds").type.value_type == pa.string()
    rows = images.rows([1]).to_pylist()[0]
    assert rows["sold"].microsecond == rows["opens"].microsecond == rows["takes"].microseconds == 2
    assert rows["visits"][0].microsecond == rows["pair"][0].microsecond == rows["by"][0][1].microseconds == 2
    assert rows["name"] == rows["box"]["names"][0] == rows["by"][0][0] == "y"


@pytest.mark.parametrize("kind", [pa.decimal256(50, 2), pa.list_view(pa.timestamp("ns"))], ids=str)
def test_a_column_that_nothing_reads_is_named(kind, tmp_path):
    column = pa.nulls(2, kind)
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "price": column}), tmp_path / "table.parquet")
    with pytest.raises(DatasetError, match=r"column price is .* leave it out or convert it"):
        open_collection(tmp_path / "table.parquet")


@pytest.mark.parametrize("label", [["x", "y"], {"name": "x"}], ids=["list", "struct"])
def test_a_label_of_several_values_is_refused(label, tmp_path):
    parquet.write_table(pa.table({"path": ["a.jpg"], "label": [label]}), tmp_path / "table.parquet")
    with pytest.raises(DatasetError, match=r"column label is .*, and the label of an image is one value; rename"):
        open_collection(tmp_path / "table.parquet")


@pytest.mark.parametrize("labels", [["", "nan", "a", " "], [None, "NaN", "a", None], [float("nan"), None, 1.0, None]])
def test_what_is_no_label_is_null(tmp_path, labels):
    parquet.write_table(pa.table({"path": list("abcd"), "label": labels}), tmp_path / "table.parquet")
    found = open_collection(tmp_path / "table.parquet").labels
    assert found is not None
    assert [label is None for label in found.to_pylist()] == [True, True, False, True]


def test_a_part_of_a_tar_shard_is_read_out_of_it(tmp_path):
    _touch(tmp_path, "cat/1.jpg")
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(tmp_path / "cat/1.jpg", "cat/1.jpg")
    with tarfile.open(tmp_path / "shard.tar") as shard:
        offset = shard.getmember("cat/1.jpg").offset_data
    (tmp_path / "index.csv").write_text(f"path,label\nshard.tar@{offset}+7/cat/1.jpg,cat\n")
    images = open_collection(tmp_path / "index.csv")
    assert images.image(0) == b"picture"
    assert images.location(0) == f"{tmp_path}/shard.tar@{offset}+7/cat/1.jpg"
    assert images.rows([0]).to_pylist() == [{"path": images.location(0), "label": "cat"}]


def test_where_an_image_is_stored_follows_from_nothing_but_the_collection(tmp_path):
    paths = ["s3://bucket/a.tar@512+7/a.jpg", "b.tar@512+7/b.jpg", "c.jpg", "/d.tar@512+7/d.jpg"]
    (tmp_path / "table.csv").write_text("\n".join(["path", *paths]))
    images = open_collection(tmp_path / "table.csv")
    stored = [paths[0], f"{tmp_path}/{paths[1]}", f"{tmp_path}/c.jpg", paths[3]]
    assert [images.location(number) for number in range(4)] == stored
    remote = ImageCollection("", "https://host/data/", images.paths, images.table)
    assert [remote.location(n) for n in (1, 2)] == [f"https://host/data/{paths[1]}", "https://host/data/c.jpg"]


def test_a_list_has_one_path_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = open_collection("-", lines=["a.jpg\n", "\n", "/b c.jpg\n", "s3://bucket/d.jpg"])
    assert [images.location(n) for n in range(3)] == [str(tmp_path / "a.jpg"), "/b c.jpg", "s3://bucket/d.jpg"]


@pytest.mark.parametrize(
    ("content", "told"),
    [("file\na.jpg\n", "has no column path"), ("path\n", "has no image"), ("path,x\na,1\n,2\n", "1 rows have no path")],
)
def test_a_table_that_is_none_is_told(tmp_path, content, told):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(DatasetError, match=told):
        open_collection(tmp_path / "table.csv")


@pytest.mark.parametrize("source", ["absent", "file.doc", "empty"])
def test_what_is_no_source_is_told(tmp_path, source):
    (tmp_path / "file.doc").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="expected: a folder of images, a table"):
        open_collection(tmp_path / source)


def test_an_image_is_stored_under_one_path_from_whatever_folder_it_is_named(tmp_path, monkeypatch):
    _touch(tmp_path, "photos/cat/1.jpg")
    (tmp_path / "table.csv").write_text("path\nphotos/cat/1.jpg\n")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    (tmp_path / "here" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deep")
    assert open_collection("../../photos").location(0) == str(tmp_path / "photos/cat/1.jpg")
    assert open_collection("../../table.csv").location(0) == str(tmp_path / "photos/cat/1.jpg")
    assert open_collection("-", lines=["../../photos/cat/1.jpg"]).location(0) == str(tmp_path / "photos/cat/1.jpg")
    assert open_collection("../../link").location(0) == str(tmp_path / "link/cat/1.jpg")
