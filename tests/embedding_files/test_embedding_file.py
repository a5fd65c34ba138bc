from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metricforge.errors import EmbeddingsError
from metricforge.measurement import read_embedding_file

POINTS = np.array([[0.0], [1.0], [1.1], [5.0], [5.2], [9.0]], dtype=np.float32)
LABELS = np.array([0, 0, 1, 1, 1, 2])


def test_npz_and_parquet_hold_the_same(tmp_path):
    ids = np.array(list("uvwxyz"))
    np.savez(tmp_path / "a.npz", embeddings=POINTS, labels=LABELS, ids=ids)
    columns = {"ids": ids.tolist(), "labels": LABELS, "embeddings": POINTS.tolist(), "more": [None] * 6}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    for file in ("a.npz", "a.parquet"):
        read = read_embedding_file(tmp_path / file)
        assert np.allclose(read.embeddings, POINTS)
        assert (read.labels.tolist(), read.ids.tolist()) == (LABELS.tolist(), ids.tolist())


def test_files_that_are_none_are_refused_with_what_is_expected(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    (tmp_path / "a.csv").write_text("labels")
    np.savez(tmp_path / "other.npz", vectors=POINTS)
    np.savez(tmp_path / "objects.npz", embeddings=POINTS, labels=np.array([{}] * 6, dtype=object))
    ragged = pa.table({"labels": [0, 1], "embeddings": [[1.0], [1.0, 2.0]]})
    parquet.write_table(ragged, tmp_path / "ragged.parquet")
    parquet.write_table(pa.table({"labels": [0, None], "embeddings": [[1.0], [2.0]]}), tmp_path / "nulls.parquet")
    for file, message in {
        "none.npz": "there is no such file",
        "broken.npz": "cannot be read",
        "broken.parquet": "cannot be read as a table",
        "a.csv": r"must end in \.npz or \.parquet",
        "other.npz": "has no embeddings and no labels; it has vectors",
        "objects.npz": "cannot be read",
        "ragged.parquet": "lists of 1 to 2 numbers",
        "nulls.parquet": r"some have none in labels \(1\)",
    }.items():
        with pytest.raises(EmbeddingsError, match=message):
            read_embedding_file(tmp_path / file)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)])
def test_every_kind_of_list_in_several_row_groups_is_read(tmp_path, kind):
    vectors = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    table = pa.table({"embeddings": pa.array(vectors, kind), "labels": ["a", "b", "a"]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    read = read_embedding_file(tmp_path / "a.parquet")
    assert read.embeddings.tolist() == vectors
    assert read.labels.tolist() == ["a", "b", "a"]
    assert read.ids is None
    assert read.source == str(tmp_path / "a.parquet")


def test_numbers_in_place_of_lists_are_refused(tmp_path):
    parquet.write_table(pa.table({"embeddings": [1.0, 2.0], "labels": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(EmbeddingsError, match="must be a column of lists of numbers, got double"):
        read_embedding_file(tmp_path / "a.parquet")
