"""Images in tar shards, against the same images as files."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from metricforge import build_runner
from metricforge.cli.main import main
from metricforge.datasets import ImageFolderDataset, ShardDataset
from metricforge.datasets.shard_part import ShardPart
from metricforge.engine.data_loading import build_train_loader
from metricforge.errors import DatasetError, UnreadableImageError
from metricforge.preparation import index_shards
from metricforge.samplers import ClassBalancedBatchSampler


def pack(shard, samples):
    """Writes (name, content) pairs into a tar."""
    with tarfile.open(shard, "w") as tar:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return shard


@pytest.fixture
def shards(image_folder, tmp_path):
    """The images of a folder in two shards, in no order, with their classes' names in .cls files."""
    files = sorted(image_folder.rglob("*.png"))
    np.random.default_rng(0).shuffle(files)
    made = []
    for number, part in enumerate((files[:20], files[20:])):
        samples = []
        for file in part:
            stem = f"{file.parent.name}/{file.stem}"
            samples += [(f"{stem}.png", file.read_bytes()), (f"{stem}.cls", file.parent.name.encode())]
        made.append(pack(tmp_path / f"train-{number}.tar", samples))
    return made


def by_name(dataset, name_of):
    return {name_of(i): (dataset[i]["image"], dataset.class_names[dataset[i]["label"]]) for i in range(len(dataset))}


@pytest.mark.parametrize("split", ["train", "test"])
def test_shards_hold_what_the_folder_holds_in_the_same_splits(image_folder, shards, tmp_path, split, capsys):
    main(["data", "index", *map(str, shards), "--out", str(tmp_path / "index.parquet")])
    assert "index.parquet: 48 images in 2 shards" in capsys.readouterr().out
    packed = ShardDataset(tmp_path / "index.parquet", split=split)
    folder = ImageFolderDataset(image_folder, split=split)
    assert packed.class_names == folder.class_names
    ours = by_name(packed, lambda i: ShardPart.parse(packed.files[i]).name)
    theirs = by_name(folder, lambda i: folder.files[i])
    assert ours.keys() == theirs.keys()
    for name, (image, class_name) in theirs.items():
        assert torch.equal(ours[name][0], image)
        assert ours[name][1] == class_name


def test_batches_are_class_balanced_and_taken_up_in_the_middle_of_an_epoch(shards, tmp_path):
    index_shards([str(shard) for shard in shards], tmp_path / "index.parquet")
    dataset = ShardDataset(tmp_path / "index.parquet")

    def batches(first, workers):
        sampler = ClassBalancedBatchSampler(dataset.labels, classes_per_batch=2, samples_per_class=3)
        loader = build_train_loader(dataset, sampler, seed=1, num_workers=workers, device=torch.device("cpu"))
        loader.batch_sampler.set_position(2, first)
        return list(loader)

    whole = batches(0, 0)
    assert all(sorted(Counter(batch["label"].tolist()).values()) == [3, 3] for batch in whole)
    rest = batches(2, 2)
    assert len(rest) == len(whole) - 2 > 0
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(rest, whole[2:], strict=True))


def test_shards_far_away_are_read_at_their_offsets(shards, tmp_path):
    far = fsspec.filesystem("memory")
    for shard in shards:
        far.pipe(f"/far/{shard.name}", shard.read_bytes())
    index_shards([f"memory://far/{shard.name}" for shard in shards], tmp_path / "far.parquet")
    index_shards([str(shard) for shard in shards], tmp_path / "near.parquet")
    remote, local = ShardDataset(tmp_path / "far.parquet"), ShardDataset(tmp_path / "near.parquet")
    assert remote.location(0).endswith(f"in memory://far/{ShardPart.parse(local.files[0]).shard}")
    for i in range(len(local)):
        assert torch.equal(remote[i]["image"], local[i]["image"])
    far.rm("/far", recursive=True)
    with pytest.raises(DatasetError, match=r"could not be fetched \(FileNotFoundError.*--resume goes on"):
        remote[0]


def test_a_run_trains_on_shards_with_a_cache(tiny_config, shards, tmp_path):
    index_shards([str(shard) for shard in shards], tmp_path / "index.parquet")
    steps = [dict(type="Resize", size=(18, 18)), dict(type="RandomCrop", size=16)]
    for loader, split in (("train_dataloader", "train"), ("test_dataloader", "test")):
        tiny_config[loader] |= dict(
            dataset=dict(type="ShardDataset", table=str(tmp_path / "index.parquet"), split=split, transform=steps[:1]),
            cache=str(tmp_path / "cache"),
        )
    tiny_config["train_dataloader"]["dataset"]["transform"] = steps
    tiny_config["train_cfg"]["max_epochs"] = 1
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    assert runner.last_scores["recall@1"] > 0
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.stat().st_size == 8 + 18 * 18 * 3]
    assert len(kept) == 48


