from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metricforge.evaluation import QueryScores, query_scores_path, read_query_scores
from metricforge.evaluation.results.query_scores_file import write_query_scores


def of(queries: int, classes: int, names: tuple[str, ...] | None = None, ids=None) -> QueryScores:
    generator = np.random.default_rng(0)
    values = {f"recall@{k}": generator.random(queries) < 0.8 for k in (1, 10, 100, 1000)}
    values |= {name: generator.random(queries).astype(np.float32) for name in ("map@r", "binary/map@r")}
    labels = np.sort(generator.integers(0, classes, queries))
    ids = np.arange(queries) if ids is None else ids
    nearest = {"": generator.integers(0, classes, queries), "binary": generator.integers(0, classes, queries)}
    has_match, counted = generator.random((2, queries)) < 0.9
    return QueryScores(ids, labels, has_match, values, nearest, names, {"recall@10": counted})


@pytest.mark.parametrize(("names", "ids"), [(None, None), (("ápe", "bee"), np.array(list("abcdefghij")))])
def test_what_is_written_reads_back(tmp_path, names, ids):
    written, path = of(10, 2, names, ids), tmp_path / "new" / "scores.queries.npz"
    write_query_scores(path, written)
    read = read_query_scores(path)
    for name in ("ids", "labels", "has_match"):
        assert getattr(read, name).tolist() == getattr(written, name).tolist()
    for column in ("values", "nearest", "counted"):
        ours, theirs = getattr(read, column), getattr(written, column)
        assert list(ours) == list(theirs)
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            assert (ours[name] == theirs[name]).all()
    assert read.class_names == names
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_same_values_are_the_same_bytes(tmp_path):
    for name in "ab":
        write_query_scores(tmp_path / name, of(10, 2))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_of_stanford_online_products_is_small(tmp_path):
    write_query_scores(tmp_path / "a.npz", of(60_502, 11_316))
    assert (tmp_path / "a.npz").stat().st_size < 2**20


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_query_scores(path, of(10, 2))

    def no_space(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="no space left"):
        write_query_scores(path, of(20, 2))
    assert len(read_query_scores(path)) == 10
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("scores", "queries"),
    [("runs/a/scores.json", "runs/a/scores.queries.npz"), ("b.json", "b.queries.npz"), ("c.v1", "c.v1.queries.npz")],
)
def test_it_is_called_after_the_scores_file(scores, queries):
    assert query_scores_path(scores) == Path(queries)


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "text.npz").write_text("nothing")
    np.savez(tmp_path / "other.npz", embeddings=np.eye(2))
    np.savez(tmp_path / "objects.npz", ids=np.array([{}], dtype=object))
    for name in ("text", "other", "objects"):
        with pytest.raises(ValueError, match=rf"{name}\.npz does not hold the scores of queries"):
            read_query_scores(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        read_query_scores(tmp_path / "none.npz")
