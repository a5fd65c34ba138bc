"""Images in tar shards, against the same images as files."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import re
import tarfile
import threading
import time
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from metricforge import build_runner
from metricforge.cli.main import main
from metricforge.datasets import ImageFolderDataset, ShardDataset
from metricforge.datasets.shards.shard_dataset import _ends_of_shards
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import OPEN_AT_ONCE
from metricforge.engine.loading.data_loading import build_test_loader, build_train_loader
from metricforge.engine.records.checkpoints import checkpoint_files, load_checkpoint
from metricforge.errors import DatasetError, UnreadableImageError
from metricforge.preparation import expand_shards, index_shards
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
    with pytest.raises(DatasetError, match=r"no shard is called memory://matched/test-\*\.tar; see what is there"):
        expand_shards(["memory://matched/test-*.tar"])
    with pytest.raises(DatasetError, match=r"nothing://a/\*\.tar cannot be read \(ValueError: Protocol not known"):
        expand_shards(["nothing://a/*.tar"])
    far.rm("/matched", recursive=True)


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
    with pytest.raises(
        DatasetError, match=r"the shard memory://far/train-\d\.tar does not exist; name the folder or URL"
    ):
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
    with pytest.raises(DatasetError, match=r"train-0\.tar is no tar file, or cut off or damaged \(unexpected end"):
        index_shards([str(shards[0])], tmp_path / "i.parquet")
    with tarfile.open(tmp_path / "c.tar", "w:gz") as tar:
        tar.add(shards[1])
    with pytest.raises(DatasetError, match=r"c\.tar is compressed \(gzip\).*decompress it"):
        index_shards([str(tmp_path / "c.tar")], tmp_path / "i.parquet")
    with pytest.raises(DatasetError, match=r"none\.tar is not there"):
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


@pytest.fixture
def indexed(shards, tmp_path):
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    return tmp_path / "i.parquet"


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


def test_every_shard_is_looked_at_before_training(tmp_path):
    shards = []
    for shard in range(9):  # more images than are read at the start
        samples = [(f"{shard}-{i}.{kind}", b"%d" % (i % 2)) for i in range(40) for kind in ("jpg", "cls")]
        shards.append(pack(tmp_path / f"{shard}.tar", samples))
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    ends = _ends_of_shards(ShardDataset(tmp_path / "i.parquet", split="all").files)
    assert sorted(ends) == list(range(39, 360, 40))
    part = ShardPart.parse(ShardDataset(tmp_path / "i.parquet", split="all").files[5 * 40 + 39])
    os.truncate(shards[5], part.offset)
    with pytest.raises(DatasetError, match=r"5\.tar is truncated: its bytes .* should be 5-39\.jpg"):
        ShardDataset(tmp_path / "i.parquet", split="all")


def test_a_shard_of_the_same_size_with_its_images_in_another_order_is_an_error(tmp_path):
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


def test_an_image_that_is_none_is_unreadable_and_told_of_by_its_name(tmp_path):
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


def test_few_shards_are_open_at_once(tmp_path):
    shards = [
        pack(tmp_path / f"{n}.tar", [(f"{n}.jpg", b"x"), (f"{n}.cls", b"%d" % n)]) for n in range(OPEN_AT_ONCE + 8)
    ]
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    dataset = ShardDataset(tmp_path / "i.parquet", split="all")
    assert [dataset._read(i) for i in range(len(dataset))] == [b"x"] * len(shards)
    links = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    assert 0 < sum(link.startswith(str(tmp_path)) for link in links) <= OPEN_AT_ONCE


def test_what_pillow_reads_is_fetched_once(shards, tmp_path, monkeypatch):
    far = fsspec.filesystem("memory")
    for shard in shards:
        far.pipe(f"/once/{shard.name}", shard.read_bytes())
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    dataset = ShardDataset(tmp_path / "i.parquet", root="memory://once")
    fetched = []
    cat_file = type(far).cat_file
    monkeypatch.setattr(
        type(far), "cat_file", lambda self, path, **of: fetched.append(path) or cat_file(self, path, **of)
    )
    assert torch.equal(dataset[0]["image"], ShardDataset(tmp_path / "i.parquet")[0]["image"])
    assert len(fetched) == 1
    far.rm("/once", recursive=True)


def test_shards_far_away_may_be_kept_near(indexed, tmp_path):
    far = fsspec.filesystem("memory")
    for shard in indexed.parent.glob("*.tar"):
        far.pipe(f"/kept/{shard.name}", shard.read_bytes())
    options = {"filecache": {"cache_storage": str(tmp_path / "near")}}
    dataset = ShardDataset(indexed, root="filecache::memory://kept", storage_options=options, split="all")
    near = ShardDataset(indexed, split="all")
    assert all(dataset._read(i) == near._read(i) for i in range(len(near)))
    kept = {file.read_bytes() for file in (tmp_path / "near").iterdir()}
    assert {shard.read_bytes() for shard in indexed.parent.glob("*.tar")} <= kept
    far.rm("/kept", recursive=True)


def test_folders_may_be_the_classes_and_what_is_not_whole_left_out(image_folder, tmp_path, capsys):
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
    assert [dataset._read(i) for i in range(len(dataset))] == [file.read_bytes() for file in files]
    assert dataset.labels.tolist() == [7 - number // 6 for number in range(48)]
    assert index_shards([str(tmp_path / "w.tar")], tmp_path / "i.parquet", "of.kind").classes == 1


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, parts of files too."""

    knows_ranges = True

    def do_GET(self):
        content = (
            Path(self.translate_path(self.path)).read_bytes()
            if Path(self.translate_path(self.path)).is_file()
            else None
        )
        if content is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = content[int(asked[1]) : int(asked[2]) + 1] if asked and self.knows_ranges else content
        self.send_response(206 if asked and self.knows_ranges else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.server.sent.append(len(part))  # before the client knows, who then goes on
        self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(shards, tmp_path):
    pytest.importorskip("aiohttp")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(tmp_path)))
    server.sent = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_web_server_is_asked_for_the_images_alone_also_by_forked_workers(served, indexed, workers):
    server, url = served
    far, near = ShardDataset(indexed, root=url), ShardDataset(indexed)
    far[0]  # so that the parent has a connection before it forks
    server.sent.clear()
    for epoch in range(2):
        for ours, theirs in zip(
            *(build_test_loader(d, batch_size=5, num_workers=workers, device=torch.device("cpu")) for d in (far, near)),
            strict=True,
        ):
            assert torch.equal(ours["image"], theirs["image"]), epoch
    assert sorted(server.sent) == sorted(2 * [512 + ShardPart.parse(file).size for file in near.files])


