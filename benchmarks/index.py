"""A million vectors of 128 dimensions, indexed and searched: resident memory, recall and time.

    .venv/bin/python benchmarks/index.py
    .venv/bin/python benchmarks/index.py --rows 100000 --memory 2GB
    .venv/bin/python benchmarks/index.py --rows 100000 --memory 50MB --segment-rows 25000

For each ``--memory`` (2GB and 500MB) the kind is what ``metricforge index --memory SIZE --recall 0.95`` chooses.
Vectors are around a centre for each class of 50, as a half-trained model has them, and lie in Parquet parts, as
``metricforge embed`` writes them. One process does what ``metricforge index MODEL EMBEDDINGS`` does, measuring the
recall included; another opens the index and searches for 1,000 vectors, one after the other. Resident memory is the
peak of each whole process, with PyTorch and whatever else it imports and what of the mapped files is in memory. Exits
with 1 if one needs more than 2 GB, or finds fewer than 95 % of the ten nearest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metricforge.cli.parsers.values import memory_size

if TYPE_CHECKING:
    from metricforge.deployment import EmbeddingModel

DIM = 128
ROWS_A_CLASS = 50
MOST_BYTES = 2e9
RECALL = 0.95
QUERIES = 1000
PART_ROWS = 4096


def write_embeddings(folder: Path, rows: int) -> None:
    """Write ``rows`` vectors (N, D) of length 1 as ``metricforge embed`` does, part by part."""
    import pyarrow as pa

    from metricforge.deployment.embedding_parts import Origin, write_part

    origin = Origin(model().hash, DIM, "CosineSimilarity", "float32", "made up", rows, PART_ROWS)
    draws = np.random.default_rng(0)
    centres = draws.standard_normal((max(1, rows // ROWS_A_CLASS), DIM), dtype=np.float32)
    folder.mkdir()
    for number in range(origin.parts):
        ids = np.array(origin.rows_of(number))
        block = draws.standard_normal((len(ids), DIM), dtype=np.float32)
        block += 0.66 * centres[draws.integers(0, len(centres), len(ids))]
        vectors = block / np.linalg.norm(block, axis=1, keepdims=True)
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


def build(vectors: Path, out: Path, memory: float, segment_rows: int) -> dict[str, object]:
    """Index the embeddings in ``vectors`` as ``metricforge index MODEL vectors`` does."""
    from metricforge.deployment.stored_embeddings import StoredEmbeddings
    from metricforge.index.build import index_embeddings

    started = time.perf_counter()
    stored = StoredEmbeddings(vectors)
    index = index_embeddings(model(), stored, out, memory=memory, recall=RECALL, segment_rows=segment_rows)
    seconds = time.perf_counter() - started
    found = index.manifest
    return {
        "kind": found.kind,
        "segments": len(found.segments),
        "seconds": seconds,
        **found.settings,
        **found.measured,
    }


def search(vectors: Path, folder: Path) -> dict[str, object]:
    """Search for vectors that are near those of the index, one after the other."""
    from metricforge.deployment.stored_embeddings import StoredEmbeddings
    from metricforge.index import load_index

    index = load_index(folder)
    draws = np.random.default_rng(1)
    rows = np.concatenate(list(StoredEmbeddings(vectors).vectors(range(min(QUERIES, len(index))))))
    queries = (rows + 0.02 * draws.standard_normal(rows.shape)).astype(np.float32)
    seconds = []
    for query in queries:
        started = time.perf_counter()
        index.search(query[None], k=10)
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
    parser.add_argument("--segment-rows", type=int, default=10_000_000)
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    parser.add_argument("--files", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        vectors, index = arguments.files
        if arguments.step == "build":
            found = build(vectors, index, arguments.memory[0], arguments.segment_rows)
        else:
            found = search(vectors, index)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**found, "resident": peak}))
        return
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / "vectors"
        write_embeddings(vectors, arguments.rows)
        for number, memory in enumerate(arguments.memory):
            files = ["--files", vectors, Path(folder) / f"index-{number}"]
            options = ["--memory", int(memory), "--segment-rows", arguments.segment_rows]
            built = in_process("--step", "build", *options, *files)
            searched = in_process("--step", "search", *files)
            row = (
                f"--memory {memory / 1e9:g}GB: {built['kind']} in {built['segments']} segments (effort "
                f"{built['effort']}, {built['spare']} spare candidates)",
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
