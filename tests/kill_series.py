"""Kills a training with -9 while it writes checkpoints in the background to a slow disk, again and again.

python tests/kill_series.py --kills 60              # what docs/reliability.md reports
python tests/kill_series.py --kills 18 --sharded    # two processes of torchrun, and checkpoints in shards

After each kill the newest checkpoint must be whole, and hold bit for bit what an uninterrupted run had after as many
updates; the next process takes it up, and once a run has been let to its end that is compared as well.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
import slow_disk
import stored_run

from metricforge import build_runner
from metricforge.engine.metric_runner import MetricRunner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.engine.records.shard_files import SHARDS
from metricforge.run_records.checkpoint_files import checkpoint_files

KILLS_PER_RUN = 6
EPOCHS, INTERVAL = 8, 3
SHARD_FILES = ("0-of-2.pth", "1-of-2.pth")
SAVE_SECONDS = 0.6  # that the slow disk takes about for a checkpoint in shards
SECONDS = 300  # after which a training hangs


def train(folder: str, keep: int, told: Connection | None) -> None:
    """Train in ``folder``, or take up the training there; tell through ``told`` when a checkpoint begins and ends."""
    if told is not None:
        slow_disk.slow_down(lambda *event: told.send(event))
    runner_for(folder, keep).train()


def runner_for(folder: str, keep: int) -> MetricRunner:
    """The runner of a small training, which keeps so many checkpoints."""
    config = stored_run.config(EPOCHS) | dict(checkpoint=dict(max_keep=keep, interval_iterations=INTERVAL))
    console = Console(file=io.StringIO())
    return build_runner(config, work_dir=folder, device="cpu", resume="auto", console=console)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two parts of checkpoints hold the same bits."""
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(same(*pair) for pair in zip(ours, theirs, strict=True))
    return bool(ours == theirs)


def write_vectors(path: Path) -> None:
    """Write the vectors that are trained on."""
    generator = np.random.default_rng(0)
    labels = np.arange(8).repeat(6)
    vectors = (generator.normal(size=(8, 6))[labels] + generator.normal(size=(48, 6))).astype(np.float32)
    np.savez(path, embeddings=vectors, labels=labels)


class KillSeries(ABC):
    """Runs in ``folder``, killed at moments that ``seed`` decides and compared with one that was left alone."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = np.random.default_rng(seed)
        self.found: Counter[str] = Counter()
        self.train("whole", 1000)
        self._whole = {path.name: load_checkpoint(path) for path in checkpoint_files(folder / "whole")}

    def run(self, kills: int) -> None:
        """Kill ``kills`` times."""
        number = 0
        while kills:
            number += 1
            for _ in range(min(KILLS_PER_RUN, kills)):
                if self.kill(f"run{number}"):
                    kills -= 1
                    self._compare(f"run{number}", "killed")
            self.train(f"run{number}", 2)
            self._compare(f"run{number}", "ended")
            self.found["runs"] += 1

    @abstractmethod
    def train(self, name: str, keep: int) -> None:
        """Train the run ``name`` to its end, with so many checkpoints kept."""

    @abstractmethod
    def kill(self, name: str) -> bool:
        """Start or resume the run, and kill it within one of the next three checkpoints; whether it came to that."""

    def _compare(self, name: str, how: str) -> None:
        files = checkpoint_files(self.folder / name)
        if not files:
            self.found["no checkpoint yet"] += 1
            return
        found, whole = load_checkpoint(files[0]), self._whole[files[0].name]
        parts = ("state_dict", "optimizer", "param_schedulers")
        differ = [part for part in parts if not same(found[part], whole[part])]
        assert not differ, f"{name} {how}: {files[0].name} differs in {', '.join(differ)}"
        if how == "ended":
            assert files[0].name == max(self._whole, key=lambda file: int(file[5:-4])), f"{name} ended early"
            shards = sorted(path.name.partition("-")[0] for path in (self.folder / name / SHARDS).glob("*"))
            assert shards in ([], sorted(file.stem for file in files)), f"{name} left {shards} behind"


class InOneFile(KillSeries):
    """One process, forked so that nothing is imported anew."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._context = multiprocessing.get_context("fork")
        runner_for("imports", 2)
        super().__init__(folder, seed)

    def train(self, name: str, keep: int) -> None:
        process = self._start(name, keep, None)
        process.join()
        assert process.exitcode == 0, f"{name} ended with {process.exitcode}"

    def kill(self, name: str) -> bool:
        heard, told = self._context.Pipe(duplex=False)
        process = self._start(name, 2, told)
        told.close()
        events: list[str] = []
        with suppress(EOFError):
            for _ in range(int(self.chance.integers(1, 4))):
                while heard.recv()[0] != "begins":
                    pass
            events.append("begins")
            time.sleep(self.chance.uniform(0, 0.25))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        with suppress(EOFError):
            while True:
                events.append(heard.recv()[0])
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0, f"{name} ended with {process.exitcode}"
            return False
        self.found["within a write" if events[-1] == "begins" else "between two writes"] += 1
        return True

    def _start(self, name: str, keep: int, told: Connection | None) -> Any:
        arguments = (str(self.folder / name), keep, told)
        process = self._context.Process(target=train, args=arguments, daemon=True)
        process.start()
        return process


