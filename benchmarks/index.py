"""A million vectors of 128 dimensions, indexed and searched: resident memory, recall and time.

    .venv/bin/python benchmarks/index.py
    .venv/bin/python benchmarks/index.py --rows 100000 --kind hnsw ivfint8 ivfpq
    .venv/bin/python benchmarks/index.py --vectors clustered --memory 100MB --segment-rows 250000

Two sets of made-up vectors, in Parquet parts as ``metricforge embed`` writes them. "clustered" ones are like
embeddings of a trained model: classes of 50, around centres that lie twice as far apart as a class is wide, and most of
the variance is in a few directions (that of direction i falls as 1 / i). "uniform" ones fill all directions alike and
hardly have classes, which no model's embeddings do: nothing is harder to search.

For each ``--memory`` (2GB and 100MB) the kind is what ``metricforge index --memory SIZE --recall 0.95`` chooses;
``--kind`` names kinds instead. One process does what ``metricforge index MODEL EMBEDDINGS`` does, measuring the recall
included; another opens the index and searches for 1,000 vectors, one after the other. Resident memory is the peak of
each whole process (VmHWM), with whatever it imports and what of the mapped files is in memory. Times are of the
processor, so that other work on the machine does not count. Exits with 1 if a process needs more than 2 GB, or finds
fewer than 95 % of the ten nearest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metricforge.cli.parsers.index import KINDS
from metricforge.cli.parsers.values import memory_size

if TYPE_CHECKING:
    from metricforge.deployment import EmbeddingModel

DIM = 128
ROWS_A_CLASS = 50
MOST_BYTES = 2e9
RECALL = 0.95
QUERIES = 1000
PART_ROWS = 4096
# the standard deviation of centres in each direction (D,), and how many times that a class is wide
SHAPES = {"clustered": (np.arange(1, DIM + 1) ** -0.5, 0.5), "uniform": (np.ones(DIM), 1.5)}


def write_embeddings(folder: Path, rows: int, kind: str, model_hash: str) -> None:
    """Write ``rows`` vectors (N, D) of length 1 as ``metricforge embed`` does, part by part."""
    import pyarrow as pa

    from metricforge.deployment.embedding_parts import Origin, write_part

    origin = Origin(model_hash, DIM, "CosineSimilarity", "float32", "made up", rows, PART_ROWS)
    deviations, width = SHAPES[kind]
    draws = np.random.default_rng(0)
    centres = deviations * draws.standard_normal((max(1, rows // ROWS_A_CLASS), DIM), dtype=np.float32)
    folder.mkdir()
    for number in range(origin.parts):
        ids = np.array(origin.rows_of(number))
        block = width * deviations * draws.standard_normal((len(ids), DIM), dtype=np.float32)
        block += centres[draws.integers(0, len(centres), len(ids))]
        vectors = (block / np.linalg.norm(block, axis=1, keepdims=True)).astype(np.float32)
        paths = pa.table({"path": pa.array([f"/photos/{image:09d}.jpg" for image in ids], pa.large_string())})
        write_part(folder, number, origin, ids, paths, vectors, [])


def model() -> EmbeddingModel:
    """A model of ``DIM`` dimensions, of which only the hash and the similarity matter."""
    import torch

    from metricforge.deployment import EmbeddingModel
    from metricforge.deployment.model_description import ModelDescription
    from metricforge.models import MetricLearner

    torch.manual_seed(0)
    architecture = dict(
        backbone=dict(type="RawPixels", height=1, width=1),
        head=dict(type="EmbeddingHead", dim=DIM),
        similarity=dict(type="CosineSimilarity"),
    )
    description = ModelDescription(architecture=architecture, preprocessing=())
    return EmbeddingModel(MetricLearner.from_config(architecture, None), description, torch.device("cpu"), "made up")


def build(bundle: Path, vectors: Path, out: Path, kind: str, memory: float, segment_rows: int) -> dict[str, object]:
    """Index the embeddings in ``vectors`` as ``metricforge index BUNDLE vectors`` does."""
    from metricforge.deployment.stored_embeddings import StoredEmbeddings
    from metricforge.index.build import index_embeddings
    from metricforge.index.indexed_model import open_indexed_model

    with open_indexed_model(bundle) as described:
        index = index_embeddings(
            described,
            StoredEmbeddings(vectors),
            out,
            kind=kind,
            memory=memory if kind == "auto" else None,
            recall=None if kind == "flat" else RECALL,
            segment_rows=segment_rows,
        )
    found = index.manifest
    return {"kind": found.kind, "segments": len(found.segments), **found.settings, **found.measured}


def search(vectors: Path, folder: Path) -> dict[str, object]:
    """Search for vectors that are near those of the index, one after the other."""
    from metricforge.deployment.stored_embeddings import StoredEmbeddings
    from metricforge.index import load_index

    index = load_index(folder)
    draws = np.random.default_rng(1)
    rows = np.concatenate(list(StoredEmbeddings(vectors).vectors(range(min(QUERIES, len(index))))))
    queries = (rows + 0.02 * draws.standard_normal(rows.shape)).astype(np.float32)
    index.search(queries[:1], k=10)
    started = time.process_time()
    for query in queries:
        index.search(query[None], k=10)
    return {"milliseconds_a_search": 1000 * (time.process_time() - started) / len(queries)}


def peak() -> float:
    """The peak of this process's resident memory, in bytes; of its own since it was started, not its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def in_process(*words: object) -> dict[str, float]:
    """What this file, run anew with ``words`` prints, on one thread unless told otherwise."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(name: str, asked: str, built: dict[str, float], searched: dict[str, float]) -> str:
    """What was measured of one index, in a line."""
    return "; ".join(
        [
            f"{name}, {asked}: {built['kind']} in {built['segments']} segments (effort {built['effort']}, "
            f"{built['spare']} spare candidates)",
            f"built in {built['seconds']:,.0f} s within {built['resident'] / 1e6:,.0f} MB",
            f"searched within {searched['resident'] / 1e6:,.0f} MB",
            f"{searched['milliseconds_a_search']:.2f} ms a query",
            f"recall@10 {built['recall@10']:.3f}, {built['bytes_a_vector']:.0f} bytes a vector in files",
        ]
    )


def main() -> None:
    """Index and search each set of vectors in each way, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--vectors", choices=SHAPES, nargs="+", default=list(SHAPES))
    parser.add_argument("--memory", type=memory_size, nargs="+", default=[2e9, 1e8])
    parser.add_argument("--kind", choices=KINDS, nargs="+", help="instead of --memory")
    parser.add_argument("--segment-rows", type=int, default=10_000_000)
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=3, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        bundle, vectors, index = arguments.files
        if arguments.step == "build":
            kind = arguments.kind[0] if arguments.kind else "auto"
            found = build(bundle, vectors, index, kind, arguments.memory[0], arguments.segment_rows)
        else:
            found = search(vectors, index)
        print(json.dumps({**found, "seconds": time.process_time(), "resident": peak()}))
        return
    ways: list[tuple[str, list[object]]] = [(kind, ["--kind", kind]) for kind in arguments.kind or ()]
    ways = ways or [(f"{memory / 1e6:g}MB", ["--memory", int(memory)]) for memory in arguments.memory]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "model"
        made_up = model()
        made_up.save(bundle)
        for name in arguments.vectors:
            vectors = Path(folder) / name
            write_embeddings(vectors, arguments.rows, name, made_up.hash)
            for asked, options in ways:
                files = ["--files", bundle, vectors, Path(folder) / "index"]
                built = in_process("--step", "build", *options, "--segment-rows", arguments.segment_rows, *files)
                searched = in_process("--step", "search", *files)
                shutil.rmtree(Path(folder) / "index")
                print(row(name, asked, built, searched), flush=True)
                failed |= max(built["resident"], searched["resident"]) > MOST_BYTES or built["recall@10"] < RECALL
            shutil.rmtree(vectors)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
