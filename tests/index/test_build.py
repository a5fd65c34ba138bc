from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metricforge.cli.main import main
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.stored_embeddings import StoredEmbeddings
from metricforge.errors import EmbeddingsError
from metricforge.index import SearchIndex, build, build_index
from metricforge.index.build import index_embeddings
from metricforge.index.indexed_model import IndexedModel


@pytest.fixture(scope="session")
def photos(photo_folder: Path) -> list[Path]:
    return sorted(photo_folder.rglob("*.png"))


@pytest.fixture
def embedded(pixel_model: EmbeddingModel, photo_folder: Path, tmp_path: Path) -> Path:
    """Embeddings in parts of 14 images, as ``metricforge embed`` writes them."""
    embed_collection(pixel_model, open_collection(photo_folder), tmp_path / "vectors", part_rows=14)
    return tmp_path / "vectors"


def _cosines(paths: list[Path]) -> np.ndarray:
    """Of the pixels as the model scales them, in float64 (N, N)."""
    rows = np.stack([np.asarray(Image.open(path), dtype=np.float64).transpose(2, 0, 1).reshape(-1) for path in paths])
    rows = (rows / 255 - 0.5) / 0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def _is_exact(index: SearchIndex, photos: list[Path]) -> bool:
    expected = np.argsort(-_cosines(photos), axis=1, kind="stable")[:, :7]
    found = [[hit.path for hit in hits] for hits in index.search(photos, k=7)]
    return found == [[str(photos[place]) for place in row] for row in expected]


