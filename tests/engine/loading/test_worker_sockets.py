from __future__ import annotations

import tempfile

import pytest

from metricforge import build_runner
from metricforge.engine.loading.worker_sockets import PATH_BYTES, check_worker_sockets
from metricforge.errors import MetricForgeError


@pytest.fixture
def long_folder(tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_workers_without_room_for_their_sockets_are_refused_before_training(tiny_config, tmp_path, long_folder):
    tiny_config["train_dataloader"]["num_workers"] = 1
    with pytest.raises(MetricForgeError, match=r"TMPDIR: .*x has \d+ bytes, .* at most \d+ .*; set TMPDIR"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")


def test_a_path_that_just_fits_and_a_run_without_workers_are_not(long_folder, monkeypatch):
    check_worker_sockets(0)
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * (PATH_BYTES - 33))
    check_worker_sockets(1)
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * (PATH_BYTES - 32))
    with pytest.raises(MetricForgeError, match="TMPDIR"):
        check_worker_sockets(1)
