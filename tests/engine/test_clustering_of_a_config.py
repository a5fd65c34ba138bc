from __future__ import annotations

import json

import pytest

from metricforge import build_runner
from metricforge.config_check import check_config
from metricforge.errors import ConfigError


def test_the_clustering_of_a_config_groups_the_images_of_a_test(tiny_config, tmp_path):
    tiny_config["evaluators"] = [dict(type="NMI")]
    tiny_config["clustering"] = dict(type="KMeans", starts=3)
    tiny_config["train_cfg"]["max_epochs"] = 1
    trained = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    trained.train()
    protocol = json.loads((tmp_path / "scores.json").read_text())["protocol"]
    assert protocol["clustering"]["starts"] == 3
    tested = build_runner(tiny_config, checkpoint=tmp_path / "iter_6.pth", device="cpu")
    assert tested.test() == trained.last_scores
    assert tested.test_loop.clustering.starts == 3


@pytest.mark.parametrize(
    ("clustering", "evaluators", "said"),
    [
        (dict(type="KMean"), [dict(type="NMI")], 'clustering.type: "KMean" is not a registered clustering'),
        (dict(type="KMeans", start=3), [dict(type="NMI")], "clustering.start: KMeans has no such argument"),
        (dict(type="KMeans"), [dict(type="RecallAtK")], "clustering: no evaluator reads clusters; add one that does"),
        (
            dict(type="KMeans"),
            [
                dict(
                    type="ScoresByClustering",
                    name="more",
                    clustering=dict(type="KMeans"),
                    evaluators=[dict(type="NMI")],
                )
            ],
            "clustering: no evaluator reads clusters",
        ),
    ],
)
def test_a_clustering_that_cannot_take_effect_is_a_fault(tiny_config, clustering, evaluators, said):
    tiny_config |= dict(clustering=clustering, evaluators=evaluators)
    assert any(fault.startswith(said) for fault in check_config(tiny_config))


def test_a_nested_evaluator_of_clusters_is_enough(tiny_config):
    tiny_config["clustering"] = dict(type="KMeans")
    tiny_config["evaluators"] = [
        dict(
            type="ScoresBySimilarity",
            name="cosine",
            similarity=dict(type="CosineSimilarity"),
            evaluators=[dict(type="NMI")],
        )
    ]
    assert check_config(tiny_config) == []


def test_a_value_that_the_clustering_refuses_is_told_with_its_place(tiny_config, tmp_path):
    tiny_config |= dict(clustering=dict(type="KMeans", starts=0), evaluators=[dict(type="NMI")])
    with pytest.raises(ConfigError, match=r"clustering: starts must be"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")
