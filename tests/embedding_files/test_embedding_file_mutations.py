"""Whatever the bytes of a file of embeddings are, reading it gives embeddings or an EmbeddingsError, and nothing else.

A third of the mutations change bytes of a .npz, a third those of an array in one whose checksums are made right again,
and a third those of a Parquet file.
"""

from __future__ import annotations

import io
import random
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metricforge.embedding_files import read_embedding_file
from metricforge.errors import EmbeddingsError
from tests.damaged_bytes import damage

VECTORS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
LABELS = np.array(["a", "a", "b", "b", "c", "c"])


def arrays() -> dict[str, bytes]:
    """The members of a .npz, each of which may be compressed or not."""
    members = {}
    for name, array in (("embeddings", VECTORS), ("labels", LABELS), ("ids", np.arange(6))):
        file = io.BytesIO()
        np.save(file, array)
        members[f"{name}.npy"] = file.getvalue()
    return members


def archive(members: dict[str, bytes], compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return file.getvalue()


def table() -> bytes:
    file = io.BytesIO()
    parquet.write_table(pa.table({"embeddings": VECTORS.tolist(), "labels": LABELS, "ids": np.arange(6)}), file)
    return file.getvalue()


def mutated(number: int, rng: random.Random) -> tuple[str, bytes]:
    """The ending and the content of a mutated file."""
    compression = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    if number % 3 == 0:
        return ".npz", damage(archive(arrays(), compression), rng)
    if number % 3 == 1:
        members = arrays()
        name = rng.choice(list(members))
        return ".npz", archive(members | {name: damage(members[name], rng)}, compression)
    return ".parquet", damage(table(), rng)


def read_mutations(folder, seed: int, count: int) -> tuple[int, int]:
    """How many of ``count`` mutations were refused, and how many read."""
    rng, refused, read = random.Random(seed), 0, 0
    for number in range(count):
        ending, content = mutated(number, rng)
        file = folder / f"embeddings{ending}"
        file.write_bytes(content)
        try:
            found = read_embedding_file(file)
            assert len(found.embeddings) == len(found.labels)
            read += 1
        except EmbeddingsError:
            refused += 1
    return refused, read


def test_a_mutated_file_of_embeddings_is_refused_by_its_own_error_or_read(tmp_path):
    refused, read = read_mutations(tmp_path, seed=0, count=600)
    assert refused > 300
    assert refused + read == 600


@pytest.mark.slow
def test_ten_thousand_mutated_files_of_embeddings_raise_nothing_else(tmp_path):
    refused, read = read_mutations(tmp_path, seed=1, count=10_000)
    assert refused > 5_000
    assert refused + read == 10_000
