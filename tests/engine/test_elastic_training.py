"""torchrun goes on with fewer machines, and with one that joins later: real torchrun, one process a machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, list[str]], subprocess.Popen[bytes]]]:
    """Starts a command in a process group of its own, which writes to the file of that name; kills what is left."""
    started = []

    def begin(name: str, command: list[str]) -> subprocess.Popen[bytes]:
        # by default torchrun tells the address at which all meet to those alone that are there at the beginning
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        with (tmp_path / name).open("w") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """With what it has started: torchrun's processes have groups of their own."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = [int(pid) for pid in children.read_text().split()] if process.poll() is None else []
    for pid in [*pids, process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    process.wait()


def await_text(file: Path, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + 120
    while file.read_text().count(text) < count:
        assert time.monotonic() < deadline, f"not {count} times {text!r}:\n{file.read_text()}"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc, which Linux has")
def test_a_training_goes_on_without_a_machine_and_with_another_that_joins(tiny_config, tmp_path, start):
    tiny_config |= dict(train_cfg=dict(max_epochs=100_000), checkpoint=dict(interval_iterations=3), param_scheduler=[])
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--nproc-per-node", "1"]
    command += ["--max-restarts", "3", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}"]
    command += ["--rdzv-conf", "last_call_timeout=8", "-m", "metricforge", "train", str(script), "--device", "cpu"]
    command += ["--work-dir", str(tmp_path / "run"), "--resume", "auto"]
    start("first", command)
    time.sleep(2)  # it keeps the meeting place
    second = start("second", command)
    first = tmp_path / "first"
    await_text(first, "on 2 processes")
    await_text(first, " 2/100000  loss")
    kill(second)
    await_text(first, "it was killed, or left by os._exit\nall processes end")
    await_text(first, "resumed from iter_")
    assert first.read_text().count("on 2 processes") == 1
    third = start("third", command)
    await_text(first, "on 2 processes", count=2)
    await_text(first, "resumed from iter_", count=2)
    epoch = first.read_text().rpartition("resumed from iter_")[0].count("epoch ")
    await_text(first, "epoch ", count=epoch + 3)
    assert third.poll() is None
    assert (tmp_path / "third").read_text().count("Traceback") == 0
