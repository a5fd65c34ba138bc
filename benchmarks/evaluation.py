"""Scores against pytorch-metric-learning's AccuracyCalculator: time and peak memory, as ratios.

    make bench
    .venv/bin/python benchmarks/evaluation.py --case sop --scale 0.2 --clock cpu

Each case has embeddings of a data set's size made up (Stanford Online Products: 60,502 of 11,316 classes, CUB-200:
5,924 of 100) and runs in a child process of its own, ours and theirs in turn; the scores that both give are compared
first, and the best time of each counts. Memory is the peak beyond what was there once the embeddings were. ``sop``
asks for Recall@{1, 10, 100, 1000}, MAP@R and R-precision where theirs gives P@1, MAP@R and R-precision; ``float32`` for
the same without bfloat16, beside faiss's flat index alone that finds 1,000 neighbours; ``cub`` for everything, NMI, MAP
and MRR of the whole ranking among it, where theirs gives all it has as it comes; ``cub-bounded`` leaves MAP and MRR
out, and theirs looks at as many neighbours as a class has images, as it may be told to (no target); ``binary`` compares
our search of 2048-bit codes with that of the 2048 floats they come from. ``million`` writes 1,000,000 x 128 float32 and
10,000 queries to files and runs ``metricforge evaluate`` on them, whose memory is that of the whole process, with all
that it imports and what of the files is in memory. ``per-query`` compares a final evaluation that keeps per-query
results, the nearest classes among them, with one that does not, both by ours: 12,000 x 128, and the quickest of five
runs of each in turn; its ratio is with / without, at most 1.1. Exits with 1 where scores differ or a row misses its
target.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from metricforge import TaggedEmbeddings, evaluate_embeddings
from metricforge.evaluation.ranking import rank_counter as rank_counter

RETRIEVAL = ("recall@1", "recall@10", "recall@100", "recall@1000", "map@r", "r_precision")
SHALLOW = ("recall@1", "recall@2", "recall@4", "recall@8", "map@r", "r_precision", "nmi", "ami", "f1")
SAME = {
    "recall@1": "precision_at_1",
    "map@r": "mean_average_precision_at_r",
    "r_precision": "r_precision",
}
WHOLE = {**SAME, "map": "mean_average_precision", "mrr": "mean_reciprocal_rank"}  # alike if k is the gallery's size
TOLERANCE = 2e-4  # theirs compares rounded float32 products


class Case(NamedTuple):
    """A data set's size, two runs on it by name, and by how much the first has to be quicker and small."""

    images: int
    classes: int
    dim: int
    ours: str
    theirs: str
    least_ratio: float
    most_megabytes: float


CASES = {
    "sop": Case(60_502, 11_316, 512, "retrieval", "their retrieval", 2.0, 1000),
    "float32": Case(60_502, 11_316, 512, "float32", "faiss", 1.0, 1000),
    "cub": Case(5_924, 100, 512, "all", "their all", 1.0, 1000),
    "cub-bounded": Case(5_924, 100, 512, "shallow", "their bounded", 0.0, 1000),
    "binary": Case(60_502, 11_316, 2048, "binary", "retrieval", 1.0, 1000),
}

PER_QUERY = Case(12_000, 2_263, 128, "", "", 0.0, 1000)
PER_QUERY_RATIO = 1.1
PER_QUERY_RUNS = 5

MILLION = Case(1_000_000, 20_000, 128, "", "", 0.0, 2000)
MILLION_QUERIES = 10_000


