"""A disk that takes no checkpoint: one line, the last whole one stays, and training goes on if asked."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import threading

import pytest
import torch

from metricforge import build_runner
from metricforge.cli.main import main
from metricforge.engine.records import checkpoint_writer
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import CheckpointError, ConfigError, RunFolderError, TrainingStopped
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history

FAULTS = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EROFS: "Read-only file system",
}


def said_by(runner):
    said = []
    runner.say = runner.writer._say = said.append
    return said


@pytest.fixture
def failing(monkeypatch):
    """Makes the disk refuse some checkpoints with an error number."""

    def begin(number, names):
        save = checkpoint_writer.save_checkpoint

        def refuse(checkpoint, path):
            if path.name in names:
                try:
                    raise OSError(number, os.strerror(number), str(path))
                except OSError:
                    raise RuntimeError("[enforce fail at inline_container.cc:671]")  # noqa: B904  (as torch does)
            save(checkpoint, path)

        monkeypatch.setattr(checkpoint_writer, "save_checkpoint", refuse)

    return begin


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("number", FAULTS)
def test_training_ends_in_one_line_and_the_last_whole_checkpoint_stays(
    tiny_config, tmp_path, failing, number, background
):
    failing(number, {"iter_12.pth"})
    tiny_config["checkpoint"] = dict(background=background)
    with pytest.raises(CheckpointError) as caught:
        build_runner(tiny_config, work_dir=tmp_path, device="cpu").train()
    assert "\n" not in str(caught.value)
    assert f"iter_12.pth cannot be written: {FAULTS[number]}; iter_6.pth is whole and stays; make" in str(caught.value)
    assert [file.name for file in checkpoint_files(tmp_path)] == ["iter_6.pth"]


def test_training_goes_on_if_asked_and_the_next_checkpoint_tries_again(tiny_config, tmp_path, failing):
    tiny_config["checkpoint"] = dict(background=False)
    whole = build_runner(tiny_config, work_dir=tmp_path / "whole", device="cpu")
    whole.train()
    failing(errno.ENOSPC, {"iter_6.pth", "iter_12.pth"})
    tiny_config["checkpoint"] = dict(on_error="warn")
    runner = build_runner(tiny_config, work_dir=tmp_path / "full", device="cpu")
    said = said_by(runner)
    runner.train()
    told = [line for line in said if "cannot be written" in line]
    assert [("iter_6.pth" in line, "there is no earlier one" in line) for line in told] == [(True, True), (False, True)]
    one, other = (load_checkpoint(tmp_path / name / "iter_18.pth")["state_dict"] for name in ("full", "whole"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert runner.last_scores == whole.last_scores


@pytest.mark.parametrize(
    ("on_error", "error", "says", "how"),
    [
        ("warn", TrainingStopped, r"after 8 updates; .*iter_6\.pth is saved", "stopped"),
        ("stop", CheckpointError, r"iter_8\.pth cannot be written: No space left .*; iter_6\.pth is whole", "failed"),
    ],
)
def test_a_signal_that_comes_while_the_disk_is_full_names_the_checkpoint_that_is_there(
    tiny_config, tmp_path, failing, on_error, error, says, how
):
    failing(errno.ENOSPC, {"iter_8.pth"})
    tiny_config["checkpoint"] = dict(on_error=on_error)
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    original = runner.model.train_step

    def step(*args, **kwargs):
        if runner.iter == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    runner.model.train_step = step
    with pytest.raises(error, match=says):
        runner.train()
    assert read_history(tmp_path)[-1]["ended"]["how"] == how


def test_a_signal_in_the_test_does_not_save_the_chosen_weights_as_the_last_ones(
    tiny_config, tmp_path, failing, monkeypatch
):
    refused = {"iter_18.pth"}
    failing(errno.ENOSPC, refused)
    tiny_config["checkpoint"] = dict(on_error="warn")
    tiny_config["validation"] = "test"
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")

    def test():
        refused.clear()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runner.test_loop, "run", test)
    with pytest.raises(TrainingStopped, match=r"after 18 updates; .*iter_12\.pth is saved"):
        runner.train()
    assert [file.name for file in checkpoint_files(tmp_path)] == ["iter_12.pth", "iter_6.pth"]


@pytest.mark.parametrize(("on_error", "end"), [("stop", 'checkpoint.on_error="warn"'), ("warn", "--resume")])
def test_scores_that_a_full_disk_does_not_take_are_one_line(tiny_config, tmp_path, monkeypatch, on_error, end):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "scores.json"))

    monkeypatch.setattr("metricforge.evaluation.results.scores_file.write_atomically", full)
    tiny_config["checkpoint"] = dict(on_error=on_error)
    with pytest.raises(RunFolderError) as caught:
        build_runner(tiny_config, work_dir=tmp_path, device="cpu").train()
    assert str(caught.value).startswith(f"{tmp_path}: cannot be written: No space left on device. Make room")
    assert str(caught.value).endswith(end)


def test_a_training_of_which_nothing_could_be_saved_ends_in_an_error(tiny_config, tmp_path, failing, capsys):
    failing(errno.ENOSPC, {"iter_6.pth", "iter_12.pth", "iter_18.pth"})
    tiny_config["checkpoint"] = dict(on_error="warn")
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    with pytest.raises(SystemExit) as end:
        main(["train", str(script), "--work-dir", str(tmp_path / "run"), "--device", "cpu"])
    assert end.value.code == 1
    said = capsys.readouterr()
    assert f"{tmp_path / 'run'}: holds no weights, because the disk took no checkpoint" in said.err
    assert "recall@1" in said.out


@pytest.mark.parametrize("on_error", ["stop", "warn"])
def test_a_folder_that_vanishes_is_not_made_anew_unnoticed(tiny_config, tmp_path, on_error):
    tiny_config["checkpoint"] = dict(on_error=on_error)
    tiny_config["train_cfg"]["val_interval"] = 0
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    said, original = said_by(runner), runner.model.train_step

    def step(*args, **kwargs):
        if runner.iter == 3:
            shutil.rmtree(tmp_path / "run")
        return original(*args, **kwargs)

    runner.model.train_step = step
    if on_error == "stop":
        with pytest.raises(
            (RunFolderError, CheckpointError), match=r"cannot be written: (the folder has vanished|No such file)"
        ):
            runner.train()
    else:
        runner.train()
        assert sum("the folder has vanished" in line for line in said) >= 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("at", [0, 3], ids=["before training", "in training"])
def test_a_folder_that_a_file_has_taken_the_place_of_is_one_line(tiny_config, tmp_path, at):
    tiny_config["train_cfg"]["val_interval"] = 0
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    original = runner.model.train_step

    def replace():
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").write_text("")

    def step(*args, **kwargs):
        if runner.iter == at:
            replace()
        return original(*args, **kwargs)

    if at:
        runner.model.train_step = step
    else:
        replace()
    with pytest.raises((RunFolderError, CheckpointError), match=r"cannot be written: (Not a directory|the folder)"):
        runner.train()


def test_lines_of_the_history_wait_until_the_disk_takes_them(tiny_config, tmp_path, monkeypatch):
    tiny_config["checkpoint"] = dict(on_error="warn")
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    path, original = type(runner.history._path), type(runner.history._path).open

    def full(self, *args, **kwargs):
        if self.name == "history.jsonl" and args == ("a",) and runner.iter < 10:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(path, "open", full)
    runner.train()
    assert [line["iteration"] for line in read_history(tmp_path / "run") if "losses" in line] == list(range(2, 19, 2))


def test_updates_go_on_while_a_file_is_written_and_it_holds_what_was_there_when_it_was_begun(
    tiny_config, tmp_path, monkeypatch
):
    tiny_config["checkpoint"] = dict(max_keep=3)
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    save, goes_on = checkpoint_writer.save_checkpoint, threading.Event()
    seen = {}

    def slow(checkpoint, path):
        if path.name == "iter_6.pth":
            assert goes_on.wait(60), "training waited for the file"
        save(checkpoint, path)

    original = runner.model.train_step

    def step(*args, **kwargs):
        if runner.iter == 6:
            seen.update({name: value.clone() for name, value in runner.model.state_dict().items()})
        if runner.iter == 10:
            goes_on.set()
        return original(*args, **kwargs)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", slow)
    runner.model.train_step = step
    runner.train()
    found = load_checkpoint(tmp_path / "iter_6.pth")["state_dict"]
    assert [name for name in seen if not torch.equal(seen[name], found[name])] == []


def test_another_answer_to_a_full_disk_is_a_fault(tiny_config, tmp_path):
    tiny_config["checkpoint"] = dict(on_error="ignore")
    with pytest.raises(ConfigError, match="on_error: 'ignore' must be 'stop' or 'warn'"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_last_whole_checkpoint(tiny_config, small_disk):
    with pytest.raises(CheckpointError, match=r"iter_12.pth cannot be written: No space left on device; iter_6.pth is"):
        build_runner(tiny_config, work_dir=small_disk / "run", device="cpu").train()
    assert load_checkpoint(small_disk / "run" / "iter_6.pth")["meta"]["iteration"] == 6
    assert [file.name for file in (small_disk / "run").glob("*.pth*")] == ["iter_6.pth"]
