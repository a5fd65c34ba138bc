"""A cluster's signal ends a training between two updates; the same command then goes on, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from metricforge import build_runner
from metricforge.datasets import image_dataset
from metricforge.engine.loops.stop_signals import StopSignals
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError, TrainingStopped
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.testing import run_in_processes


@pytest.fixture(autouse=True)
def _hears_hangups():
    """Also where nohup has started these tests: what ignores SIGHUP then goes on, as it should."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(checkpoint_files(folder)[0])["state_dict"]


def train(config, folder, send=None, at=0, resume="auto"):
    """Trains; the signal ``send`` arrives within update number ``at``."""
    runner = build_runner(config, work_dir=folder, device="cpu", resume=resume)
    original = runner.model.train_step

    def step(*args, **kwargs):
        if send is not None and runner.iter == at - 1:
            os.kill(os.getpid(), send)
        return original(*args, **kwargs)

    runner.model.train_step = step
    runner.train()
    return runner


@pytest.mark.parametrize(("name", "at"), [("SIGUSR1", 4), ("SIGHUP", 6)], ids=["within an epoch", "at its end"])
def test_the_update_is_finished_and_saved_and_the_same_call_goes_on_bit_for_bit(tiny_config, tmp_path, name, at):
    tiny_config["checkpoint"] = dict(interval=2)
    tiny_config["train_cfg"]["max_epochs"] = 2
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(
        TrainingStopped, match=rf"stopped by {name} after {at} updates; .*iter_{at}.pth is saved"
    ) as end:
        train(tiny_config, tmp_path / "cut", getattr(signal, name), at)
    assert end.value.exit_code == 75
    assert end.value.checkpoint == tmp_path / "cut" / f"iter_{at}.pth"
    assert checkpoint_files(tmp_path / "cut") == [end.value.checkpoint]
    assert signal.getsignal(getattr(signal, name)) is before
    train(tiny_config, tmp_path / "cut")
    train(tiny_config, tmp_path / "whole")
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert [key for key in whole if not torch.equal(whole[key], cut[key])] == []


def test_a_damaged_checkpoint_of_the_same_update_is_not_taken_for_the_one_that_is_saved(tiny_config, tmp_path):
    for _ in range(2):
        with pytest.raises(TrainingStopped, match=r"iter_8\.pth is saved"):
            train(tiny_config, tmp_path, signal.SIGTERM, 8)
        assert load_checkpoint(tmp_path / "iter_8.pth")["meta"]["iteration"] == 8
        (tmp_path / "iter_8.pth").write_bytes(b"what a lost connection leaves")


def test_an_evaluation_ends_at_once_and_the_run_before_it_is_saved(tiny_config, tmp_path, monkeypatch):
    tiny_config["checkpoint"] = dict(interval=3, exit_code=9)
    tiny_config["validation"] = "test"
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume="auto")
    after = []

    def embed(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        after.append("went on")

    monkeypatch.setattr("metricforge.engine.loops.evaluation_loop.embed_dataset", embed)
    with pytest.raises(TrainingStopped) as end:
        runner.train()
    assert after == []
    assert (end.value.iteration, end.value.exit_code) == (6, 9)
    assert [file.name for file in checkpoint_files(tmp_path)] == ["iter_6.pth"]


def stopped_in_second_validations(config, folder):
    """Of a run that was saved before that validation began, and of one that was not."""
    for interval in (1, 3):
        config["checkpoint"] = dict(interval=interval)
        runner = build_runner(config, work_dir=folder / str(interval), device="cpu")
        score = runner.val_loop.score

        def signalled(*args, runner=runner, score=score):
            if runner.epoch == 2 and runner.processes.rank == runner.processes.world_size - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return score(*args)

        runner.val_loop.score = signalled
        with pytest.raises(TrainingStopped):
            runner.train()


@pytest.mark.parametrize(
    ("averaging", "processes"),
    [
        (dict(type="EMAHook"), 1),
        (dict(type="SWAHook", begin=0.0), 1),
        pytest.param(dict(type="EMAHook"), 2, marks=pytest.mark.slow),
    ],
    ids=["EMAHook", "SWAHook", "two processes"],
)
def test_what_is_saved_is_the_run_before_the_validation_in_which_a_signal_arrived(
    tiny_config, tmp_path, averaging, processes
):
    stopping = dict(type="EarlyStoppingHook", patience=3, priority="VERY_LOW")
    tiny_config |= dict(validation="test", custom_hooks=[averaging, stopping])
    if processes == 1:
        stopped_in_second_validations(tiny_config, tmp_path)
    else:
        run_in_processes(stopped_in_second_validations, processes, tiny_config, tmp_path)
    before, found = (load_checkpoint(tmp_path / interval / "iter_12.pth") for interval in "13")
    for part in ("state_dict", "ema_state_dict"):
        assert [name for name, value in before[part].items() if not torch.equal(value, found[part][name])] == []
    assert found["early_stopping"] == before["early_stopping"]
    assert found["meta"]["candidates"] == before["meta"]["candidates"]


def test_an_image_that_an_evaluation_reads_meanwhile_is_not_taken_for_the_cause(tiny_config, tmp_path, monkeypatch):
    tiny_config["validation"] = "test"
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume="auto")
    apply = image_dataset._applied

    def applied(step, image):
        if runner.stop_signals.ends_at_once and runner.iter:
            os.kill(os.getpid(), signal.SIGTERM)
        return apply(step, image)

    monkeypatch.setattr(image_dataset, "_applied", applied)
    with pytest.raises(TrainingStopped, match="stopped by SIGTERM after 6 updates"):
        runner.train()


