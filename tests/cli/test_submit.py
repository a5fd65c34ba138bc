"""A training as a job, through submitit's executor on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from contextlib import nullcontext

import pytest

from metricforge.cli.main import main
from metricforge.cli.stopped import Stopped
from metricforge.cli.submit import Training
from metricforge.errors import TrainingStopped
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.run_lock import read_owner


def test_without_a_folder_or_submitit_the_way_out_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SystemExit):
        main(["submit", "normsoftmax_glyphs", "--work-dir", "run"])
    assert "pip install 'metricforge[slurm]'" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [TrainingStopped("SIGUSR1"), Stopped(signal.SIGUSR1)])
@pytest.mark.parametrize("status", [75, 99, 0])  # checkpoint.exit_code
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_job_whose_time_is_over_is_queued_again_by_its_first_process(tmp_path, monkeypatch, stop, status, rank):
    def is_stopped():
        try:
            raise stop
        except (TrainingStopped, Stopped):
            sys.exit(status)

    _end_a_job(is_stopped, rank, tmp_path, monkeypatch)
    assert (tmp_path / "asked").exists() == (rank == "0")
    if rank == "0":
        assert (tmp_path / "asked").read_text() == "requeue 42\n"


@pytest.mark.parametrize("status", [None, 0, 1, 75])
def test_a_job_that_no_signal_ended_is_not_queued_again(tmp_path, monkeypatch, status):
    with pytest.raises(RuntimeError, match=f"ended with {status}") if status else nullcontext():
        _end_a_job(lambda: sys.exit(status), "0", tmp_path, monkeypatch)
    assert not (tmp_path / "asked").exists()


def _end_a_job(end, rank, tmp_path, monkeypatch):
    """Run a job whose training ends as ``end`` does, as process ``rank``; "asked" tells what Slurm was asked for."""
    helpers = pytest.importorskip("submitit.helpers")

    def environment():
        return types.SimpleNamespace(export=lambda **_: monkeypatch.setenv("RANK", rank))

    def ends(words):
        assert words == ["train", "x", "--resume", "auto"]
        end()

    monkeypatch.setattr(helpers, "TorchDistributedEnvironment", environment)
    monkeypatch.setattr("metricforge.cli.main.main", ends)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    Training(["x"])()


@pytest.mark.slow
def test_two_processes_of_a_local_job_train_to_the_end(tiny_config, tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with pytest.raises(SystemExit):
        main(["submit", "normsoftmax_glyphs", "--cluster", "local"])
    assert "--work-dir: is required" in capsys.readouterr().err
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    size = ["--cluster", "local", "--tasks-per-node", "2", "--minutes", "5"]
    main(["submit", str(script), *size, "--device", "cpu", "--work-dir", str(tmp_path / "run")])
    assert "2 processes" in capsys.readouterr().out
    assert checkpoint_files(tmp_path / "run")[0].name == "iter_18.pth"


@pytest.mark.slow
def test_a_job_that_gets_a_real_signal_is_saved_after_its_update_and_ends_well(tiny_config, tmp_path):
    pytest.importorskip("submitit")
    tiny_config |= dict(train_cfg=dict(max_epochs=10_000), param_scheduler=[])
    script, folder = tmp_path / "config.py", tmp_path / "run"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    command = [sys.executable, "-m", "metricforge", "submit", str(script), "--cluster", "local", "--minutes", "5"]
    job = subprocess.Popen(
        [*command, "--device", "cpu", "--work-dir", str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
    )
    try:
        while not list(folder.glob("iter_*.pth")):
            assert job.poll() is None, "it ended before it was told to"
            time.sleep(0.1)
        trained = read_owner(folder)["pid"]
        assert trained != job.pid
        os.kill(trained, signal.SIGUSR2)  # as submitit does two minutes before the time is over
        assert job.wait(120) == 0
    finally:
        job.kill()
    said = "".join(path.read_text() for path in (folder / "slurm").rglob("*_log.*"))
    assert "stopped by SIGUSR2 after " in said
    assert f"--work-dir {folder} --resume auto" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--minutes", "2"], "--minutes: 2 must be more than 2"),
        (["--cluster", "local", "--nodes", "2"], "--nodes: 2 machines, but --cluster local has only this one"),
        ([], "--cluster slurm: this machine has no srun"),
        (["--cluster", "local", "--partition", "gpu"], "--partition: gpu is for Slurm"),
        (["--cluster", "local", "--cpus-per-task", "8"], "--cpus-per-task: 8 is for Slurm"),
        (["--cluster", "local", "--device", "cuda:77"], "cuda:77"),
        (["--cluster", "local", "--tasks-per-node", "999"], "(999)"),
        (["--cluster", "local", "--cfg-options", "model.loss.typ=1"], "model.loss.typ: NormSoftmaxLoss has no such"),
        (["--cluster", "local", "--seed", "-1"], "seed: -1 must be an integer from 0"),
    ],
)
def test_a_job_that_cannot_be_is_refused_before_it_is_submitted(tmp_path, monkeypatch, capsys, options, says):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["submit", "normsoftmax_glyphs", "--work-dir", str(tmp_path / "run"), *options])
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_job_that_slurm_does_not_take_is_one_line(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit")
    for name in ("srun", "sbatch"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpus' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SystemExit):
        main(["submit", "normsoftmax_glyphs", "--work-dir", str(tmp_path / "run"), "--partition", "gpus"])
    said = capsys.readouterr().err
    assert (
        said.splitlines()[-1] == "error: Slurm does not take the job: sbatch: error: invalid partition specified: gpus"
    )
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_local_job_that_fails_names_its_output(tmp_path, monkeypatch, capsys):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with pytest.raises(SystemExit):
        # whose data are not here, and so may be where it trains
        main(
            ["submit", "normsoftmax_cub", "--cluster", "local", "--device", "cpu", "--work-dir", str(tmp_path / "run")]
        )
    said = capsys.readouterr().err
    assert "failed; what it says is in" in said
    assert "Traceback" not in said
