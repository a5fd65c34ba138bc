"""A million vectors of 128 dimensions, indexed and searched: resident memory, recall and time.

    .venv/bin/python benchmarks/index.py
    .venv/bin/python benchmarks/index.py --rows 100000 --memory 2GB

For each ``--memory`` (2GB and 500MB) the kind is what ``metricforge index --memory SIZE --recall 0.95`` chooses.
Vectors are around a centre for each of 20,000 classes, as a half-trained model has them, and lie in a file. One process
writes the segment, its search structure and what is measured of it; another opens it and searches for 1,000 vectors,
one after the other, as ``metricforge search`` does. Resident memory is the peak of each whole process, with PyTorch and
whatever else it imports and what of the mapped files is in memory. Exits with 1 if one needs more than 2 GB, or finds
fewer than 95 % of the ten nearest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from metricforge.cli.parsers.values import memory_size

DIM = 128
ROWS_A_CLASS = 50
MOST_BYTES = 2e9
RECALL = 0.95
QUERIES = 1000
BLOCK = 8192


def write_vectors(file: Path, rows: int) -> None:
    """Write ``rows`` vectors (N, D) of length 1, block by block."""
    draws = np.random.default_rng(0)
    centres = draws.standard_normal((max(1, rows // ROWS_A_CLASS), DIM), dtype=np.float32)
    vectors = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, DIM))
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        block = draws.standard_normal((count, DIM), dtype=np.float32)
        block += 0.66 * centres[draws.integers(0, len(centres), count)]
        vectors[start : start + count] = block / np.linalg.norm(block, axis=1, keepdims=True)


def build(vectors: Path, index: Path, memory: float) -> dict[str, object]:
    """Index the vectors in a file as ``metricforge index`` does once they are embedded."""
    import pyarrow as pa

    from metricforge.index.kinds import choose_kind
    from metricforge.index.manifest import Manifest
    from metricforge.index.measuring import measure_search
    from metricforge.index.segment import write_segment
    from metricforge.large_arrays import row_blocks
    from metricforge.similarities import CosineSimilarity

    started = time.perf_counter()
    rows = np.load(vectors, mmap_mode="r")
    kind = choose_kind(len(rows), DIM, memory)
    table = pa.table({"id": np.arange(len(rows)), "path": [f"/photos/{number:09d}.jpg" for number in range(len(rows))]})

    def blocks() -> Iterator[np.ndarray]:
        return (np.array(block) for _, block in row_blocks(rows, BLOCK))

    name = write_segment(index, blocks(), table, kind, CosineSimilarity())
    manifest = Manifest(1, "", "", DIM, kind, (name,), next_id=len(rows))
    settings, measured = measure_search(index, manifest, CosineSimilarity(), RECALL)
    Manifest(**{**vars(manifest), "settings": settings, "measured": measured}).write(index)
    return {"kind": kind, "seconds": time.perf_counter() - started, **settings, **measured}


def search(vectors: Path, index: Path) -> dict[str, object]:
    """Search for vectors that are near those of the index, one after the other."""
    from metricforge.index.manifest import Manifest
    from metricforge.index.snapshot import Snapshot
    from metricforge.similarities import CosineSimilarity

    snapshot = Snapshot(index, Manifest.read(index), {})
    rows = np.load(vectors, mmap_mode="r")
    draws = np.random.default_rng(1)
    queries = rows[np.sort(draws.choice(len(rows), min(QUERIES, len(rows)), replace=False))]
    queries = (queries + 0.02 * draws.standard_normal(queries.shape)).astype(np.float32)
    seconds = []
    for query in queries:
        started = time.perf_counter()
        snapshot.hits(snapshot.search(query[None], CosineSimilarity(), 10, snapshot.allowed(None))[0])
        seconds.append(time.perf_counter() - started)
    return {"milliseconds_a_search": 1000 * float(np.median(seconds))}


def in_process(*words: object) -> dict[str, float]:
    """What this file, run anew with ``words``, prints, and the peak of its resident memory."""
    done = subprocess.run([sys.executable, __file__, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _of_limit(resident: float) -> str:
    return f"{resident / 1e6:,.0f} MB ({resident / MOST_BYTES:.2f} of 2 GB)"


def main() -> None:
    """Run both steps for each memory, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--memory", type=memory_size, nargs="*", default=[2e9, 5e8])
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        vectors, index = arguments.files
        found = build(vectors, index, arguments.memory[0]) if arguments.step == "build" else search(vectors, index)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**found, "resident": peak}))
        return
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / "vectors.npy"
        write_vectors(vectors, arguments.rows)
        for number, memory in enumerate(arguments.memory):
            files = ["--files", vectors, Path(folder) / f"index-{number}"]
            built = in_process("--step", "build", "--memory", int(memory), *files)
            searched = in_process("--step", "search", *files)
            row = (
                f"--memory {memory / 1e9:g}GB: {built['kind']} (effort {built['effort']})",
                f"built in {built['seconds']:,.0f} s within {_of_limit(built['resident'])}",
                f"searched within {_of_limit(searched['resident'])}",
                f"{searched['milliseconds_a_search']:.2f} ms a query",
                f"recall@10 {built['recall@10']:.3f}, {built['bytes_a_vector']:.0f} bytes a vector in files",
            )
            print("; ".join(row), flush=True)
            peak = max(built["resident"], searched["resident"])
            failed |= peak > MOST_BYTES or built["recall@10"] < RECALL
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
