"""The index of tar shards that training reads."""

from __future__ import annotations

import json
import tarfile

import fsspec
import pytest
import torch
from pyarrow import parquet

from metricforge.cli.main import main
from metricforge.datasets import ImageFolderDataset, ShardDataset
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import DatasetError
from metricforge.preparation import expand_shards, index_shards


def stored(dataset):
    """The content of each image's file."""
    return [dataset.reader.read(ShardPart.parse(file)) for file in dataset.files]


def test_a_pattern_stands_for_the_shards_far_away_that_it_matches(shards, tmp_path, capsys):
    far = fsspec.filesystem("memory")
    for shard in shards:
        far.pipe(f"/matched/{shard.name}", shard.read_bytes())
    far.pipe("/matched/other.tar", b"")
    main(["data", "index", "memory://matched/train-*.tar", "--out", str(tmp_path / "far.parquet")])
    assert f"in {len(shards)} shards" in capsys.readouterr().out
    index_shards([f"memory://matched/{shard.name}" for shard in shards], tmp_path / "named.parquet")
    matched, named = (ShardDataset(tmp_path / name, split="all") for name in ("far.parquet", "named.parquet"))
    assert [item["label"] for item in matched] == [item["label"] for item in named]
    assert all(torch.equal(ours["image"], theirs["image"]) for ours, theirs in zip(matched, named, strict=True))
    assert expand_shards(["memory://matched/none.tar", "here/*.tar"]) == ["memory://matched/none.tar", "here/*.tar"]
    with pytest.raises(DatasetError, match=r"no shard matches memory://matched/test-\*\.tar; check the name"):
        expand_shards(["memory://matched/test-*.tar"])
    with pytest.raises(DatasetError, match=r"nothing://a/\*\.tar cannot be read \(ValueError: Protocol not known"):
        expand_shards(["nothing://a/*.tar"])
    far.rm("/matched", recursive=True)


def test_classes_may_stand_in_json_files(pack, tmp_path):
    samples = [
        ("a.jpg", b"1"),
        ("a.json", json.dumps({"kind": 7}).encode()),
        ("b.jpg", b"2"),
        ("b.json", b'{"kind": 8}'),
    ]
    shard = pack(tmp_path / "s.tar", samples)
    assert index_shards([str(shard)], tmp_path / "i.parquet", "kind") == (2, 2, 0)
    table = parquet.read_table(tmp_path / "i.parquet").to_pydict()
    assert table["label"] == [7, 8]
    part = ShardPart.parse(table["path"][1])
    assert (part.shard, part.name) == ("s.tar", "b.jpg")
    assert shard.read_bytes()[part.offset : part.offset + part.size] == b"2"


@pytest.mark.parametrize(
    ("samples", "key", "message"),
    [
        ([("a.jpg", b"1"), ("a.cls", b"0"), ("b.jpg", b"2")], None, r"1 of 2 samples .* such as b, which has no \.cls"),
        ([("a.jpg", b"1"), ("a.cls", b"0"), ("b.cls", b"0")], None, r"1 of 2 samples .* such as b, which has no image"),
        ([("a.cls", b"0")], None, r"s\.tar holds no image: no file is called as .* such as 17\.jpg"),
        ([], None, r"s\.tar holds no image"),
        ([("a.jpg", b"1"), ("a.png", b"1"), ("a.cls", b"0")], None, r"two images of the sample a, a\.jpg and a\.png"),
        ([("a.jpg", b"1"), ("a.jpg", b"2"), ("a.cls", b"0")], None, r"two images of the sample a, a\.jpg and a\.jpg"),
        ([("a.jpg", b"1"), ("a.cls", b"0"), ("a.cls", b"1")], None, r"holds a\.cls twice"),
        ([("a.jpg", b"1"), ("a.json", b'{"kind": 1}')], "label", r"there is no 'label', its keys are kind; name it"),
        ([("a.jpg", b"1"), ("a.json", b"[2]")], "label", r"there is no 'label', it holds \[2\]"),
        ([("a.jpg", b"1"), ("a.json", b'{"label": 1.5}')], "label", r"must be text or a whole number, it is 1\.5"),
        ([("a.jpg", b"1"), ("a.json", b"{")], "label", r"a\.json of .* holds no class \(JSONDecodeError"),
        ([("a.jpg", b"1"), ("a.json", b"{}")], None, r"or if the classes are elsewhere, say so: --json-key label"),
        ([("a.jpg", b"1"), ("a.cls", b" ")], None, r"a\.cls of .* holds no class: it is empty"),
    ],
)
def test_a_shard_that_is_not_whole_is_an_error_and_leaves_no_index(pack, tmp_path, samples, key, message):
    shard = pack(tmp_path / "s.tar", samples)
    with pytest.raises(DatasetError, match=message):
        index_shards([str(shard)], tmp_path / "i.parquet", key)
    assert [file.name for file in tmp_path.iterdir()] == ["s.tar"]