@pytest.mark.parametrize("kind", ["flat", "hnsw", "int8"])
@pytest.mark.parametrize("segment_rows", [80, 33, 9])
def test_segments_are_searched_as_one_and_hold_no_more_than_told(
    pixel_model, photo_folder, photos, tmp_path, kind, segment_rows
):
    index = build_index(
        pixel_model, open_collection(photo_folder), tmp_path / "index", kind=kind, segment_rows=segment_rows
    )
    held = [len(segment) for segment in index.snapshot().segments]
    assert sum(held) == 80
    assert len(held) == -(-80 // segment_rows)
    assert max(held) - min(held) <= 1
    assert _is_exact(index, photos)
    assert index.manifest.measured["recall@10"] == 1.0


def test_compacting_keeps_the_segments_as_small_as_told(pixel_model, photo_folder, photos, tmp_path):
    index = build_index(pixel_model, open_collection(photo_folder), tmp_path / "index", segment_rows=30)
    index.remove(paths=[str(photo) for photo in photos[:25]])
    index.add(photos[:3])
    index.compact()
    assert [len(segment) for segment in index.snapshot().segments] == [29, 29]
    assert {hit.id for hit in index.search(photos[40], k=80)[0]} == {80, 81, 82, *range(25, 80)}


def test_a_build_that_was_killed_keeps_the_segments_it_had_finished(
    pixel_model, photo_folder, photos, tmp_path, monkeypatch
):
    collection, write, written = open_collection(photo_folder), build.write_segment, []

    def fails_at_the_third(*given, **options):
        if len(written) == 2:
            (tmp_path / "index" / "segments" / "torn").mkdir()  # of a process that could not clean up
            raise KeyboardInterrupt
        written.append(write(*given, **options))
        return written[-1]

    monkeypatch.setattr(build, "write_segment", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build_index(pixel_model, collection, tmp_path / "index", segment_rows=20)
    monkeypatch.setattr(build, "write_segment", write)
    indexed: list[int] = []
    index = build_index(pixel_model, collection, tmp_path / "index", segment_rows=20, on_indexed=indexed.append)
    assert index.manifest.segments[:2] == tuple(written)
    assert indexed[0] == 40
    assert _is_exact(index, photos)
    left = {path.name for path in index.path.iterdir()}
    assert left == {"index.json", "models", "segments"}
    assert len(list((index.path / "segments").iterdir())) == 4


def test_segments_of_another_plan_are_not_taken_up(pixel_model, photo_folder, photos, tmp_path, monkeypatch):
    collection = open_collection(photo_folder)
    monkeypatch.setattr(build, "measure_search", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_index(pixel_model, collection, tmp_path / "index", segment_rows=20)
    monkeypatch.undo()
    index = build_index(pixel_model, collection, tmp_path / "index", kind="hnsw", segment_rows=40)
    assert [len(segment) for segment in index.snapshot().segments] == [40, 40]
    assert all(segment.kind == "hnsw" for segment in index.snapshot().segments)
    assert _is_exact(index, photos)


def test_embeddings_that_lie_in_files_are_indexed_as_the_images_are(pixel_model, embedded, photos, built, tmp_path):
    index = index_embeddings(
        IndexedModel.of(pixel_model), StoredEmbeddings(embedded), tmp_path / "index", segment_rows=30
    )
    assert _is_exact(index, photos)
    (found,), (expected,) = index.search(photos[9], k=80), SearchIndex(built).search(photos[9], k=80)
    assert [replace(hit, score=0) for hit in found] == [replace(hit, score=0) for hit in expected]
    assert len(list(embedded.glob("*.parquet"))) == 6  # they stay


@pytest.mark.parametrize("names", [["segments/of customers.csv"], ["models/a.pth", "notes.txt"], ["photos/a.jpg"]])
def test_a_folder_of_other_files_does_not_become_an_index(pixel_model, photo_folder, embedded, tmp_path, names):
    files = [tmp_path / "shop" / name for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    with pytest.raises(EmbeddingsError, match=r"shop contains other files, such as (segments|notes|photos)"):
        build_index(pixel_model, open_collection(photo_folder), tmp_path / "shop")
    with pytest.raises(EmbeddingsError, match="shop contains other files"):
        index_embeddings(IndexedModel.of(pixel_model), StoredEmbeddings(embedded), tmp_path / "shop")
    assert [file.read_text() for file in files] == ["mine"] * len(files)


def test_embeddings_of_another_model_or_without_a_part_are_refused(pixel_model, embedded, tmp_path):
    other = replace(pixel_model.description, preprocessing=(dict(type="Resize", size=(3, 3)),))
    model = EmbeddingModel(pixel_model.learner, other, pixel_model.device, "elsewhere")
    with pytest.raises(EmbeddingsError, match=f"holds embeddings of model {pixel_model.hash}, and elsewhere is model"):
        index_embeddings(IndexedModel.of(model), StoredEmbeddings(embedded), tmp_path / "index")
    (embedded / "part-000002.parquet").unlink()
    with pytest.raises(EmbeddingsError, match="1 of 6 parts are missing"):
        StoredEmbeddings(embedded)


def test_the_command_takes_a_folder_of_embeddings_and_refuses_what_is_of_images(
    pixel_model, embedded, photos, tmp_path, capsys
):
    pixel_model.save(tmp_path / "bundle")
    command = ["index", str(tmp_path / "bundle"), str(embedded), "--out", str(tmp_path / "index")]
    for option, value in (("--glob", "*.png"), ("--workers", "2"), ("--device", "cpu")):
        with pytest.raises(SystemExit):
            main([*command, option, value])
        assert f"holds embeddings; leave {option} out" in capsys.readouterr().err
    main([*command, "--segment-rows", "50"])
    told = capsys.readouterr().out
    assert f"80 with embeddings in {embedded}, computed in float32" in told
    assert f" search {tmp_path / 'index'} {photos[0]}" in told
    assert _is_exact(SearchIndex(tmp_path / "index"), photos)


def test_the_command_tells_of_images_that_cannot_be_read(pixel_model, photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(7):
        (folder / f"bad_{number}.png").write_bytes(b"")
    (folder / "good.png").write_bytes(photos[0].read_bytes())
    bundle = str(pixel_model.save(tmp_path / "bundle"))
    main(["index", bundle, str(folder), "--out", str(tmp_path / "index"), "--workers", "0"])
    told = capsys.readouterr().out
    assert "7 images could not be read and are not in the index:" in told
    assert f"{folder}/bad_4.png cannot be read as an image" in told
    assert "bad_5.png" not in told
    assert f"... all of them: {tmp_path / 'index' / 'unreadable.csv'}" in told
    assert "bad_6.png" in (tmp_path / "index" / "unreadable.csv").read_text()
    assert len(SearchIndex(tmp_path / "index")) == 1
