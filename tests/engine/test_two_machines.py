"""Two machines, made of network namespaces: torchrun over a cable between them, and that cable cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from metricforge import build_runner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.testing import run_in_processes

HOOK = """
import time

from mmengine.hooks import Hook

from metricforge import HOOKS

@HOOKS.register_module()
class TakesItsTime(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(0.2)
"""


class TwoMachines:
    """Namespaces ``node0`` and ``node1`` with names, addresses and a cable of their own; they share the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = [f"metricforge{os.getpid()}-{number}" for number in (0, 1)]
        self._cable = [f"mf{os.getpid()}-{number}" for number in (0, 1)]
        self._running: list[subprocess.Popen[bytes]] = []
        (folder / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 node0\n10.77.0.2 node1\n")

    def connect(self) -> None:
        """Make them."""
        for name in self._names:
            _ip("netns", "add", name)
        _ip("link", "add", self._cable[0], "netns", self._names[0], "type", "veth", "peer", "name", self._cable[1])
        _ip("link", "set", self._cable[1], "netns", self._names[1])
        for number, (name, end) in enumerate(zip(self._names, self._cable, strict=True)):
            _ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", end)
            for device in ("lo", end):
                _ip("-n", name, "link", "set", device, "up")

    def start(self, number: int, command: list[str]) -> subprocess.Popen[bytes]:
        """Run ``command`` on one of them."""
        # no name server: asking one that cannot be reached takes a minute
        mounts = 'mount --bind "$1" /etc/hosts; mount --bind /dev/null /etc/resolv.conf'
        inside = f'{mounts}; hostname "$2"; shift 2; exec "$@"'
        where = ["ip", "netns", "exec", self._names[number], "unshare", "--uts", "--mount", "sh", "-ec", inside, "sh"]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(self._folder), *sys.path]),
        }
        process = subprocess.Popen(
            [*where, str(self._folder / "hosts"), f"node{number}", *command],
            env=environment,
            stdout=(self._folder / f"said{number}").open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def said(self, number: int) -> str:
        """What was printed on one of them so far."""
        return (self._folder / f"said{number}").read_text()

    def await_text(self, number: int, text: str, seconds: float) -> None:
        """Wait until ``text`` is printed on one of them."""
        deadline = time.monotonic() + seconds
        while text not in self.said(number):
            assert time.monotonic() < deadline, f"node{number} did not say {text!r}:\n{self.said(0)}{self.said(1)}"
            time.sleep(0.1)

    def cut(self) -> None:
        """Pull the cable: nothing arrives any more, and nobody is told."""
        _ip("-n", self._names[1], "link", "set", self._cable[1], "down")

    def close(self) -> None:
        """End what still runs, and remove them."""
        for process in self._running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        for name in self._names:
            with suppress(OSError):
                _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[TwoMachines]:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("needs the commands ip and unshare")
    made = TwoMachines(tmp_path)
    try:
        try:
            made.connect()
        except OSError as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        yield made
    finally:
        made.close()


def train_on_both(machines: TwoMachines, config: dict[str, Any], folder: Path) -> list[subprocess.Popen[bytes]]:
    (folder / "takes_its_time.py").write_text(HOOK)
    script = folder / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()))
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "node0:29400", "-m", "metricforge", "train", str(script)]
    command += ["--device", "cpu", "--work-dir", str(folder / "run")]
    return [machines.start(number, command) for number in (0, 1)]


def trained(config: dict[str, Any], folder: Path) -> dict[str, torch.Tensor]:
    runner = build_runner(config, work_dir=folder, device="cpu")
    runner.train()
    weights: dict[str, torch.Tensor] = runner.model.state_dict()
    return weights


@pytest.mark.slow
def test_two_machines_train_what_two_processes_of_one_do(machines, tiny_config, tmp_path):
    tiny_config["train_cfg"]["max_epochs"] = 1
    both = train_on_both(machines, tiny_config, tmp_path)
    assert [process.wait(900) for process in both] == [0, 0], machines.said(0) + machines.said(1)
    assert machines.said(0).count("epoch 1/1") == 1
    assert "epoch" not in machines.said(1)
    here = run_in_processes(trained, 2, tiny_config, tmp_path / "here")[0]
    there = load_checkpoint(checkpoint_files(tmp_path / "run")[0])["state_dict"]
    assert [name for name, weight in here.items() if not torch.equal(weight, there[name])] == []


@pytest.mark.slow
def test_a_cut_cable_ends_the_processes_of_both_machines_and_each_says_what_is_gone(machines, tiny_config, tmp_path):
    tiny_config |= dict(custom_imports=dict(imports=["takes_its_time"]), custom_hooks=[dict(type="TakesItsTime")])
    tiny_config["train_cfg"]["max_epochs"] = 1000
    train_on_both(machines, tiny_config, tmp_path)
    machines.await_text(0, " 1/1000  loss", seconds=900)
    machines.cut()
    cut_at = time.monotonic()
    machines.await_text(0, "all processes end", seconds=60)
    machines.await_text(1, "the connection to it is gone", seconds=60 - (time.monotonic() - cut_at))
    (first,) = [line for line in machines.said(0).splitlines() if line.startswith("error: ")]
    assert first.startswith("error: process 1 (pid ")
    assert "on node1) cannot be reached for" in first
    (second,) = [line for line in machines.said(1).splitlines() if line.startswith("error: ")]
    assert second.startswith("error: process 1 (pid ")
    assert "on node1) no longer reaches node0:" in second
