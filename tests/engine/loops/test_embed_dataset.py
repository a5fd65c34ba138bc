"""Where embeddings are kept, and as what numbers: whole small runs, because that is who asks for them."""

from __future__ import annotations

import gc
import multiprocessing.util

import numpy as np
import pytest
import torch

from metricforge import build_runner
from metricforge.cli.main import main
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.engine.records.checkpoints import save_checkpoint
from metricforge.errors import ConfigError, EmbeddingsError
from metricforge.testing import run_in_processes


def embedded(config, folder, **test_cfg):
    """What a model of random weights makes of the test images, its scores, and their protocol."""
    runner = build_runner(config | {"test_cfg": test_cfg}, work_dir=folder, device="cpu")
    scores, protocol, evaluation = runner.test_loop.score(runner.model)
    return None if evaluation is None else evaluation.context.queries, scores, protocol


@pytest.fixture(autouse=True)
def untouched_temporary_folder(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    multiprocessing.util.get_temp_dir()  # before: its sockets need a short path
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    gc.collect()  # a runner takes its folder with it
    assert list(folder.glob("metricforge-*")) == []


def test_an_array_in_a_file_scores_as_one_in_memory(tiny_config, tmp_path):
    images, scores, _ = embedded(tiny_config, tmp_path / "a")
    in_file, its_scores, _ = embedded(tiny_config, tmp_path / "b", mapped_above_gb=0)
    assert type(images.embeddings) is np.ndarray
    assert isinstance(in_file.embeddings, np.memmap)
    assert np.array_equal(in_file.embeddings, images.embeddings)
    assert its_scores == scores


def test_half_precision_is_the_nearest_and_the_protocol_says_so(tiny_config, tmp_path):
    images, _, _ = embedded(tiny_config, tmp_path / "a")
    half, _, protocol = embedded(tiny_config, tmp_path / "b", dtype="float16")
    assert half.embeddings.dtype == np.float16
    assert np.array_equal(half.embeddings, images.embeddings.astype(np.float16))
    assert protocol["embedding"] == {"dimensions": 8, "dtype": "float16", "bytes_per_vector": 16}


def test_a_number_beyond_half_precision_is_named_with_its_image_and_stays_finite_in_float32(tiny_config, tmp_path):
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    original, calls = runner.model.embed, []

    def with_a_large_one(images):
        rows = original(images)
        calls.append(len(rows))
        if len(calls) == 2:  # the second batch of seven
            rows[3, 1] = -123456
        return rows

    runner.model.embed = with_a_large_one
    device = torch.device("cpu")
    with pytest.raises(EmbeddingsError, match=r"up to 65,504, and the embedding of image 10 has one of 1.23e\+05; use"):
        embed_dataset(runner.model, runner.test_dataloader, device, dtype="float16")
    calls.clear()
    assert embed_dataset(runner.model, runner.test_dataloader, device).embeddings[10, 1] == -123456


def in_two_processes(config, folder, rows_at_once):
    import metricforge.engine.loops.embed_dataset as module

    module.ROWS_AT_ONCE = rows_at_once
    images, scores, _ = embedded(config, folder, dtype="float16", mapped_above_gb=0)
    return None if images is None else (np.array(images.embeddings), images.labels, images.ids), scores


@pytest.mark.parametrize("rows_at_once", [2, 99])
def test_several_processes_fill_the_same_array_from_their_files(tiny_config, tmp_path, rows_at_once):
    images, scores, _ = embedded(tiny_config, tmp_path / "one", dtype="float16")
    (told, its_scores), (nothing, same_scores) = run_in_processes(
        in_two_processes, 2, tiny_config, tmp_path / "two", rows_at_once
    )
    assert nothing is None
    for found, expected in zip(told, (images.embeddings, images.labels, images.ids), strict=True):
        assert np.array_equal(found, expected)
    assert its_scores == same_scores == scores


@pytest.mark.parametrize(
    ("test_cfg", "message"),
    [
        (dict(dtype="half"), r"test_cfg\.dtype: 'half' must be one of float32, float16"),
        (dict(mapped_above_gb="4 GB"), r"test_cfg\.mapped_above_gb: '4 GB' must be a number >= 0"),
        (dict(mapped_above_gb=-1), r"test_cfg\.mapped_above_gb: -1 must be a number >= 0"),
        (dict(mapped_above=1), r'test_cfg\.mapped_above: there is no such key; did you mean "mapped_above_gb"'),
    ],
)
def test_other_settings_are_refused_before_anything_is_built(tiny_config, test_cfg, message):
    with pytest.raises(ConfigError, match=message):
        build_runner(tiny_config | {"test_cfg": test_cfg})


def test_the_command_says_in_words_what_cannot_be_scored(tiny_config, tmp_path, capsys):
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    checkpoint = next((tmp_path / "run").glob("iter_*.pth"))
    broken = torch.load(checkpoint, weights_only=False)
    broken["state_dict"]["head.linear.weight"][0, 0] = float("nan")
    save_checkpoint(broken, tmp_path / "broken.pth")
    for file, options, message in (
        (tmp_path / "broken.pth", (), "24 of 24 embeddings are not finite (the first ids: 0, 1, 2, 3, 4)"),
        (checkpoint, ("--cfg-options", "evaluators.0.ks=[1,500]"), "at most 23, the images that a query can find"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="1"):
            main(["test", str(script), str(file), "--device", "cpu", "--work-dir", str(tmp_path / "test"), *options])
        assert message in capsys.readouterr().err
