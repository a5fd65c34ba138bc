from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metricforge.index import segment as segments
from metricforge.index.kinds import Space
from metricforge.index.manifest import Manifest
from metricforge.index.measuring import measure_search
from metricforge.index.planning import why_missed
from metricforge.index.segment import nearest_rows, write_segment, write_segments
from metricforge.index.snapshot import Snapshot
from metricforge.similarities import CosineSimilarity

DRAWS = np.random.default_rng(0)
VECTORS = DRAWS.standard_normal((2000, 24)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
COSINES = VECTORS.astype(np.float64) @ VECTORS.T.astype(np.float64)


def _index(folder: Path, kind: str, segment_rows: int = 2000, recall: float = 0.95) -> Manifest:
    table = pa.table({"id": np.arange(2000), "path": [str(number) for number in range(2000)]})
    names = write_segments(folder, [VECTORS[:900], VECTORS[900:]], table, kind, CosineSimilarity(), segment_rows)
    manifest = Manifest(1, "", "", 24, kind, names, next_id=2000, settings={"segment_rows": segment_rows})
    settings, measured = measure_search(folder, manifest, CosineSimilarity(), recall)
    return Manifest(**{**vars(manifest), "settings": settings, "measured": measured})


def _recall(folder: Path, manifest: Manifest) -> float:
    """Of the ten nearest to each of 300 vectors, by a product in float64."""
    snapshot = Snapshot(folder, manifest, {})
    starts = np.cumsum([0, *map(len, snapshot.segments)])
    found = snapshot.search(VECTORS[:300], CosineSimilarity(), 10, snapshot.allowed(None))
    expected = np.argsort(-COSINES[:300], axis=1)[:, :10]
    shares = [
        len(np.intersect1d(starts[each.segments] + each.rows, row)) for each, row in zip(found, expected, strict=True)
    ]
    return float(np.mean(shares)) / 10


@pytest.mark.parametrize(
    ("kind", "segment_rows"),
    [("hnsw", 2000), ("hnsw", 700), ("ivfint8", 1000), ("ivfpq", 1000), ("int8", 2000), ("binary", 700)],
)
def test_a_search_is_made_as_thorough_as_the_recall_asks_for(tmp_path, kind, segment_rows):
    manifest = _index(tmp_path, kind, segment_rows)
    assert manifest.settings["segment_rows"] == segment_rows
    assert manifest.measured["recall@10"] >= 0.95
    assert _recall(tmp_path, manifest) >= 0.93  # of other images than those it was chosen on


def test_codes_rank_so_roughly_that_more_candidates_are_put_in_order(tmp_path):
    thorough = _index(tmp_path / "thorough", "binary", recall=0.99)
    quick = _index(tmp_path / "quick", "binary", recall=0.5)
    assert thorough.settings["spare"] > quick.settings["spare"]
    assert _recall(tmp_path / "thorough", thorough) > 0.95
    assert 0.5 <= quick.measured["recall@10"] < 0.99


def test_a_recall_that_no_setting_reaches_takes_the_most_thorough_and_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("metricforge.index.measuring.spares", lambda kind: (1, 2))
    manifest = _index(tmp_path, "binary", recall=1.0)
    assert manifest.settings["spare"] == 2
    found = manifest.measured["recall@10"]
    assert found < 1
    told = why_missed("binary", 10**6, 128, found, 1.0)
    assert told == (
        f"{found:.3f} is below the 1 asked for, and no setting of binary finds more; more find ivfint8, which "
        "takes --memory 136MB, and --kind flat, which finds all"
    )
    assert why_missed("binary", 10**6, 128, 0.95, 0.95) is None
    assert str(why_missed("hnsw", 10**6, 128, 0.9, 0.95)).endswith(
        "no setting of hnsw finds more; --kind flat finds all"
    )


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("k", [1, 10, 40])
def test_large_vectors_are_compared_block_by_block_as_in_one_piece(monkeypatch, metric, k):
    monkeypatch.setattr(segments, "BYTES_AT_ONCE", 4 * 24 * 70)
    queries = VECTORS[:25] * 3
    scores = queries.astype(np.float64) @ VECTORS.T if metric == "ip" else -_squares(queries)
    expected = np.argsort(-scores, axis=1)[:, :k]
    np.testing.assert_array_equal(nearest_rows(queries, VECTORS, k, Space(metric)), expected)
    everything = nearest_rows(queries, VECTORS, 5000, Space(metric))
    np.testing.assert_array_equal(np.sort(everything, axis=1), np.tile(np.arange(2000), (25, 1)))


def _squares(queries: np.ndarray) -> np.ndarray:
    return ((queries[:, None].astype(np.float64) - VECTORS[None].astype(np.float64)) ** 2).sum(axis=2)


def test_what_was_read_of_large_vectors_is_let_go_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "BYTES_AT_ONCE", 1000)
    table = pa.table({"id": np.arange(2000), "path": [str(number) for number in range(2000)]})
    name = write_segment(tmp_path, [VECTORS], table, "flat", CosineSimilarity())
    snapshot = Snapshot(tmp_path, Manifest(1, "", "", 24, "flat", (name,)), {})
    for _ in range(2):
        found = snapshot.search(VECTORS[:50], CosineSimilarity(), 5, snapshot.allowed(None))
        expected = np.argsort(-COSINES[:50], axis=1)[:, :5]
        np.testing.assert_array_equal([each.rows for each in found], expected)


def test_the_only_image_of_an_index_has_no_neighbour_to_miss(tmp_path):
    table = pa.table({"id": [0], "path": ["a"]})
    name = write_segment(tmp_path, [VECTORS[:1]], table, "flat", CosineSimilarity())
    measured = measure_search(tmp_path, Manifest(1, "", "", 24, "flat", (name,)), CosineSimilarity(), 0.95)[1]
    assert (measured["recall@1"], measured["recall@10"]) == (1.0, 1.0)
