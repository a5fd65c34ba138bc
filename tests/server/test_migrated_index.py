from __future__ import annotations

import threading

import pytest
import torch

from metricforge.backbones import RawPixels
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.model_description import ModelDescription
from metricforge.heads import EmbeddingHead
from metricforge.index import SearchIndex
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity


@pytest.fixture
def small_model() -> EmbeddingModel:
    """Twelve dimensions, where the index has 27."""
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


def test_every_request_is_answered_while_the_index_goes_back_and_forth_between_two_models(
    index, serve, png, small_model, pixel_model
):
    client = serve(SearchIndex(index.path))
    done = threading.Event()
    faults: list[BaseException] = []

    def migrate() -> None:
        try:
            for _ in range(3):
                index.migrate(small_model)
                index.migrate(pixel_model)
        except BaseException as fault:
            faults.append(fault)
        finally:
            done.set()

    writer = threading.Thread(target=migrate)
    writer.start()
    dims = {small_model.hash: 12, pixel_model.hash: 27}
    asked = 0
    while not done.is_set() or not asked:
        found = client.post("/search", files={"image": png(9)}, data={"k": "3"})
        assert found.status_code == 200, found.text
        assert found.json()["hits"][0]["score"] == pytest.approx(1.0, abs=1e-5)
        assert client.post("/search", json={"id": 7, "k": 3}).status_code == 200
        embedded = client.post("/embed", files={"image": png(9)}).json()
        assert len(embedded["vectors"][0]) == dims[embedded["model"]]
        asked += 1
    writer.join()
    assert not faults
    assert asked


@pytest.mark.parametrize("query", ["image", "id"])
def test_a_search_begins_again_if_the_index_was_migrated_after_its_query_was_embedded(
    index, serve, png, small_model, monkeypatch, query
):
    reader = SearchIndex(index.path)
    search = reader.search
    embedded_for = []

    def search_late(*given):
        embedded_for.append(given[0].shape[1])
        if len(embedded_for) == 1:
            index.migrate(small_model)
        return search(*given)

    monkeypatch.setattr(reader, "search", search_late)
    sent = {"image": dict(files={"image": png(9)}, data={"k": "3"}), "id": dict(json={"id": 7, "k": 3})}[query]
    answer = serve(reader).post("/search", **sent)
    assert answer.status_code == 200, answer.text
    assert embedded_for == [27, 12]
