"""How much CPU time starting takes, as a multiple of ``import torch`` measured in the same run.

``python benchmarks/startup.py`` prints a table and exits with 1 if a target is missed. The last rows are how long
``metricforge watch`` takes to say how a finished run has ended, and ``metricforge train`` to refuse a folder that has
one class only.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from metricforge.run_records.history import History

ROUNDS = 5
# what is started, and at most how many times the CPU time of `import torch` it may take
TARGETS = {
    "metricforge --help": (["-m", "metricforge", "--help"], 0.25),
    "metricforge --version": (["-m", "metricforge", "--version"], 0.25),
    "metricforge trian": (["-m", "metricforge", "trian"], 0.25),
    "metricforge train --help": (["-m", "metricforge", "train", "--help"], 0.25),
    "metricforge configs": (["-m", "metricforge", "configs"], 0.25),
    "import metricforge": (["-c", "import metricforge"], 1.15),
}
WATCH, MOST_OF_WATCH = "metricforge watch, ended", 0.5
ONE_CLASS, MOST_OF_ONE_CLASS = "train on one class", 2.0


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of a new interpreter with ``arguments``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measure all in turn, so that a machine that slows down slows all of them, and compare medians."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "only" / "photo.png"
        photo.parent.mkdir()
        Image.new("RGB", (32, 32)).save(photo)
        command = ["-m", "metricforge", "train", "triplet_folder", "--cfg-options", f"data_root={folder}"]
        history = History(Path(folder))
        history.add_losses(20, 1.0, [0.001], {"loss": 0.5})
        history.add_end(20, 1.0, "finished", "")
        watch = ["-m", "metricforge", "watch", folder]
        sys.exit(measure({**TARGETS, WATCH: (watch, MOST_OF_WATCH), ONE_CLASS: (command, MOST_OF_ONE_CLASS)}))


def measure(targets: dict[str, tuple[list[str], float]]) -> int:
    """Print a row for each of ``targets``; return the exit status."""
    cpu_seconds(["-c", "import torch"])  # from here on its files are cached
    torch: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        torch.append(cpu_seconds(["-c", "import torch"]))
        for name, (arguments, _) in targets.items():
            taken[name].append(cpu_seconds(arguments))
    unit = statistics.median(torch)
    print(f"{'':26}  {'CPU s':>6}  {'x import torch':>14}  {'at most':>7}")
    print(f"{'import torch':26}  {unit:6.3f}  {1:14.3f}")
    missed = False
    for name, (_, target) in targets.items():
        median = statistics.median(taken[name])
        missed |= median / unit > target
        print(f"{name:26}  {median:6.3f}  {median / unit:14.3f}  {target:7.2f}")
    return int(missed)


if __name__ == "__main__":
    main()