class InShards(KillSeries):
    """Two processes of torchrun, which share out backbone and checkpoints; one of them is killed, or both at once."""

    def train(self, name: str, keep: int) -> None:
        with self._started(name, keep, os.environ) as torchrun:
            said = torchrun.communicate(timeout=SECONDS)[0]
        assert torchrun.returncode == 0, f"{name} ended with {torchrun.returncode}: {said}"

    def kill(self, name: str) -> bool:
        told = self.folder / "told.txt"
        told.write_text("")
        victims = (["0-of-2.pth"], ["1-of-2.pth"], ["0-of-2.pth", "1-of-2.pth"])[self.chance.integers(3)]
        wanted = int(self.chance.integers(1, 4))
        with self._started(name, 2, os.environ | {slow_disk.TOLD: str(told)}) as torchrun:
            while torchrun.poll() is None and any(_begun(told).count(file) < wanted for file in SHARD_FILES):
                time.sleep(0.005)
            time.sleep(self.chance.uniform(0, SAVE_SECONDS))
            pids = {file: int(pid) for _, file, pid in _events(told)}
            for victim in victims:
                with suppress(ProcessLookupError, KeyError):
                    os.kill(pids[victim], signal.SIGKILL)
            events = _events(told)
            said = torchrun.communicate(timeout=SECONDS)[0]
        if torchrun.returncode == 0:
            return False
        assert len(victims) == 2 or "it was killed" in said, said
        written = Counter(file for what, file, _ in events if what == "begins")
        written.subtract(file for what, file, _ in events if what == "ends")
        rows, rest = any(written[file] for file in SHARD_FILES), any(written.values())
        self.found["within the rows" if rows else "within the rest" if rest else "between two writes"] += 1
        self.found[f"of {' and '.join(f'process {file[0]}' for file in victims)}"] += 1
        return True

    @contextmanager
    def _started(self, name: str, keep: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        config = stored_run.config(EPOCHS) | dict(
            custom_imports=dict(imports=["slow_disk", "vector_layers"]),
            checkpoint=dict(max_keep=keep, interval_iterations=INTERVAL, sharded=True),
        )
        config["model"]["backbone"] = dict(type="VectorLayers")
        config["train_cfg"] |= dict(shard_backbone=True)
        script = self.folder / "config.py"
        script.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()))
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        command += ["-m", "metricforge", "train", str(script), "--device", "cpu"]
        command += ["--work-dir", str(self.folder / name), "--resume", "auto"]
        paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        with subprocess.Popen(
            command,
            env={**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as torchrun:
            try:
                yield torchrun
            finally:
                torchrun.kill()


def _events(told: Path) -> list[list[str]]:
    """What the processes told so far: "begins" or "ends", the file, the process's id."""
    return [line.split() for line in told.read_text().splitlines()]


def _begun(told: Path) -> list[str]:
    return [file for what, file, _ in _events(told) if what == "begins"]


def main() -> None:
    """Say what held."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sharded", action="store_true", help="two processes of torchrun, checkpoints in shards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_vectors(Path(folder) / "vectors.npz")
        series = (InShards if arguments.sharded else InOneFile)(Path(folder), arguments.seed)
        series.run(arguments.kills)
    kills = ", ".join(f"{count} {what}" for what, count in series.found.items() if what != "runs")
    print(f"{arguments.kills} kills ({kills}); {series.found['runs']} runs ended bit-equal with an uninterrupted one")


if __name__ == "__main__":
    main()
