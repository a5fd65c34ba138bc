from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from metricforge.__main__ import main
from metricforge.backbones import RawPixels
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.errors import EmbeddingsError, IndexBusyError, MetricForgeError, UnreadableImageError
from metricforge.heads import EmbeddingHead
from metricforge.index import SearchIndex, build_index, migrating
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity


@pytest.fixture(scope="session")
def small_model() -> EmbeddingModel:
    """The pixels of an image of 2 x 2: twelve dimensions, where the index has 27."""
    backbone = dict(type="RawPixels", height=2, width=2)
    head = dict(type="EmbeddingHead", l2_normalize=False)
    description = ModelDescription(
        architecture=dict(backbone=backbone, head=head, similarity=dict(type="CosineSimilarity")),
        preprocessing=(dict(type="Resize", size=(2, 2)),),
    )
    learner = MetricLearner(
        RawPixels(height=2, width=2), EmbeddingHead(feature_dim=12, l2_normalize=False), CosineSimilarity()
    )
    return EmbeddingModel(learner, description, torch.device("cpu"), "small")


@pytest.fixture
def own(pixel_model, photo_folder, tmp_path):
    """An index with photographs of its own, an added one and a removed one."""
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    index = build_index(pixel_model, open_collection(folder), tmp_path / "own")
    shutil.copy(sorted(folder.rglob("*.png"))[3], tmp_path / "new.png")
    index.add([tmp_path / "new.png"])
    index.remove(ids=[5])
    return index


def test_every_image_has_its_embedding_of_the_new_model_under_its_old_id(own, small_model):
    before = own.snapshot().table()
    done = own.migrate(small_model)
    assert (done.embedded, done.dropped) == (80, [])
    after = SearchIndex(own.path)
    assert after.snapshot().table().equals(before)
    assert (after.manifest.dim, after.model.hash) == (12, small_model.hash)
    for image, path in zip(before["id"].to_pylist(), before["path"].to_pylist(), strict=True):
        np.testing.assert_allclose(after.vector(image), small_model.embed([path])[0], rtol=1e-5)
        assert after.search(path, k=1)[0][0].score == pytest.approx(1.0, abs=1e-6)
    assert after.add([own.path.parent / "photos" / before["path"][0].as_py()]) == [0]
    shutil.copy(before["path"][0].as_py(), own.path.parent / "newer.png")
    assert after.add([own.path.parent / "newer.png"]) == [81]


def test_the_index_and_its_model_are_enough_to_open_it_with_the_new_one(own, small_model, pixel_model):
    own.migrate(small_model.save(own.path.parent / "bundle"))
    assert len(SearchIndex(own.path, small_model).search(np.ones((1, 12), dtype=np.float32), k=3)[0]) == 3
    with pytest.raises(EmbeddingsError, match=f"metricforge index migrate {own.path} MODEL"):
        SearchIndex(own.path, pixel_model)
    with pytest.raises(EmbeddingsError, match="name another model"):
        own.migrate(small_model)


def test_searches_go_on_while_the_index_goes_back_and_forth_between_two_models(own, small_model, pixel_model):
    stop = threading.Event()
    faults: list[BaseException] = []
    searches = 0
    path = own.snapshot().table()["path"][9].as_py()
    image = own.snapshot().table()["id"][9].as_py()
    nearest = {}
    for model in (small_model, pixel_model):
        own.migrate(model)
        nearest[model.hash] = [round(hit.score, 4) for hit in own.search(path, k=4)[0]]
    assert len({tuple(scores) for scores in nearest.values()}) == 2
    reader = SearchIndex(own.path)

    def read() -> None:
        nonlocal searches
        while not stop.is_set():
            try:
                hits = reader.search(path, k=4)[0]
                assert hits[0].id == image
                assert [round(hit.score, 4) for hit in hits] in nearest.values()
                assert len(reader.search_by_id(image, k=3)) == 3
                searches += 1
            except BaseException as fault:
                faults.append(fault)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        own.migrate(small_model)
        own.migrate(pixel_model)
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert searches > 3


def test_images_that_cannot_be_read_refuse_the_migration_until_they_are_repaired_or_dropped(own, small_model):
    before = own.manifest
    broken = own.path.parent / "photos" / "class_2" / "10.png"
    content = broken.read_bytes()
    broken.write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(UnreadableImageError, match=r"1 images of .*10\.png.*--drop-unreadable"):
            own.migrate(small_model)
    assert own.manifest == before
    assert own.search(str(own.path.parent / "new.png"), k=1)[0][0].score == pytest.approx(1.0)
    broken.write_bytes(content)
    assert own.migrate(small_model).dropped == []
    assert len(own) == 80


