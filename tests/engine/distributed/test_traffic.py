"""What an update sends over the network, and what a process holds, is what docs/scale.md counts with."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper

from metricforge import LOSSES
from metricforge.engine.distributed.data_parallel_step import SharedStep
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_parameters import find_row_shards
from metricforge.models import MetricLearner
from metricforge.testing import run_in_processes

PER_PROCESS, DIM, CLASSES, SIDE = 6, 5, 32, 4
FLOAT = 4  # bytes
OF_BACKBONE_AND_HEAD = 3 * SIDE * SIDE * DIM


def an_update(loss):
    """Bytes that this process hands to each kind of collective in one update, and the rows of proxies it holds."""
    learner = MetricLearner.from_config(
        dict(backbone=dict(type="RawPixels", height=SIDE, width=SIDE), head=dict(type="EmbeddingHead", dim=DIM))
        | dict(similarity=dict(type="CosineSimilarity"), loss=dict(type="ContrastiveLoss")),
        num_classes=CLASSES,
    )
    learner.loss = LOSSES.build(dict(loss), num_classes=CLASSES, dim=DIM)
    processes = Processes.current()
    shared = SharedStep(learner, processes, find_row_shards(learner))
    optimizer = OptimWrapper(torch.optim.SGD(learner.parameters(), lr=0.1))
    images = torch.randint(0, 256, (PER_PROCESS, 3, SIDE, SIDE), dtype=torch.uint8)
    labels = torch.arange(PER_PROCESS * processes.world_size) // 2
    sent = Counter()

    def counted(name, of):
        original = getattr(dist, name)

        def count(*arguments, **options):
            tensor = arguments[of]
            sent[name] += tensor.numel() * tensor.element_size()
            return original(*arguments, **options)

        return patch.object(dist, name, count)

    with counted("all_reduce", 0), counted("all_gather", 1):
        learner.train_step({"image": images, "label": labels, "id": labels}, optimizer, shared)
    return dict(sent), len(getattr(learner.loss, "proxies", []))


@pytest.mark.parametrize("count", [2, 4])
def test_a_loss_of_pairs_sends_embeddings_twice_and_each_gradient_once(count):
    batch = count * PER_PROCESS
    for sent, _ in run_in_processes(an_update, count, dict(type="ContrastiveLoss")):
        assert sent == {
            "all_gather": FLOAT * PER_PROCESS * DIM,
            "all_reduce": FLOAT * (batch * DIM + OF_BACKBONE_AND_HEAD),
        }


@pytest.mark.parametrize("count", [2, 4])
def test_shared_proxies_add_the_embeddings_once_and_four_numbers_an_image_however_many_classes(count):
    batch = count * PER_PROCESS
    for sent, held in run_in_processes(an_update, count, dict(type="NormSoftmaxLoss", shard=True)):
        assert held == CLASSES // count
        assert sent == {
            "all_gather": FLOAT * PER_PROCESS * DIM,
            "all_reduce": FLOAT * (2 * batch * DIM + 4 * batch + OF_BACKBONE_AND_HEAD),
        }
