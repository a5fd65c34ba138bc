from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import metricforge

PUBLIC = [
    "BACKBONES",
    "CLUSTERINGS",
    "CONTRACT",
    "DATASETS",
    "EVALUATORS",
    "HEADS",
    "HOOKS",
    "LOSSES",
    "MINERS",
    "SAMPLERS",
    "SIMILARITIES",
    "TRANSFORMS",
    "Backbone",
    "BatchSampler",
    "Clustering",
    "DirectedPairs",
    "EmbeddingBatchSampler",
    "EmbeddingModel",
    "EmbeddingSet",
    "EmptyBatchWarning",
    "EvaluationContext",
    "Evaluator",
    "Head",
    "Hit",
    "Loss",
    "LossOutput",
    "MetricForgeError",
    "Miner",
    "Pairs",
    "Quadruplets",
    "Registry",
    "RowShard",
    "SearchIndex",
    "Similarity",
    "TaggedEmbeddings",
    "Transform",
    "Triplets",
    "Tuples",
    "build_runner",
    "evaluate_embeddings",
    "functional",
    "load_index",
    "load_model",
    "load_plugins",
    "step_touched_rows",
]


def test_the_public_names_are_these():
    assert sorted(metricforge.__all__) == sorted(PUBLIC)
    assert all(hasattr(metricforge, name) for name in PUBLIC)


def test_type_checkers_read_the_same_names_as_are_imported_on_first_use():
    tree = ast.parse(Path(metricforge.__file__).read_text())
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    home = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(home) == sorted(metricforge.__all__)
    for name, module in home.items():
        assert getattr(metricforge, name) is getattr(import_module(module), name)


def test_dir_has_every_public_name_before_any_is_used():
    code = "import metricforge; print(set(metricforge.__all__) <= set(dir(metricforge)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'metricforge' has no attribute 'LOSES'"):
        metricforge.LOSES  # noqa: B018


def test_a_look_up_finds_plug_ins_whatever_was_imported_before(tmp_path):
    """``metricforge.registry`` alone has no reason to import ``metricforge.plugins``."""
    (tmp_path / "announced_loss.py").write_text(
        "from metricforge import LOSSES, Loss\n"
        "@LOSSES.register_module()\nclass AnnouncedLoss(Loss):\n    forward = None\n"
    )
    info = tmp_path / "announced-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: announced\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metricforge.plugins]\nannounced = announced_loss\n")
    code = "from metricforge.registry import LOSSES; print('AnnouncedLoss' in LOSSES.names())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "True\n"


def test_importing_prints_nothing_and_loads_no_plug_in():
    code = "import metricforge; assert metricforge.load_plugins.cache_info().currsize == 0"
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_readme_s_one_liner_works():
    import torch

    loss = metricforge.LOSSES.build(dict(type="TripletLoss", margin=0.2))
    total = loss(torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2])).total
    assert total.ndim == 0