def made_up(images: int, classes: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) float32 around a centre a class, as a half-trained model has them, and labels (N,)."""
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, images - classes)])
    generator.shuffle(labels)
    centres = generator.standard_normal((classes, dim), dtype=np.float32)
    embeddings = generator.standard_normal((images, dim), dtype=np.float32)
    for start in range(0, images, 4096):
        embeddings[start : start + 4096] += 0.33 * (512 / dim) ** 0.25 * centres[labels[start : start + 4096]]
    return embeddings, labels


def ours(scores: tuple[str, ...], similarity: str) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Our scores of embeddings and labels."""

    def run(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        asked = [name for name in scores if "@1000" not in name or len(labels) > 1000]
        return evaluate_embeddings(TaggedEmbeddings(embeddings, labels), scores=asked, similarity=similarity).scores

    return run


def theirs(include: tuple[str, ...], whole: bool) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Their scores under our names, where both mean the same; ``include`` is empty for all that they have."""
    import faiss
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import FaissKNN

    def run(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        knn = FaissKNN(index_init_fn=faiss.IndexFlatIP)
        k = len(labels) - 1 if whole else "max_bin_count"
        calculator = AccuracyCalculator(include=include, k=k, device=torch.device("cpu"), knn_func=knn)
        unit = torch.nn.functional.normalize(torch.from_numpy(embeddings))
        found = calculator.get_accuracy(unit, torch.from_numpy(labels))
        return {name: float(found[their_name]) for name, their_name in (WHOLE if whole else SAME).items()}

    return run


def flat_search(embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What any score from neighbours begins with: faiss's exact search for Recall@1000."""
    import faiss

    unit = torch.nn.functional.normalize(torch.from_numpy(embeddings)).numpy()
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    index.search(unit, min(1001, len(unit)))
    return {}


def runs(name: str) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """The run of that name."""
    if name.startswith("their"):
        return theirs(tuple(SAME.values()) if name == "their retrieval" else (), whole=name == "their all")
    if name == "faiss":
        return flat_search
    if name == "float32":
        rank_counter.has_fast_bfloat16 = lambda device: False
    asked = {"all": (*SHALLOW, "map", "mrr"), "shallow": SHALLOW}.get(name, RETRIEVAL)
    return ours(asked, "hamming" if name == "binary" else "cosine")


def status_kilobytes(field: str) -> int:
    """A field of this process's memory, as Linux counts it; 0 on other systems."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    return int(next(line for line in status.read_text().splitlines() if line.startswith(field)).split()[1])


def child(name: str, images: int, classes: int, dim: int, threads: int) -> None:
    """Run one side and print what it found as JSON."""
    torch.set_num_threads(threads)
    run = runs(name)
    run(*made_up(2000, 20, dim))  # imports and threads
    embeddings, labels = made_up(images, classes, dim)
    before = status_kilobytes("VmRSS")
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # the peak counts from here
    wall, cpu = time.perf_counter(), time.process_time()
    scores = run(embeddings, labels)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    megabytes = (status_kilobytes("VmHWM") - before) * 1024 / 1e6
    print(json.dumps({"scores": scores, "wall": wall, "cpu": cpu, "megabytes": megabytes}))


def main() -> int:
    """Parse the arguments, run the cases and print the table; return 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*CASES, "per-query", "million"]
    parser.add_argument("--case", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the images and classes (default: 1)")
    parser.add_argument("--rounds", type=int, default=1, help="of which the best time counts (default: 1)")
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="which time is compared (default: wall)"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's (default: %(default)s)")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *numbers = arguments.child
        images, classes, dim = map(int, numbers)
        child(name, images, classes, dim, arguments.threads)
        return 0
    if not 0.01 <= arguments.scale <= 1 or arguments.rounds < 1:
        parser.error("--scale must be in 0.01..1 and --rounds at least 1")
    print(f"torch {torch.__version__}, {arguments.threads} threads, {arguments.clock} time; ratio = theirs / ours")
    print(f"{'case':8} {'images':>7} {'ours s':>8} {'theirs s':>9} {'ratio':>6} {'ours MB':>8} {'theirs MB':>10}")
    failed = 0
    for name in arguments.case:
        if name in CASES:
            failed += print_row(name, CASES[name], arguments)
        else:
            failed += print_per_query(arguments) if name == "per-query" else print_million(arguments)
    print("every target met" if not failed else f"{failed} rows missed a target")
    return int(failed > 0)


def print_row(name: str, case: Case, arguments: argparse.Namespace) -> bool:
    """Measure one case and print its row; return whether it failed."""
    images, classes = int(case.images * arguments.scale), max(20, int(case.classes * arguments.scale))
    found: dict[str, list[dict]] = {case.ours: [], case.theirs: []}
    for _ in range(arguments.rounds):
        for side, results in found.items():
            command = [sys.executable, __file__, "--threads", str(arguments.threads), "--child", side]
            done = subprocess.run(
                [*command, str(images), str(classes), str(case.dim)], stdout=subprocess.PIPE, text=True, check=True
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    mine, other = found.values()
    problems = []
    if name != "binary":
        for score, value in other[0]["scores"].items():
            if abs(mine[0]["scores"][score] - value) > TOLERANCE:
                problems.append(f"{score} differs: {mine[0]['scores'][score]:.6f} and {value:.6f}")
    seconds, their_seconds = (min(each[arguments.clock] for each in side) for side in (mine, other))
    megabytes, their_megabytes = (min(each["megabytes"] for each in side) for side in (mine, other))
    if their_seconds < case.least_ratio * seconds:
        problems.append(f"MISSED: at least {case.least_ratio:g} times as fast")
    if megabytes > case.most_megabytes:
        problems.append(f"MISSED: at most {case.most_megabytes:g} MB")
    print(
        f"{name:8} {images:7} {seconds:8.2f} {their_seconds:9.2f} {their_seconds / seconds:6.2f} {megabytes:8.0f} "
        f"{their_megabytes:10.0f}" + "".join(f"  {problem}" for problem in problems),
        flush=True,
    )
    return bool(problems)


def print_per_query(arguments: argparse.Namespace) -> bool:
    """Measure final evaluations with and without per-query results and print the row; return whether it failed."""
    torch.set_num_threads(arguments.threads)
    images, classes = int(PER_QUERY.images * arguments.scale), max(20, int(PER_QUERY.classes * arguments.scale))
    embeddings, labels = made_up(images, classes, PER_QUERY.dim)
    asked = [name for name in RETRIEVAL if "@1000" not in name or images > 1000]
    seconds: dict[bool, list[float]] = {False: [], True: []}
    scores: dict[bool, dict[str, float]] = {}
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    for _ in range(max(PER_QUERY_RUNS, arguments.rounds)):
        for nearest, times in seconds.items():
            started = clock()
            measured = evaluate_embeddings(TaggedEmbeddings(embeddings, labels), scores=asked, nearest=nearest)
            times.append(clock() - started)
            scores[nearest] = measured.scores
            assert measured.queries is not None
            assert bool(measured.queries.nearest) == nearest
    without, with_results = (min(times) for times in seconds.values())
    ratio = with_results / without
    problem = "" if scores[True] == scores[False] else "  scores differ"
    if ratio > PER_QUERY_RATIO:
        problem += f"  MISSED: at most {PER_QUERY_RATIO:g} times as long"
    print(f"{'per-query':9} {images:6} {with_results:8.2f} {without:9.2f} {ratio:6.2f}{problem}", flush=True)
    return bool(problem)


def print_million(arguments: argparse.Namespace) -> bool:
    """Run the command on files of a million embeddings and print its row; return whether it failed."""
    images, queries = (int(count * arguments.scale) for count in (MILLION.images, MILLION_QUERIES))
    classes = max(20, int(MILLION.classes * arguments.scale))
    command = [sys.executable, "-c", "from metricforge.cli.main import main; main()", "evaluate"]
    best, peak = float("inf"), float("inf")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("queries.npz", "gallery.npz")]
        embeddings, labels = made_up(queries + images, classes, MILLION.dim)
        for file, rows in zip(files, (slice(queries), slice(queries, None)), strict=True):
            np.savez(file, embeddings=embeddings[rows], labels=labels[rows])
        del embeddings
        for _ in range(arguments.rounds):
            environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
            started = time.perf_counter()
            asked = ["--scores", "recall@1,recall@10,map@r,r_precision"]
            child = subprocess.Popen(
                [*command, str(files[0]), "--gallery", str(files[1]), *asked],
                stdout=subprocess.DEVNULL,
                env=environment,
            )
            _, status, usage = os.wait4(child.pid, 0)
            if status:
                raise subprocess.CalledProcessError(status, command)
            wall, cpu = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
            best = min(best, wall if arguments.clock == "wall" else cpu)
            peak = min(peak, usage.ru_maxrss * 1024 / 1e6)
    missed = peak > MILLION.most_megabytes
    problem = f"  MISSED: at most {MILLION.most_megabytes:g} MB in all" if missed else ""
    print(f"{'million':8} {images:7} {best:8.2f} {'':9} {'':6} {peak:8.0f} {'':10}{problem}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
