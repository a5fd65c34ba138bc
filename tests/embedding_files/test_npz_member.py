from __future__ import annotations

import zipfile

import numpy as np
import pytest

from metricforge import evaluate_embeddings
from metricforge.errors import EmbeddingsError
from metricforge.measurement import read_embedding_file

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.standard_normal((300, 5)).astype(np.float32)
LABELS = RANDOM.integers(0, 9, 300)
IDS = np.array([f"image {number}" for number in range(300)])


@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, lambda a: a.astype(np.float16), lambda a: a > 0])
@pytest.mark.parametrize(("save", "mapped"), [(np.savez, True), (np.savez_compressed, False)])
def test_an_array_is_what_numpy_reads_and_stays_in_its_file_unless_compressed(tmp_path, save, mapped, convert):
    points = convert(POINTS)
    points = points.astype(np.int8) if points.dtype == bool else points
    save(tmp_path / "a.npz", embeddings=points, labels=LABELS, ids=IDS, more=np.zeros(3))
    read = read_embedding_file(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as expected:
        for name in ("embeddings", "labels", "ids"):
            assert np.array_equal(getattr(read, name), expected[name])
            assert getattr(read, name).dtype == expected[name].dtype
    assert isinstance(read.embeddings, np.memmap) is mapped


def test_what_is_compressed_and_large_goes_into_a_temporary_file(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", embeddings=POINTS, labels=LABELS)
    monkeypatch.setattr("metricforge.large_arrays.new_array.__defaults__", (0,))
    embeddings = read_embedding_file(tmp_path / "a.npz").embeddings
    assert isinstance(embeddings, np.memmap)
    assert np.array_equal(embeddings, POINTS)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_scores_of_a_mapped_file_are_those_of_arrays(tmp_path, similarity):
    np.savez(tmp_path / "a.npz", embeddings=POINTS, labels=LABELS)
    names = ["recall@1", "map@r", "nmi", "ncm@1", "roc_auc"]
    in_file = read_embedding_file(tmp_path / "a.npz")
    spaces = ["pca:3", "first:2+int8"]
    found = evaluate_embeddings(in_file, scores=names, similarity=similarity, spaces=spaces)
    in_memory = type(in_file)(POINTS, LABELS)
    assert found.scores == evaluate_embeddings(in_memory, scores=names, similarity=similarity, spaces=spaces).scores


def broken_copies(path):
    """Of a whole .npz: a bit changed, and the end cut off."""
    whole = path.read_bytes()
    place = whole.find(POINTS[100].tobytes())
    yield "changed", whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :], "Bad CRC-32"
    yield "cut", whole[: len(whole) // 2], "not a zip file"


def test_a_file_that_is_not_whole_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", embeddings=POINTS, labels=LABELS)
    for name, content, message in broken_copies(tmp_path / "a.npz"):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(EmbeddingsError, match=f"{name}.npz cannot be read .*{message}"):
            read_embedding_file(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_that_ends_too_early_or_is_none_is_refused(tmp_path, compression):
    np.save(tmp_path / "points.npy", POINTS)
    whole = (tmp_path / "points.npy").read_bytes()
    for content in (whole[:-1], b"nothing", b"", whole[:6] + b"\x09" + whole[7:]):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
            archive.writestr("embeddings.npy", content)
            archive.writestr("labels.npy", whole)
        with pytest.raises(EmbeddingsError, match=r"a\.npz cannot be read"):
            read_embedding_file(tmp_path / "a.npz")