def test_a_label_that_is_there_twice_a_cut_and_a_compressed_shard_are_errors(pack, shards, tmp_path):
    again = pack(tmp_path / "again.tar", [("class_0/0.png", b"1"), ("class_0/0.cls", b"other")])
    with pytest.raises(DatasetError, match=r"class_0/0\.png of .*again\.tar, with the label other, .* label class_0"):
        index_shards([*map(str, shards), str(again)], tmp_path / "i.parquet")
    shards[0].write_bytes(shards[0].read_bytes()[:5000])
    with pytest.raises(DatasetError, match=r"train-0\.tar is not a tar file, or is truncated .*\(unexpected end"):
        index_shards([str(shards[0])], tmp_path / "i.parquet")
    with tarfile.open(tmp_path / "c.tar", "w:gz") as tar:
        tar.add(shards[1])
    with pytest.raises(DatasetError, match=r"c\.tar is compressed \(gzip\).*decompress it"):
        index_shards([str(tmp_path / "c.tar")], tmp_path / "i.parquet")
    with pytest.raises(DatasetError, match=r"none\.tar does not exist"):
        index_shards([str(tmp_path / "none.tar")], tmp_path / "i.parquet")
    with pytest.raises(DatasetError, match=r"must be called \.tar: name the shards themselves"):
        index_shards([str(tmp_path)], tmp_path / "i.parquet")
    assert not (tmp_path / "i.parquet").exists()


def test_a_shard_cut_off_between_two_files_is_seen(shards, tmp_path):
    with tarfile.open(shards[0]) as tar:
        end = tar.getmembers()[10].offset
    shards[0].write_bytes(shards[0].read_bytes()[:end])
    with pytest.raises(DatasetError, match=r"train-0\.tar is truncated: it lacks tar's end mark"):
        index_shards([str(shards[0])], tmp_path / "i.parquet")


def test_a_shard_is_indexed_whole_wherever_it_is_cut_or_a_header_is_damaged_or_not_at_all(shards, tmp_path):
    whole = shards[0].read_bytes()
    with tarfile.open(shards[0]) as tar:
        headers = [member.offset for member in tar.getmembers()]
        end = tar.offset
    expected = index_shards([str(shards[0])], tmp_path / "i.parquet").images
    for cut in (*(header + more for header in headers for more in (0, 1, 100, 511)), end, end + 100):
        shards[0].write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match=r"train-0\.tar is (truncated|not a tar file, or is truncated)"):
            index_shards([str(shards[0])], tmp_path / "i.parquet")
    for header in headers[1:]:
        shards[0].write_bytes(whole[: header + 50] + b"\xff" * 10 + whole[header + 60 :])
        with pytest.raises(DatasetError, match=rf"train-0\.tar is damaged: at byte {header:,} there is neither a file"):
            index_shards([str(shards[0])], tmp_path / "i.parquet")
    shards[0].write_bytes(whole[: end + 512])  # one block of the end mark is enough
    assert index_shards([str(shards[0])], tmp_path / "i.parquet").images == expected


def test_a_name_with_a_line_break_is_found_again(pack, tmp_path):
    shard = pack(tmp_path / "s.tar", [("a\nb.jpg", b"1"), ("a\nb.cls", b"0")])
    index_shards([str(shard)], tmp_path / "i.parquet")
    assert open_collection(tmp_path / "i.parquet").image(0) == b"1"


def test_folders_may_be_the_classes_and_what_is_not_whole_left_out(pack, image_folder, tmp_path, capsys):
    with tarfile.open(tmp_path / "plain.tar", "w") as tar:
        tar.add(image_folder, arcname=".")
    main(["data", "index", str(tmp_path / "plain.tar"), "--out", str(tmp_path / "i.parquet"), "--folder-labels"])
    assert ShardDataset(tmp_path / "i.parquet").class_names == ImageFolderDataset(image_folder).class_names
    shard = pack(
        tmp_path / "s.tar", [("a.jpg", b"1"), ("a.cls", b"0"), ("b.jpg", b"2"), ("._b.cls", b"3"), ("c.cls", b"4")]
    )
    main(["data", "index", str(shard), "--out", str(tmp_path / "i.parquet"), "--skip-incomplete"])
    assert "1 images of 1 classes in 1 shard; 2 samples without image or class are left out" in capsys.readouterr().out
    with pytest.raises(DatasetError, match=r"a lies in no folder that could be its class"):
        index_shards([str(shard)], tmp_path / "i.parquet", folder_labels=True)


def test_the_class_is_the_first_folder_however_deep_an_image_lies(pack, tmp_path):
    names = ["cat/1.jpg", "./dog/2.jpg", "dog/more/3.jpg", "/dog/4.jpg"]
    shard = pack(tmp_path / "s.tar", [(name, b"1") for name in names])
    assert index_shards([str(shard)], tmp_path / "i.parquet", folder_labels=True).classes == 2
    dataset = ShardDataset(tmp_path / "i.parquet", split="all")
    assert [dataset.class_names[label] for label in dataset.labels] == ["cat", "dog", "dog", "dog"]


def test_shards_by_webdatasets_own_writer_are_read_and_classes_ordered_as_numbers(image_folder, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    files = sorted(image_folder.rglob("*.png"))
    deep = "a name that tar has no room for in its header " * 3
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
        for number, file in enumerate(files):
            key = f"{deep}/{number}" if number % 3 else f"{number:05d}"
            writer.write(
                {"__key__": key, "png": file.read_bytes(), "cls": 11 - number // 6, "json": {"of": {"kind": "é"}}}
            )
    index_shards([str(tmp_path / "w.tar")], tmp_path / "i.parquet")
    dataset = ShardDataset(tmp_path / "i.parquet", split="all")
    assert dataset.class_names == tuple(str(number) for number in range(4, 12))
    assert stored(dataset) == [file.read_bytes() for file in files]
    assert dataset.labels.tolist() == [7 - number // 6 for number in range(48)]
    assert index_shards([str(tmp_path / "w.tar")], tmp_path / "i.parquet", "of.kind").classes == 1
