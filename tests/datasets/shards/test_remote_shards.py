"""Tar shards behind a web server or in a file system that fsspec reads."""

from __future__ import annotations

import functools
import http.server
import re
import threading
import time
from pathlib import Path

import fsspec
import pytest
import torch

from metricforge.datasets import ShardDataset
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.engine.loading.data_loading import build_test_loader
from metricforge.errors import DatasetError
from metricforge.preparation import index_shards


def stored(dataset):
    """The content of each image's file."""
    return [dataset.reader.read(ShardPart.parse(file)) for file in dataset.files]


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
    assert stored(dataset) == stored(near)
    kept = {file.read_bytes() for file in (tmp_path / "near").iterdir()}
    assert {shard.read_bytes() for shard in indexed.parent.glob("*.tar")} <= kept
    far.rm("/kept", recursive=True)


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
