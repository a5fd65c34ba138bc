"""Images in tar shards, against the same images as files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from metricforge import build_runner
from metricforge.cli.main import main
from metricforge.datasets import ImageFolderDataset, ShardDataset
from metricforge.datasets.shards.shard_dataset import ends_of_shards
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import OPEN_AT_ONCE
from metricforge.engine.loading.data_loading import build_train_loader
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import DatasetError, UnreadableImageError
from metricforge.preparation import index_shards
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.samplers import ClassBalancedBatchSampler
from tests.cut_training import cut_after


def stored(dataset):
    """The content of each image's file."""
    return [dataset.reader.read(ShardPart.parse(file)) for file in dataset.files]


def by_name(dataset, name_of):
    return {name_of(i): (dataset[i]["image"], dataset.class_names[dataset[i]["label"]]) for i in range(len(dataset))}


@pytest.mark.parametrize("split", ["train", "test"])
def test_shards_hold_what_the_folder_holds_in_the_same_splits(image_folder, shards, tmp_path, split, capsys):
    main(["data", "index", *map(str, shards), "--out", str(tmp_path / "index.parquet")])
    assert "index.parquet: 48 images of 8 classes in 2 shards" in capsys.readouterr().out
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


def last_in_its_shard(dataset):
    last = max(range(len(dataset)), key=lambda i: ShardPart.parse(dataset.files[i])[:2])
    return last, ShardPart.parse(dataset.files[last])


def test_a_shard_that_was_cut_off_is_an_error_at_once_and_in_training(indexed):
    dataset = ShardDataset(indexed, split="all")
    last, part = last_in_its_shard(dataset)
    shard = indexed.parent / part.shard
    os.truncate(shard, part.offset + 10)
    # an error that unreadable="skip" does not skip, for a shard's images would be gone in silence
    with pytest.raises(DatasetError, match=rf"{part.shard} is truncated: its bytes .* should be {part.name}") as raised:
        dataset[last]
    assert not isinstance(raised.value, UnreadableImageError)
    with pytest.raises(DatasetError, match=r"is truncated: .* or make the index again"):
        ShardDataset(indexed, split="all")


def test_every_shard_is_looked_at_before_training(pack, tmp_path):
    shards = []
    for shard in range(9):  # more images than are read at the start
        samples = [(f"{shard}-{i}.{kind}", b"%d" % (i % 2)) for i in range(40) for kind in ("jpg", "cls")]
        shards.append(pack(tmp_path / f"{shard}.tar", samples))
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    ends = ends_of_shards(ShardDataset(tmp_path / "i.parquet", split="all").files)
    assert sorted(ends) == list(range(39, 360, 40))
    part = ShardPart.parse(ShardDataset(tmp_path / "i.parquet", split="all").files[5 * 40 + 39])
    os.truncate(shards[5], part.offset)
    with pytest.raises(DatasetError, match=r"5\.tar is truncated: its bytes .* should be 5-39\.jpg"):
        ShardDataset(tmp_path / "i.parquet", split="all")


def test_a_shard_of_the_same_size_with_its_images_in_another_order_is_an_error(pack, tmp_path):
    def write(names):
        samples = [
            (f"{name}.{kind}", content)
            for name in names
            for kind, content in (("jpg", b"x"), ("cls", b"%d" % (name == "a")))
        ]
        return pack(tmp_path / "s.tar", samples)

    index_shards([str(write("ab"))], tmp_path / "i.parquet")
    size = (tmp_path / "s.tar").stat().st_size
    assert write("ba").stat().st_size == size
    with pytest.raises(DatasetError, match=r"s\.tar is not the one that was indexed: its bytes .* should be a\.jpg"):
        ShardDataset(tmp_path / "i.parquet", split="all")


def test_an_image_that_is_none_is_unreadable_and_told_of_by_its_name(pack, tmp_path):
    shard = pack(tmp_path / "s.tar", [("a.jpg", b"none"), ("a.cls", b"0"), ("b.jpg", b"none"), ("b.cls", b"1")])
    index_shards([str(shard)], tmp_path / "i.parquet")
    dataset = ShardDataset(tmp_path / "i.parquet", split="all")
    with pytest.raises(
        UnreadableImageError, match=rf"a\.jpg in {shard} cannot be read as an image .no format that Pillow knows"
    ):
        dataset[0]


def test_shards_that_were_moved_are_found_by_root(indexed, shards, tmp_path):
    before = ShardDataset(indexed)
    (tmp_path / "elsewhere").mkdir()
    for shard in shards:
        shard.rename(tmp_path / "elsewhere" / shard.name)
    with pytest.raises(DatasetError, match=r"were looked for are not there.*\(root\)"):
        ShardDataset(indexed)
    moved = ShardDataset(indexed, root=tmp_path / "elsewhere")
    assert torch.equal(moved[3]["image"], before[3]["image"])
    assert moved.fingerprint() == before.fingerprint()


def test_only_images_and_the_headers_before_them_are_read(indexed, monkeypatch):
    dataset = ShardDataset(indexed, split="all")
    asked = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, start: asked.append(size) or pread(file, size, start))
    for i in range(len(dataset)):
        dataset[i]
    assert asked == [512 + ShardPart.parse(file).size for file in dataset.files]


def test_few_shards_are_open_at_once(pack, tmp_path):
    shards = [
        pack(tmp_path / f"{n}.tar", [(f"{n}.jpg", b"x"), (f"{n}.cls", b"%d" % n)]) for n in range(OPEN_AT_ONCE + 8)
    ]
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    dataset = ShardDataset(tmp_path / "i.parquet", split="all")
    assert stored(dataset) == [b"x"] * len(shards)
    links = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert 0 < sum(link.startswith(str(tmp_path)) for link in links) <= OPEN_AT_ONCE


def test_a_run_on_shards_that_was_cut_resumes_bit_for_bit(tiny_config, indexed, tmp_path):
    for loader, split in (("train_dataloader", "train"), ("test_dataloader", "test")):
        transform = tiny_config[loader]["dataset"]["transform"]
        tiny_config[loader]["dataset"] = dict(type="ShardDataset", table=str(indexed), split=split, transform=transform)
    tiny_config["train_dataloader"]["num_workers"] = 2
    tiny_config["train_cfg"]["max_epochs"] = 2
    tiny_config["checkpoint"] = dict(interval_iterations=1)
    build_runner(tiny_config, work_dir=tmp_path / "whole", device="cpu").train()
    cut_after(build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu"), 8)
    assert checkpoint_files(tmp_path / "cut")[0].name == "iter_8.pth"
    build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu", resume=True).train()
    whole, resumed = (load_checkpoint(checkpoint_files(tmp_path / name)[0])["state_dict"] for name in ("whole", "cut"))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_a_table_of_files_and_an_absent_shard_are_errors_with_the_way_out(shards, tmp_path):
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": ["x", "y"]}), tmp_path / "files.parquet")
    with pytest.raises(DatasetError, match=r"'a\.jpg' does not name a part of a tar shard; make an index"):
        ShardDataset(tmp_path / "files.parquet", split="all")
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    for shard in shards:
        shard.unlink()
    with pytest.raises(DatasetError, match=r"images of .*i\.parquet that were looked for are not there"):
        ShardDataset(tmp_path / "i.parquet")