def test_classes_may_stand_in_json_files(tmp_path):
    samples = [
        ("a.jpg", b"1"),
        ("a.json", json.dumps({"kind": 7}).encode()),
        ("b.jpg", b"2"),
        ("b.json", b'{"kind": 8}'),
    ]
    shard = pack(tmp_path / "s.tar", samples)
    assert index_shards([str(shard)], tmp_path / "i.parquet", "kind") == 2
    table = parquet.read_table(tmp_path / "i.parquet").to_pydict()
    assert table["label"] == ["7", "8"]
    part = ShardPart.parse(table["path"][1])
    assert (part.shard, part.name) == ("s.tar", "b.jpg")
    assert shard.read_bytes()[part.offset : part.offset + part.size] == b"2"


@pytest.mark.parametrize(
    ("samples", "key", "message"),
    [
        ([("a.jpg", b"1"), ("a.cls", b"0"), ("b.jpg", b"2")], None, r"1 of 2 samples .* such as b, which has no \.cls"),
        ([("a.cls", b"0")], None, r"1 of 1 samples .* such as a, which has no image"),
        ([("a.jpg", b"1"), ("a.png", b"1"), ("a.cls", b"0")], None, r"a\.png a second time, or in two formats"),
        ([("a.jpg", b"1"), ("a.json", b"{}")], "label", r"a\.json of .*s\.tar holds no class \(KeyError"),
        ([("a.jpg", b"1"), ("a.json", b"{}")], None, r"in \.json files, name their key: --json-key label"),
        ([("a.jpg", b"1"), ("a.cls", b" ")], None, r"a\.cls of .* holds no class: it is empty"),
    ],
)
def test_a_shard_that_is_not_whole_is_an_error_and_leaves_no_index(tmp_path, samples, key, message):
    shard = pack(tmp_path / "s.tar", samples)
    with pytest.raises(DatasetError, match=message):
        index_shards([str(shard)], tmp_path / "i.parquet", key)
    assert [file.name for file in tmp_path.iterdir()] == ["s.tar"]


def test_a_label_that_is_there_twice_a_cut_and_a_compressed_shard_are_errors(shards, tmp_path):
    again = pack(tmp_path / "again.tar", [("class_0/0.png", b"1"), ("class_0/0.cls", b"other")])
    with pytest.raises(DatasetError, match=r"class_0/0\.png of .*again\.tar, with the label other, .* label class_0"):
        index_shards([*map(str, shards), str(again)], tmp_path / "i.parquet")
    shards[0].write_bytes(shards[0].read_bytes()[:5000])
    with pytest.raises(DatasetError, match=r"train-0\.tar cannot be read as an uncompressed tar \(ReadError"):
        index_shards([str(shards[0])], tmp_path / "i.parquet")
    with tarfile.open(tmp_path / "c.tar", "w:gz") as tar:
        tar.add(shards[1])
    with pytest.raises(DatasetError, match=r"c\.tar cannot be read as an uncompressed tar"):
        index_shards([str(tmp_path / "c.tar")], tmp_path / "i.parquet")
    assert not (tmp_path / "i.parquet").exists()


def test_a_shard_that_shrank_after_it_was_indexed_is_an_unreadable_image(shards, tmp_path):
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    dataset = ShardDataset(tmp_path / "i.parquet", split="all")
    last = max(range(len(dataset)), key=lambda i: ShardPart.parse(dataset.files[i])[:2])
    part = ShardPart.parse(dataset.files[last])
    shard = tmp_path / part.shard
    shard.write_bytes(shard.read_bytes()[: part.offset + 10])
    with pytest.raises(
        UnreadableImageError, match=rf"{part.name} in .*{part.shard} cannot .* after 10 of {part.size:,} "
    ):
        dataset[last]


def test_a_table_of_files_and_an_absent_shard_are_errors_with_the_way_out(shards, tmp_path, capsys):
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": ["x", "y"]}), tmp_path / "files.parquet")
    with pytest.raises(DatasetError, match=r"'a\.jpg' names no part of a tar shard; make an index"):
        ShardDataset(tmp_path / "files.parquet", split="all")
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    with pytest.raises(SystemExit):
        main(["data", "check", str(tmp_path / "i.parquet")])
    assert "is an index of tar shards; look through the files" in capsys.readouterr().err
    for shard in shards:
        shard.unlink()
    with pytest.raises(DatasetError, match=r"images of .*i\.parquet that were looked for are not there"):
        ShardDataset(tmp_path / "i.parquet")
