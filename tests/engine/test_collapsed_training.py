"""A training whose embeddings have collapsed says so, in words and in what it writes."""

from __future__ import annotations

import json
import warnings

import pytest
import torch

from metricforge import build_runner
from metricforge.evaluation.embedding_spread import CollapsedEmbeddingsWarning


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_collapse_is_warned_of_once_an_evaluation_and_stands_in_the_scores(
    collapsed, tiny_config, folder_of_24_classes, tmp_path
):
    del tiny_config["train_dataloader"]["dataset"]["root"], tiny_config["test_dataloader"]["dataset"]["root"]
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.25)
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1e-8
    tiny_config["evaluators"].append(dict(type="ScoresInSpace", space="pca:2", evaluators=[dict(type="MAPAtR")]))
    tiny_config["final_evaluators"] = [
        dict(
            type="ScoresBySimilarity",
            name="cosine",
            similarity=dict(type="CosineSimilarity"),
            evaluators=[dict(type="MAPAtR")],
        )
    ]
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    if collapsed:
        with torch.no_grad():
            features = runner.model.backbone.layers[-1]
            features.weight.mul_(1e-4)
            features.bias.fill_(1.0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runner.train()
    of_collapse = [one for one in told if issubclass(one.category, CollapsedEmbeddingsWarning)]
    spread = json.loads((tmp_path / "scores.json").read_text())["protocol"]["embedding_spread"]
    assert len(of_collapse) == (4 if collapsed else 0), "three validations and the test"
    assert (spread["spread"] < 1e-4) == collapsed
    assert spread["effective_rank"] > 1
