from __future__ import annotations

import subprocess
import sys

import metricforge

PUBLIC = [
    "BACKBONES",
    "CLUSTERINGS",
    "DATASETS",
    "EVALUATORS",
    "HEADS",
    "LOSSES",
    "MINERS",
    "SAMPLERS",
    "SIMILARITIES",
    "TRANSFORMS",
    "Backbone",
    "BatchSampler",
    "Clustering",
    "EmbeddingBatchSampler",
    "EmbeddingSet",
    "EmptyBatchWarning",
    "Evaluator",
    "Loss",
    "LossOutput",
    "MetricForgeError",
    "Miner",
    "Pairs",
    "Quadruplets",
    "Registry",
    "RowShard",
    "Similarity",
    "TaggedEmbeddings",
    "Triplets",
    "Tuples",
    "build_runner",
    "evaluate_embeddings",
    "functional",
    "load_plugins",
    "step_touched_rows",
]


def test_the_public_names_are_these():
    assert sorted(metricforge.__all__) == sorted(PUBLIC)
    assert all(hasattr(metricforge, name) for name in PUBLIC)


def test_importing_prints_nothing_and_loads_no_plug_in():
    code = "import metricforge; assert metricforge.load_plugins.cache_info().currsize == 0"
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_readme_s_one_liner_works():
    import torch

    loss = metricforge.LOSSES.build(dict(type="TripletLoss", margin=0.2))
    total = loss(torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])).total
    assert total.ndim == 0
