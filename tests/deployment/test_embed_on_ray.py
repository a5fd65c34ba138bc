from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metricforge.cli import embed as embed_command
from metricforge.cli.main import main
from metricforge.deployment import embed_on_ray, load_model
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.embedding_parts import read_parts, vectors_of
from metricforge.deployment.image_collection import open_collection


@pytest.fixture
def photos(image_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_folder, tmp_path / "photos"))


def _whole(folder: Path) -> pa.Table:
    return pa.concat_tables(read_parts(folder))


PROGRAM = """
import sys
from pathlib import Path
import ray
from metricforge.deployment import load_model
from metricforge.deployment.embed_on_ray import embed_on_ray
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import UnreadableImageError
model, photos, out = load_model(sys.argv[1], device="cpu"), open_collection(sys.argv[2]), Path(sys.argv[3])
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**28)
seen = []
found = embed_on_ray(model, photos, out, part_rows=20, on_images=seen.append)
assert (found.embedded, found.taken_up, sum(seen), len(found.unreadable)) == (47, 0, 48, 1), (found, seen)
(out / "part-000001.parquet").unlink()
assert embed_on_ray(model, photos, out, part_rows=20).taken_up == 28
try:
    embed_on_ray(model, photos, out.with_name("strict"), part_rows=20, strict=True)
except UnreadableImageError as fault:
    assert "0.png" in str(fault)
else:
    raise AssertionError("strict")
"""


@pytest.mark.slow
def test_a_ray_cluster_gives_the_rows_and_vectors_of_the_plain_engine(trained_run, photos, tmp_path):
    pytest.importorskip("ray", reason="needs metricforge[ray]")
    (photos / "class_0" / "0.png").write_bytes(b"no picture")
    command = [sys.executable, "-c", PROGRAM, str(trained_run), str(photos), str(tmp_path / "ray")]
    # Ray's processes are nice by 15 otherwise, which a busy machine starves
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "RAY_worker_niceness": "0"})
    model = load_model(trained_run, device="cpu")
    embed_collection(model, open_collection(photos), tmp_path / "plain", part_rows=20)
    found, expected = _whole(tmp_path / "ray"), _whole(tmp_path / "plain")
    assert found.drop_columns(["vector"]).equals(expected.drop_columns(["vector"]))
    np.testing.assert_allclose(vectors_of(found), vectors_of(expected), atol=1e-6)


@pytest.mark.slow
def test_torchrun_gives_the_rows_and_vectors_of_one_process(trained_run, photos, tmp_path):
    words = ["embed", str(trained_run), str(photos), "--device", "cpu", "--workers", "0"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launch, "-m", "metricforge", *words, "--out", str(tmp_path / "two")]
    subprocess.run(command, check=True, timeout=300, env=environment)
    main([*words, "--out", str(tmp_path / "one")])
    found, expected = _whole(tmp_path / "two"), _whole(tmp_path / "one")
    assert found.drop_columns(["vector"]).equals(expected.drop_columns(["vector"]))
    np.testing.assert_allclose(vectors_of(found), vectors_of(expected), atol=1e-6)


def test_a_missing_ray_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setattr(embed_on_ray, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["embed", "run", "photos", "--out", "out", "--engine", "ray"])
    assert "pip install 'metricforge[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "world", "told"), [(["--compile"], {}, "leave one of them out"), ([], {"WORLD_SIZE": "2"}, "torchrun")]
)
def test_what_does_not_go_with_ray_is_refused_first(options, world, told, monkeypatch, capsys):
    monkeypatch.setattr(embed_command, "check_ray_is_installed", lambda: None)
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["embed", "run", "photos", "--out", "out", "--engine", "ray", *options])
    assert told in capsys.readouterr().err