def test_before_the_first_update_there_is_nothing_to_save_and_the_next_start_begins(tiny_config, tmp_path):
    class Early:
        def before_train(self, runner):
            os.kill(os.getpid(), signal.SIGTERM)

    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume="auto")
    runner.hooks[0].before_train = Early().before_train
    with pytest.raises(TrainingStopped, match="nothing was to be saved yet"):
        runner.train()
    assert checkpoint_files(tmp_path) == []
    assert train(tiny_config, tmp_path).iter == 18


def test_auto_begins_a_new_folder_and_takes_up_the_newest_one(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(tiny_config, None).run_dir == Path("runs/triplet_image_folder")
    tiny_config["train_cfg"]["max_epochs"] = 4
    again = train(tiny_config, None)
    assert (again.run_dir, again.iter) == (Path("runs/triplet_image_folder"), 24)
    assert [path.name for path in Path("runs").iterdir()] == ["triplet_image_folder"]


def test_auto_does_not_write_over_scores_without_a_checkpoint(tiny_config, tmp_path):
    (tmp_path / "scores.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds another run's scores\.json"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume="auto")
    build_runner(tiny_config, work_dir=tmp_path / "other", device="cpu", resume="auto")


def test_an_exit_code_that_no_process_can_have_is_a_fault(tiny_config, tmp_path):
    tiny_config["checkpoint"] = dict(exit_code=300)
    with pytest.raises((ConfigError, ValueError), match=r"exit_code.*300"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")


def test_an_ignored_hangup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals = StopSignals()
        with signals.listening():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is None
    finally:
        signal.signal(signal.SIGHUP, before)


SLOW_STEP = """
import time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class SaysItsUpdates(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        print("update", runner.iter + 1, flush=True)
        time.sleep({seconds})
"""


def hears_ctrl_c() -> None:
    """Undo, before a command starts, what a shell does to all that it starts behind ``&``: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tiny_config, tmp_path):
    """Starts ``metricforge train`` in a session of its own, with two workers."""
    started = []

    def begin(seconds: float) -> subprocess.Popen[str]:
        (tmp_path / "says_its_updates.py").write_text(SLOW_STEP.format(seconds=seconds))
        tiny_config["custom_imports"] = dict(imports=["says_its_updates"])
        tiny_config["custom_hooks"] = [dict(type="SaysItsUpdates")]
        tiny_config["train_dataloader"]["num_workers"] = 2
        script = tmp_path / "config.py"
        script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
        command = [sys.executable, "-m", "metricforge", "train", str(script), "--device", "cpu", "--resume", "auto"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        process = subprocess.Popen(
            [*command, "--work-dir", str(tmp_path / "run")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=hears_ctrl_c,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def await_update(process: subprocess.Popen[str], number: int) -> str:
    said = ""
    while f"update {number}\n" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


@pytest.mark.slow
def test_a_signal_to_all_processes_of_a_command_ends_it_with_75_and_the_same_command_goes_on(start, tmp_path):
    process = start(0.2)
    await_update(process, 8)
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 75, said
    assert "stopped by SIGTERM" in said
    assert "--resume auto" in said
    assert "Traceback" not in said
    again = start(0)
    said = again.communicate(timeout=120)[0]
    assert again.returncode == 0, said
    assert "resumed from iter_" in said
    assert "update 18\n" in said
    assert "update 8\n" not in said


@pytest.mark.slow
def test_ctrl_c_ends_a_command_in_two_seconds_and_says_what_is_saved(start, tmp_path):
    process = start(0.2)
    await_update(process, 8)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert time.monotonic() - began < 5  # two seconds, on a machine that has nothing else to do
    said = process.communicate()[0]
    assert process.returncode == 130, said
    assert "iter_6.pth is saved, what came after it is not" in said
    assert f"--work-dir {tmp_path / 'run'} --resume auto" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_ctrl_c_that_is_pressed_again_and_again_ends_a_command_as_once(start, tmp_path):
    process = start(0.2)
    await_update(process, 8)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert said.count("iter_6.pth is saved, what came after it is not") == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_library_that_computes_on(tmp_path):
    script = tmp_path / "computes.py"
    script.write_text(
        "import threading, torch\n"
        "from metricforge.cli.interruption import ends_soon\n"
        "x = torch.randn(6000, 6000, dtype=torch.float64)\n"
        "with ends_soon(lambda: print('saved: nothing', flush=True)):\n"
        "    print('computes', flush=True)\n"
        "    torch.linalg.svd(x)\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=hears_ctrl_c
    )
    assert process.stdout.readline() == "computes\n"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(30) == 130
    assert time.monotonic() - began < 5
    assert process.stdout.read() == "saved: nothing\n"
