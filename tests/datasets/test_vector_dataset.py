from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from metricforge.datasets import VectorDataset
from metricforge.errors import DatasetError

DRAWS = np.random.default_rng(0)
VECTORS = DRAWS.normal(size=(60, 7))
NAMES = np.array([f"class {number % 10}" for number in range(60)])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vectors.npz"
    np.savez(path, embeddings=VECTORS, labels=NAMES, ids=np.arange(100, 160))
    return path


def test_the_splits_share_no_class_and_together_are_the_file(file):
    train, test = VectorDataset(file), VectorDataset(file, split="test")
    assert train.class_names == tuple(f"class {n}" for n in range(5))
    assert test.class_names == tuple(f"class {n}" for n in range(5, 10))
    both = np.concatenate([[part[i]["image"].numpy() for i in range(len(part))] for part in (train, test)])
    order = np.concatenate([np.flatnonzero(np.arange(60) % 10 < 5), np.flatnonzero(np.arange(60) % 10 >= 5)])
    np.testing.assert_array_equal(both, VECTORS[order].astype(np.float32))


def test_a_batch_is_its_items(file):
    dataset = VectorDataset(file)
    batch = dataset.__getitems__([4, 0, 4])
    for place, index in enumerate([4, 0, 4]):
        item = dataset[index]
        torch.testing.assert_close(batch["image"][place], item["image"], rtol=0, atol=0)
        assert (int(batch["label"][place]), int(batch["id"][place])) == (item["label"], item["id"])
    assert batch["image"].dtype == torch.float32


def test_parquet_and_npz_give_the_same_data_set(file, tmp_path):
    rows = {"embeddings": list(VECTORS), "labels": NAMES, "ids": np.arange(100, 160)}
    parquet.write_table(pa.table(rows), tmp_path / "vectors.parquet")
    one, other = VectorDataset(file, split="all"), VectorDataset("vectors.parquet", root=tmp_path, split="all")
    assert one.fingerprint() == other.fingerprint()
    assert one.class_names == other.class_names


def test_whole_numbers_as_labels_are_in_the_order_of_their_values(tmp_path):
    np.savez(tmp_path / "v.npz", embeddings=np.eye(6), labels=np.array([10, 9, 2, 10, 9, 2]))
    assert VectorDataset(tmp_path / "v.npz", split="all").class_names == ("2", "9", "10")


def test_classes_set_aside_keep_their_vectors(file):
    train = VectorDataset(file)
    part = train.of_classes(np.array([False, True, False, True, False]), "val")
    assert part.class_names == ("class 1", "class 3")
    for index in range(len(part)):
        wanted = VECTORS[part.class_names[part[index]["label"]] == NAMES].astype(np.float32)
        assert (wanted == part[index]["image"].numpy()).all(axis=1).any()


def test_other_vectors_have_another_fingerprint(file, tmp_path):
    changed = VECTORS.copy()
    changed[0, 0] += 1
    np.savez(tmp_path / "changed.npz", embeddings=changed, labels=NAMES, ids=np.arange(100, 160))
    assert VectorDataset(file).fingerprint() != VectorDataset(tmp_path / "changed.npz").fingerprint()


def test_an_error_names_file_row_and_way_out(file, tmp_path):
    assert VectorDataset(file).location(3) == "vectors.npz, row 4 (103)"
    with pytest.raises(DatasetError, match=r"nothing\.npz: there is no such file"):
        VectorDataset("nothing.npz", root=tmp_path)
    large = VECTORS.copy()
    large[3, 2] = 1e39
    np.savez(tmp_path / "large.npz", embeddings=large, labels=NAMES)
    with pytest.raises(DatasetError, match=r"row 4: has a number of more than 3\.4e\+38"):
        VectorDataset(tmp_path / "large.npz")
    np.savez(tmp_path / "few.npz", embeddings=VECTORS, labels=np.arange(60) % 2)
    with pytest.raises(DatasetError, match="has 1 of its 2 classes"):
        VectorDataset(tmp_path / "few.npz")
    with pytest.raises(DatasetError, match="is a vector and has no picture"):
        VectorDataset(file).load(0)
    with pytest.raises(IndexError, match=r"index 30 is outside 0\.\.29"):
        VectorDataset(file)[30]