def test_a_server_without_ranges_and_one_without_the_shard_are_errors(served, indexed, monkeypatch):
    _, url = served
    with pytest.raises(DatasetError, match=rf"the shard {url}/none/train-\d\.tar does not exist"):
        ShardDataset(indexed, root=f"{url}/none")
    monkeypatch.setattr(Server, "knows_ranges", False)
    with pytest.raises(
        DatasetError, match=r"the server sent [\d,]+ bytes where [\d,]+ were requested; it must support range requests"
    ):
        ShardDataset(indexed, root=url)


def test_a_request_that_fails_is_repeated_and_then_an_error(indexed, monkeypatch):
    far = fsspec.filesystem("memory")
    for shard in indexed.parent.glob("*.tar"):
        far.pipe(f"/weak/{shard.name}", shard.read_bytes())
    dataset = ShardDataset(indexed, root="memory://weak")
    faults, waited = [OSError("reset"), TimeoutError()], []
    cat_file = type(far).cat_file

    def weak(self, path, **of):
        if faults:
            raise faults.pop()
        return cat_file(self, path, **of)

    monkeypatch.setattr(type(far), "cat_file", weak)
    monkeypatch.setattr(time, "sleep", waited.append)
    assert dataset[0]["image"].shape == (3, 24, 24)
    assert waited == [1.0, 5.0]
    faults += [OSError("reset")] * 3
    with pytest.raises(
        DatasetError, match=r"cannot be read \(OSError: reset\); check the connection and continue with --resume"
    ):
        dataset[0]
    far.rm("/weak", recursive=True)


def test_a_run_on_shards_that_was_cut_resumes_bit_for_bit(tiny_config, indexed, tmp_path):
    for loader, split in (("train_dataloader", "train"), ("test_dataloader", "test")):
        transform = tiny_config[loader]["dataset"]["transform"]
        tiny_config[loader]["dataset"] = dict(type="ShardDataset", table=str(indexed), split=split, transform=transform)
    tiny_config["train_dataloader"]["num_workers"] = 2
    tiny_config["train_cfg"]["max_epochs"] = 2
    tiny_config["checkpoint"] = dict(interval_iterations=1)
    build_runner(tiny_config, work_dir=tmp_path / "whole", device="cpu").train()
    cut = build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu")
    steps, step = iter(range(8)), cut.model.train_step

    def step_until_cut(*args, **kwargs):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    cut.model.train_step = step_until_cut
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    assert checkpoint_files(tmp_path / "cut")[0].name == "iter_8.pth"
    build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu", resume=True).train()
    whole, resumed = (load_checkpoint(checkpoint_files(tmp_path / name)[0])["state_dict"] for name in ("whole", "cut"))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_the_doctor_asks_once_for_shards_that_cannot_be_reached(indexed, capsys, monkeypatch):
    def refuse(self, path, **of):
        asked.append(path)
        raise PermissionError("no key")

    asked = []
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", refuse)
    with pytest.raises(SystemExit):
        main(["data", "check", str(indexed), "--root", "memory://locked"])
    assert re.search(
        r"memory://locked/train-\d\.tar cannot be read \(PermissionError: no key\)", capsys.readouterr().err
    )
    assert len(asked) == 1


def test_the_doctor_looks_through_shards(indexed, shards, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twin = {name: content for name, content in contents(shards[0]).items() if name.endswith(".png")}
    first, image = next(iter(twin.items()))
    bad = [
        ("new/twin.png", image),
        ("new/twin.cls", b"class_x"),
        ("new/cut.png", image[:90]),
        ("new/cut.cls", b"class_x"),
    ]
    index_shards([*map(str, shards), str(pack(tmp_path / "bad.tar", bad))], indexed)
    with pytest.raises(SystemExit):
        main(["data", "check", str(indexed)])
    out = capsys.readouterr().out
    assert re.search(rf"train-0\.tar@\d+\+\d+/{first} = bad\.tar@\d+\+\d+/new/twin\.png  \(class_\d / class_x\)", out)
    assert re.search(r"cannot be read\n  bad\.tar@\d+\+\d+/new/cut\.png", out)
    assert (tmp_path / "data_check" / "i" / "findings.png").is_file()


def contents(shard):
    with tarfile.open(shard) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_a_table_of_files_and_an_absent_shard_are_errors_with_the_way_out(shards, tmp_path):
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": ["x", "y"]}), tmp_path / "files.parquet")
    with pytest.raises(DatasetError, match=r"'a\.jpg' does not name a part of a tar shard; make an index"):
        ShardDataset(tmp_path / "files.parquet", split="all")
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    for shard in shards:
        shard.unlink()
    with pytest.raises(DatasetError, match=r"images of .*i\.parquet that were looked for are not there"):
        ShardDataset(tmp_path / "i.parquet")
