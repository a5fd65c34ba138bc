"""One of the processes that torchrun started dies, hangs or runs out of memory: real torchrun, real signals."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch

from metricforge import build_runner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.testing import run_in_processes

HOOK = """
import os
import signal
import sys
import time
from pathlib import Path

from mmengine.hooks import Hook

from metricforge import HOOKS

@HOOKS.register_module()
class Suffers(Hook):
    def __init__(self, what, at):
        self.what, self.at = what, at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if os.environ["RANK"] != "1" or runner.iter != self.at:
            return
        once = Path(str(runner.run_dir) + ".suffered")
        if once.exists():
            return
        once.touch()
        if self.what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.what == "hangs":
            time.sleep(300)
        elif self.what == "memory":
            raise MemoryError("Unable to allocate 80. GiB")
        elif self.what == "fails":
            raise ZeroDivisionError("a fault of this hook")
        elif self.what == "exits":
            sys.exit(0)
"""


@pytest.fixture
def torchrun(tiny_config, tmp_path):
    """Runs ``metricforge train`` in two processes, of which number 1 suffers something before update 8, once."""

    def run(what: str, folder: str = "run", restarts: int = 0, **train_cfg) -> tuple[int, str, float]:
        (tmp_path / "suffers.py").write_text(HOOK)
        config = dict(tiny_config)
        config["custom_imports"] = dict(imports=["suffers"])
        config["custom_hooks"] = [dict(type="Suffers", what=what, at=7)]
        config["train_cfg"] = dict(max_epochs=2) | train_cfg
        config["checkpoint"] = dict(interval_iterations=3)
        script = tmp_path / "config.py"
        script.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()))
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        command += ["--max-restarts", str(restarts), "-m", "metricforge", "train", str(script), "--device", "cpu"]
        command += ["--work-dir", str(tmp_path / folder), "--resume", "auto"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        began = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
        return done.returncode, done.stdout + done.stderr, time.monotonic() - began

    return run


def own_words(said: str) -> list[str]:
    """The errors that the training printed; torchrun's summary of exit codes follows them."""
    return [line for line in said.splitlines() if line.startswith("error: ")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("dies", " seconds ago: it was killed"),
        ("hangs", "hangs: it has been at update 8 for "),
        ("memory", "ran out of memory: Unable to allocate 80. GiB"),
        ("fails", "failed: ZeroDivisionError: a fault of this hook"),
        ("exits", "ends the process (SystemExit: 0) in the middle of the command"),
    ],
)
def test_all_end_within_seconds_with_one_message_that_names_the_process(torchrun, what, words):
    code, said, seconds = torchrun(what, hang_seconds=5)
    assert code != 0
    assert seconds < 90, "without it they would wait for six hours"
    assert len(own_words(said)) == 1, said
    assert own_words(said)[0].startswith("error: process 1 (pid ")
    assert words in own_words(said)[0]
    before_summary = said.split("torch/distributed/elastic")[0]
    assert "Connection closed" not in before_summary
    assert before_summary.count("Traceback") == (what == "fails"), before_summary


def trained(config, folder):
    runner = build_runner(config, work_dir=folder, device="cpu")
    runner.train()
    return runner.model.state_dict()


@pytest.mark.slow
def test_torchrun_restarts_from_the_last_checkpoint_and_ends_bit_equal(torchrun, tiny_config, tmp_path):
    tiny_config |= dict(train_cfg=dict(max_epochs=2), checkpoint=dict(interval_iterations=3))
    whole = run_in_processes(trained, 2, tiny_config, tmp_path / "whole")[0]
    code, said, _ = torchrun("dies", "cut", restarts=1)
    assert code == 0, said
    assert "resumed from iter_6.pth" in said
    cut = load_checkpoint(checkpoint_files(tmp_path / "cut")[0])["state_dict"]
    assert [name for name, weight in whole.items() if not torch.equal(weight, cut[name])] == []
