"""Kills a training with -9 while it writes checkpoints in the background to a slow disk, again and again.

python tests/kill_series.py --kills 60    # what docs/reliability.md reports

After each kill the newest checkpoint must be whole, and hold bit for bit what an uninterrupted run had after as many
updates; the next process takes it up, and once a run has been let to its end that is compared as well.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))
import stored_run

from metricforge import atomic_write as atomic_writes
from metricforge import build_runner
from metricforge.engine.metric_runner import MetricRunner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.run_records.checkpoint_files import checkpoint_files

WRITE_SECONDS = 0.004  # that the slow disk takes for each piece of a file
KILLS_PER_RUN = 6
EPOCHS, INTERVAL = 8, 3


class SlowFile(io.BufferedWriter):
    """A file that passes each piece on to the disk at once, and takes its time for it."""

    def write(self, piece: Any) -> int:
        """Write ``piece``, slowly."""
        time.sleep(WRITE_SECONDS)
        count = super().write(piece)
        self.flush()
        return count


def train(folder: str, keep: int, told: Connection | None) -> None:
    """Train in ``folder``, or take up the training there; tell through ``told`` when a checkpoint begins and ends."""
    if told is not None:
        slow_down(told)
    runner_for(folder, keep).train()


def runner_for(folder: str, keep: int) -> MetricRunner:
    """The runner of a small training, which keeps so many checkpoints."""
    config = stored_run.config(EPOCHS) | dict(checkpoint=dict(max_keep=keep, interval_iterations=INTERVAL))
    console = Console(file=io.StringIO())
    return build_runner(config, work_dir=folder, device="cpu", resume="auto", console=console)


def slow_down(told: Connection) -> None:
    """Make this process's disk slow, and let others know what it writes."""
    fast, rename = atomic_writes._create, Path.replace

    def create(unfinished: Path, target: Path) -> Any:
        if target.suffix != ".pth":
            return fast(unfinished, target)
        told.send(("begins", target.name))
        return SlowFile(io.FileIO(unfinished, "x"))  # type: ignore[arg-type]

    def replace(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if target.suffix == ".pth":
            told.send(("ends", target.name))
        return moved

    atomic_writes._create = create  # type: ignore[assignment]
    Path.replace = replace  # type: ignore[method-assign,assignment]


def same(ours: Any, theirs: Any) -> bool:
    """Whether two parts of checkpoints hold the same bits."""
    if isinstance(ours, torch.Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(same(*pair) for pair in zip(ours, theirs, strict=True))
    return bool(ours == theirs)


class KillSeries:
    """Runs in ``folder``, killed at moments that ``seed`` decides and compared with one that was left alone."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._chance = np.random.default_rng(seed)
        self._context = multiprocessing.get_context("fork")  # so that nothing is imported anew
        self.found: Counter[str] = Counter()
        generator = np.random.default_rng(0)
        labels = np.arange(8).repeat(6)
        vectors = (generator.normal(size=(8, 6))[labels] + generator.normal(size=(48, 6))).astype(np.float32)
        np.savez(folder / "vectors.npz", embeddings=vectors, labels=labels)
        os.chdir(folder)
        runner_for("imports", 2)
        self._start("whole", 1000, None).join()
        self._whole = {path.name: load_checkpoint(path) for path in checkpoint_files(folder / "whole")}

    def run(self, kills: int) -> None:
        """Kill ``kills`` times."""
        number = 0
        while kills:
            number += 1
            for _ in range(min(KILLS_PER_RUN, kills)):
                kills -= self._kill_once(f"run{number}")
            self._start(f"run{number}", 2, None).join()
            self._compare(f"run{number}", "ended")
            self.found["runs"] += 1

    def _start(self, name: str, keep: int, told: Connection | None) -> Any:
        process = self._context.Process(target=train, args=(str(self._folder / name), keep, told), daemon=True)
        process.start()
        return process

    def _kill_once(self, name: str) -> bool:
        """Start or resume the run, and kill it within one of the next three checkpoints; whether it came to that."""
        heard, told = self._context.Pipe(duplex=False)
        process = self._start(name, 2, told)
        told.close()
        events: list[str] = []
        with suppress(EOFError):
            for _ in range(int(self._chance.integers(1, 4))):
                while heard.recv()[0] != "begins":
                    pass
            events.append("begins")
            time.sleep(self._chance.uniform(0, 0.25))
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
        self._compare(name, "killed")
        return True

    def _compare(self, name: str, how: str) -> None:
        files = checkpoint_files(self._folder / name)
        if not files:
            self.found["no checkpoint yet"] += 1
            return
        found, whole = load_checkpoint(files[0]), self._whole[files[0].name]
        parts = ("state_dict", "optimizer", "param_schedulers")
        differ = [part for part in parts if not same(found[part], whole[part])]
        assert not differ, f"{name} {how}: {files[0].name} differs in {', '.join(differ)}"
        if how == "ended":
            assert files[0].name == max(self._whole, key=lambda file: int(file[5:-4])), f"{name} ended early"


def main() -> None:
    """Say what held."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        series = KillSeries(Path(folder), arguments.seed)
        series.run(arguments.kills)
    kills = ", ".join(f"{count} {what}" for what, count in series.found.items() if what != "runs")
    print(f"{arguments.kills} kills ({kills}); {series.found['runs']} runs ended bit-equal with an uninterrupted one")


if __name__ == "__main__":
    main()