def test_images_that_cannot_be_read_are_dropped_if_told(own, small_model):
    broken = own.path.parent / "photos" / "class_2" / "10.png"
    broken.unlink()
    ids = own.snapshot().table()["id"].to_pylist()
    ((path, _),) = own.migrate(small_model, drop_unreadable=True).dropped
    assert path == str(broken)
    gone = set(ids) - set(own.snapshot().table()["id"].to_pylist())
    assert len(own) == 79
    assert len(gone) == 1
    for rest in own.path.parent.rglob("*.png"):
        rest.unlink()
    with pytest.raises(EmbeddingsError, match="none of the 79 images"):
        own.migrate(
            EmbeddingModel(small_model.learner, _other(small_model), small_model.device, "x"), drop_unreadable=True
        )
    assert len(own) == 79


def _other(model: EmbeddingModel) -> ModelDescription:
    from dataclasses import replace

    return replace(model.description, preprocessing=(dict(type="Resize", size=[2, 2], interpolation="bicubic"),))


def test_a_migration_that_was_stopped_continues(own, small_model, monkeypatch):
    embed = migrating.embed_collection
    monkeypatch.setattr(migrating, "embed_collection", lambda *given, **named: embed(*given, **named, part_rows=30))

    def stop(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        own.migrate(small_model, on_images=stop)
    assert own.manifest.dim == 27
    assert own.migrate(small_model).taken_up == 30
    assert own.manifest.dim == 12
    assert [each.name for each in own.path.iterdir() if each.name.startswith("migration-")] == []


def test_what_an_earlier_start_embedded_is_forgotten_once_the_index_changed(own, small_model, monkeypatch):
    monkeypatch.setattr(migrating, "write_segments", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        own.migrate(small_model)
    monkeypatch.undo()
    changed = own.path.parent / "new.png"
    Image.fromarray(np.full((3, 3, 3), 200, dtype=np.uint8)).save(changed)
    (image,) = own.add([changed])  # replaced, and the paths are the same as before
    assert own.migrate(small_model).taken_up == 0
    np.testing.assert_allclose(own.vector(image), small_model.embed([changed])[0], rtol=1e-5)


def test_an_empty_index_is_migrated_as_well(own, small_model):
    own.remove(filter="id >= 0")
    assert own.migrate(small_model).embedded == 0
    own.add([own.path.parent / "new.png"])
    assert own.manifest.dim == len(own.vector(81)) == 12


def test_the_kind_stays_and_the_calibration_does_not(pixel_model, small_model, photo_folder, tmp_path, calibrate):
    index = build_index(pixel_model, open_collection(photo_folder), tmp_path / "index", kind="hnsw")
    calibrate(index, 0.6)
    assert index.calibration is not None
    index.migrate(small_model)
    assert index.manifest.kind == "hnsw"
    assert index.snapshot().segments[0].has_structure
    assert index.manifest.measured["recall@10"] >= 0.9
    assert index.calibration is None


def test_nobody_changes_the_index_meanwhile(own, small_model):
    with FileLock(own.path / ".lock"), pytest.raises(IndexBusyError):
        SearchIndex(own.path).migrate(small_model)


def test_only_the_models_of_this_state_and_of_the_one_before_are_kept(own, small_model, pixel_model):
    own.migrate(small_model)
    third = EmbeddingModel(small_model.learner, _other(small_model), small_model.device, "third")
    own.migrate(third)
    assert {each.name for each in (own.path / "models").iterdir()} == {small_model.hash, third.hash}


def test_the_command_migrates(own, small_model, calibrate, capsys):
    calibrate(own, 0.6)
    bundle = small_model.save(own.path.parent / "bundle")
    (own.path.parent / "photos" / "class_2" / "10.png").write_bytes(b"no picture")
    main(["index", "migrate", str(own.path), str(bundle), "--drop-unreadable", "--workers", "0"])
    out = capsys.readouterr().out
    assert "removed  " in out
    assert "79 images, 12 dimensions" in out
    assert "the threshold was of the old model" in out


def test_a_model_of_vectors_is_refused_before_anything_of_it_is_stored(own, vector_model, photo_folder, tmp_path):
    before = sorted(own.path.rglob("*"))
    with pytest.raises(MetricForgeError, match=r"vectors\.pth was trained on vectors and embeds no images"):
        own.migrate(vector_model)
    assert sorted(own.path.rglob("*")) == before
    with pytest.raises(MetricForgeError, match=r"vectors\.pth was trained on vectors and embeds no images"):
        build_index(vector_model, open_collection(photo_folder), tmp_path / "of_vectors")
    assert not (tmp_path / "of_vectors").exists()
