from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from metricforge.index.kinds import Space, build_structure, choose_kind, efforts, resident_bytes, search_structure

DRAWS = np.random.default_rng(0)
VECTORS = DRAWS.normal(size=(3000, 32)).astype(np.float32)
QUERIES = VECTORS[:20] + 0.01 * DRAWS.normal(size=(20, 32)).astype(np.float32)


def _brute_force(metric: str, allowed: np.ndarray) -> np.ndarray:
    rows, queries = VECTORS.astype(np.float64), QUERIES.astype(np.float64)
    scores = queries @ rows.T if metric == "ip" else -((queries[:, None] - rows) ** 2).sum(axis=2)
    scores[:, ~allowed] = -np.inf
    return np.argsort(-scores, axis=1)[:, :10]


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize(("kind", "least"), [("hnsw", 0.95), ("int8", 0.9), ("ivfint8", 0.9), ("ivfpq", 0.3)])
@pytest.mark.parametrize("filtered", [False, True])
def test_a_structure_finds_most_of_what_a_loop_finds_and_nothing_that_it_may_not(kind, least, metric, filtered):
    allowed = DRAWS.random(3000) < 0.5 if filtered else np.ones(3000, dtype=bool)
    structure = build_structure(kind, VECTORS, Space(metric))
    effort = efforts(kind)[-1]
    found = search_structure(structure, kind, QUERIES, 10, allowed if filtered else None, effort)
    assert allowed[found[found >= 0]].all()
    expected = _brute_force(metric, allowed)
    shares = [len(np.intersect1d(a, b)) / 10 for a, b in zip(found, expected, strict=True)]
    assert np.mean(shares) >= least


@pytest.mark.parametrize("filtered", [False, True])
def test_binary_search_counts_the_signs_that_differ(filtered):
    allowed = np.arange(3000) % 7 == 0 if filtered else np.ones(3000, dtype=bool)
    structure = build_structure("binary", VECTORS, Space("l2"))
    found = search_structure(structure, "binary", QUERIES, 5, allowed if filtered else None, 0)
    distances = ((QUERIES[:, None] > 0) != (VECTORS > 0)).sum(axis=2)
    for query, rows in enumerate(found):
        assert allowed[rows].all()
        assert sorted(distances[query, rows]) == sorted(np.sort(distances[query, allowed])[:5])


def test_the_kind_follows_the_number_and_the_memory():
    assert choose_kind(10_000, 128, None) == "flat"
    assert choose_kind(1_000_000, 128, None) == "ivfint8"
    assert choose_kind(1_000_000, 128, 2e9) == "ivfint8"
    assert choose_kind(1_000_000, 128, 1e8) == "ivfpq"
    assert choose_kind(100_000_000, 128, 8e9) == "ivfpq"


def test_a_graph_costs_its_vectors_and_links():
    assert resident_bytes("hnsw", 128) == 4 * 128 + 64 * 4 + 16
    assert resident_bytes("binary", 128) == 16


def test_every_kind_searches_where_another_library_has_replaced_the_methods_of_faiss():
    program = """
import faiss.contrib.torch_utils
import numpy as np
from metricforge.index.kinds import KINDS, Space, build_structure, search_structure

vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
allowed = np.arange(400) % 2 == 0
for kind in KINDS[1:]:
    structure = build_structure(kind, vectors, Space("ip"))
    for flags in (None, allowed):
        found = search_structure(structure, kind, vectors[:50:2], 3, flags, 64)
        assert np.mean(found[:, 0] == np.arange(0, 50, 2)) > 0.9, (kind, found[:, 0])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
