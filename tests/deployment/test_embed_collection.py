from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metricforge.deployment import EmbeddingModel, load_model
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.embedding_parts import read_origin, read_parts, vectors_of
from metricforge.deployment.image_collection import open_collection
from metricforge.engine.distributed.processes import Processes
from metricforge.errors import EmbeddingsError, UnreadableImageError


@pytest.fixture
def model(trained_run: Path) -> EmbeddingModel:
    return load_model(trained_run, device="cpu")


@pytest.fixture
def photos(image_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_folder, tmp_path / "photos"))


def _whole(folder: Path) -> pa.Table:
    return pa.concat_tables(read_parts(folder))


@pytest.mark.parametrize("workers", [0, 2])
def test_vectors_are_those_of_the_model_with_path_and_label(model, photos, tmp_path, workers):
    collection = open_collection(photos)
    seen: list[int] = []
    told = embed_collection(
        model, collection, tmp_path / "out", part_rows=14, num_workers=workers, on_images=seen.append
    )
    table = _whole(tmp_path / "out")
    assert (told.embedded, told.taken_up, told.unreadable, sum(seen)) == (48, 0, [], 48)
    assert table["id"].to_pylist() == list(range(48))
    assert table["path"].to_pylist() == [collection.location(number) for number in range(len(collection))]
    assert table["label"].to_pylist() == [path.partition("/")[0] for path in collection.paths]
    expected = model.embed([collection.location(n) for n in range(48)])
    np.testing.assert_allclose(vectors_of(table), expected, atol=1e-6)
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 8)


def test_a_second_start_keeps_what_is_there_and_makes_the_rest(model, photos, tmp_path):
    collection, out = open_collection(photos), tmp_path / "out"
    embed_collection(model, collection, out, part_rows=10)
    whole = _whole(out)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    (out / "part-000003.parquet").unlink()
    assert embed_collection(model, collection, out, part_rows=10).taken_up == 38
    assert _whole(out).equals(whole)
    changed = [name for name, time in kept.items() if (out / name).stat().st_mtime_ns != time]
    assert changed == ["part-000003.parquet"]


def test_processes_share_the_parts(model, photos, tmp_path):
    collection = open_collection(photos)
    embed_collection(model, collection, tmp_path / "alone", part_rows=10)
    for rank in (1, 0, 2):
        embed_collection(model, collection, tmp_path / "out", part_rows=10, processes=Processes(rank, 3))
    assert _whole(tmp_path / "out").equals(_whole(tmp_path / "alone"))


def test_another_model_or_other_images_are_not_mixed_in(model, photos, tmp_path):
    out = tmp_path / "out"
    embed_collection(model, open_collection(photos), out, part_rows=10)
    with pytest.raises(
        EmbeddingsError, match=r"holds embeddings from another source: part-000000\.parquet has precision"
    ):
        embed_collection(model, open_collection(photos), out, part_rows=10, precision="bfloat16")
    next(photos.rglob("*.png")).unlink()
    with pytest.raises(EmbeddingsError, match=r"has source .* rows 48 instead of 47"):
        embed_collection(model, open_collection(photos), out, part_rows=10)


def test_unreadable_images_are_left_out_and_told(model, photos, tmp_path):
    broken = photos / "class_0" / "0.png"
    broken.write_bytes(b"no picture")
    collection = open_collection(photos)
    told = embed_collection(model, collection, tmp_path / "out", part_rows=10)
    assert told.embedded == 47
    assert [path for path, _ in told.unreadable] == [str(broken)]
    assert "no format that Pillow knows" in told.unreadable[0][1]
    assert read_origin(tmp_path / "out" / "part-000000.parquet")[1] == told.unreadable
    assert _whole(tmp_path / "out")["id"].to_pylist() == list(range(1, 48))
    with pytest.raises(UnreadableImageError, match=r"0\.png"):
        embed_collection(model, collection, tmp_path / "strict", part_rows=10, strict=True)


def test_a_part_without_any_readable_image_is_done_too(model, photos, tmp_path):
    for picture in (photos / "class_0").iterdir():
        picture.write_bytes(b"no picture")
    told = embed_collection(model, open_collection(photos), tmp_path / "out", part_rows=3)
    assert (told.embedded, len(told.unreadable)) == (42, 6)
    assert vectors_of(_whole(tmp_path / "out")).shape == (42, 8)


def test_what_is_missing_is_told_before_it_is_read(model, photos, tmp_path):
    with pytest.raises(EmbeddingsError, match="holds no embeddings"):
        list(read_parts(tmp_path))
    embed_collection(model, open_collection(photos), tmp_path / "out", part_rows=10)
    (tmp_path / "out" / "part-000002.parquet").unlink()
    with pytest.raises(EmbeddingsError, match=r"1 of 5 parts are missing \(part 2 first\)"):
        list(read_parts(tmp_path / "out"))
    (tmp_path / "out" / "part-000002.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(EmbeddingsError, match="was not written by `metricforge embed`"):
        list(read_parts(tmp_path / "out"))


PROGRAM = """
import sys
from pathlib import Path
from metricforge.deployment import load_model
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.image_collection import open_collection
embed_collection(load_model(sys.argv[1], device="cpu"), open_collection(sys.argv[2]), Path(sys.argv[3]), part_rows=2)
"""


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_every_row_once(model, photos, trained_run, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, str(trained_run), str(photos), str(out)]
    parts = 0
    for kill in range(4):
        with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
            while process.poll() is None and len(list(out.glob("*.parquet"))) <= parts + kill:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        parts = len(list(out.glob("*.parquet")))
    assert 0 < parts < 24
    subprocess.run(command, check=True)
    embed_collection(model, open_collection(photos), tmp_path / "alone", part_rows=2)
    assert _whole(out).equals(_whole(tmp_path / "alone"))
