from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from metricforge.__main__ import main
from metricforge.calibration import Calibration
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import EmbeddingsError
from metricforge.index import SearchIndex, build_index


@pytest.fixture
def of_many_classes(pixel_model, photo_folder, tmp_path) -> SearchIndex:
    """The photographs as twenty classes of four."""
    photos = sorted(photo_folder.rglob("*.png"))
    rows = "".join(f"{photo},{number // 4}\n" for number, photo in enumerate(photos))
    (tmp_path / "photos.csv").write_text("path,label\n" + rows)
    return build_index(pixel_model, open_collection(tmp_path / "photos.csv"), tmp_path / "index")


def test_an_index_is_calibrated_on_its_own_images_each_without_itself(of_many_classes):
    index = of_many_classes
    vectors = np.stack([index.vector(number) for number in range(80)]).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    same = np.arange(80)[:, None] // 4 == np.arange(80) // 4
    impostors = np.where(same, -np.inf, cosines).max(axis=1)
    found = index.calibrate(rate=0.1)
    assert found.rate == pytest.approx(0.1)
    assert np.sum(impostors > found.threshold + 1e-6) == 8
    assert SearchIndex(index.path).calibration == found
    (hits,) = index.search(vectors[:1].astype(np.float32), k=2)
    assert hits[0].is_match
    assert [hit.probability for hit in hits] == [found.probability(hit.score) for hit in hits]


def test_a_device_that_would_embed_nothing_is_refused(of_many_classes, photo_folder, capsys):
    command = ["index", "calibrate", str(of_many_classes.path), "--rate", "0.1", "--device", "cpu"]
    with pytest.raises(SystemExit):
        main(command)
    assert "--device is for embedding images, but without SOURCE the embeddings in" in capsys.readouterr().err
    assert SearchIndex(of_many_classes.path).calibration is None
    main([*command[:3], str(of_many_classes.path.parent / "photos.csv"), *command[3:]])
    assert SearchIndex(of_many_classes.path).calibration is not None


def test_images_of_another_source_that_the_index_holds_do_not_find_themselves(of_many_classes):
    own = of_many_classes.calibrate(rate=0.1)
    assert own.accepted < 1
    named = of_many_classes.calibrate(of_many_classes.path.parent / "photos.csv", rate=0.1)
    assert named.to_json() == own.to_json()


def test_images_without_labels_are_refused(pixel_model, photo_folder, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for photo in list(photo_folder.rglob("*.png"))[:12]:
        (flat / photo.name).write_bytes(photo.read_bytes())
    index = build_index(pixel_model, open_collection(flat), tmp_path / "index")
    with pytest.raises(EmbeddingsError, match="the images have no labels, which calibration needs"):
        index.calibrate()


def test_an_index_without_images_is_refused(of_many_classes):
    of_many_classes.remove(filter="true")
    for source in (None, of_many_classes.path.parent / "photos.csv"):
        with pytest.raises(EmbeddingsError, match="index has no images, which calibration needs; add some"):
            of_many_classes.calibrate(source)


def test_images_of_which_none_has_a_label_are_refused(of_many_classes):
    photos = pa.table({name: of_many_classes.snapshot().table()[name] for name in ("path", "label")})
    table = of_many_classes.path.parent / "unlabelled.parquet"
    parquet.write_table(photos.set_column(1, "label", pa.nulls(len(photos), pa.int64())), table)
    with pytest.raises(EmbeddingsError, match=r"unlabelled\.parquet: none of the images has a label"):
        of_many_classes.calibrate(table)
    of_many_classes.add(table)
    with pytest.raises(EmbeddingsError, match="index: none of the images has a label, which calibration needs"):
        of_many_classes.calibrate()


def test_images_without_a_label_are_not_searched_for_whatever_the_source(of_many_classes):
    table = of_many_classes.path.parent / "photos.csv"
    lines = table.read_text().splitlines()
    table.write_text(
        "\n".join(line if number % 4 else line.partition(",")[0] + "," for number, line in enumerate(lines, 3))
    )
    named = of_many_classes.calibrate(table, rate=0.1)
    assert (named.queries, named.classes) == (60, 20)


def test_labels_of_another_type_than_the_index_has_are_refused(of_many_classes, photo_folder):
    with pytest.raises(EmbeddingsError, match=r"column label is large_string here and int64 in .*; convert it"):
        of_many_classes.calibrate(photo_folder)


@pytest.fixture
def calibrated_model(pixel_model):
    """Makes the model one that was calibrated among so many images."""

    def calibrated(gallery: int) -> EmbeddingModel:
        rates = dict(wanted_rate=0.1, rate=0.1, low=0.0, high=0.2, confidence=0.95, accepted=0.5)
        found = Calibration(
            threshold=0.99, **rates, scores=(0.0, 1.0), probabilities=(0.0, 1.0), queries=9, classes=9, gallery=gallery
        )
        return EmbeddingModel(
            pixel_model.learner, pixel_model.description, pixel_model.device, "here", calibration=found
        )

    return calibrated


def test_an_index_of_a_calibrated_model_says_no_match_from_the_start(calibrated_model, photo_folder, tmp_path):
    model = calibrated_model(80)
    index = build_index(model, open_collection(photo_folder), tmp_path / "index")
    assert index.calibration == model.calibration
    (itself,), (other,) = index.search([next(photo_folder.rglob("*.png")), np.full((3, 3, 3), 200, np.uint8)], k=1)
    assert itself.is_match
    assert not other.is_match
    assert SearchIndex(index.path).model.calibration == model.calibration, "the stored model has it, too"


def test_a_threshold_that_was_chosen_among_fewer_images_is_not_used(calibrated_model, photo_folder, tmp_path):
    index = build_index(calibrated_model(79), open_collection(photo_folder), tmp_path / "index")
    assert index.calibration is None
    assert index.search(next(photo_folder.rglob("*.png")), k=1)[0][0].is_match is None
