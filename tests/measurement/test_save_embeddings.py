from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metricforge.errors import EmbeddingsError
from metricforge.measurement import read_embedding_file, save_embeddings
from metricforge.structures import EmbeddingSet

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(50) % 7


def images(dtype=np.float32, cameras=None, class_names=None) -> EmbeddingSet:
    vectors = GENERATOR.normal(size=(50, 6)).astype(dtype)
    return EmbeddingSet(vectors, LABELS, np.arange(50)[::-1] + 3, class_names, cameras)


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".PARQUET"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_what_is_written_is_read_again_to_the_last_bit(tmp_path, ending, dtype, monkeypatch):
    monkeypatch.setattr(
        sys.modules["metricforge.measurement.save_embeddings"], "VALUES_AT_ONCE", 6 * 9
    )  # several blocks
    given = images(dtype, cameras=LABELS % 2)
    read = read_embedding_file(save_embeddings(given, tmp_path / f"new/test{ending}"))
    assert read.embeddings.dtype == dtype
    for name in ("embeddings", "labels", "ids", "cameras"):
        assert np.array_equal(getattr(read, name), getattr(given, name))
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"test{ending}"]


def test_classes_have_their_names_beside_for_other_tools(tmp_path):
    names = ("", "two\nlines", "$x^{$", "鳥", "🐦", "a" * 300, "plain")
    table = parquet.read_table(save_embeddings(images(class_names=names), tmp_path / "a.parquet"))
    assert table["classes"].to_pylist() == [names[label] for label in LABELS]
    assert table["embeddings"].type == pa.list_(pa.float32(), 6)
    assert np.load(save_embeddings(images(class_names=names), tmp_path / "a.npz"))["classes"][3] == "鳥"


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(EmbeddingsError, match=r"a\.csv must end in \.npz or \.parquet, such as a\.npz"):
        save_embeddings(images(), tmp_path / "a.csv")
