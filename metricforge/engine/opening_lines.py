"""What a run says of itself before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metricforge.datasets import ImageFileDataset
from metricforge.engine.distributed.sharded_backbone import is_sharded
from metricforge.engine.distributed.sharded_parameters import find_row_shards
from metricforge.models import MetricLearner, WeightedLosses


def opening_lines(runner: Any) -> Iterator[str]:
    """Say in a few lines what ``runner`` trains or evaluates, on what, and what is to be known of its images."""
    train, validation, test = runner._train_dataloader, runner._val_dataloader, runner._test_dataloader
    train_set: Any = None if train is None else train.dataset.dataset
    yield f"model    {_in_words(runner.model)}"
    if train is not None:
        yield f"train    {train_set.describe()}"
    if validation is not None and validation is not test:
        yield f"validate {validation.dataset.describe()}"
    yield f"test     {test.dataset.describe()}"
    if train is not None:
        yield f"weights  {runner.choice.describe()}"
        if runner.readout is not None:
            yield f"readout  {runner.readout.describe(runner)}"
    sets = [dataset for dataset in (train_set, test.dataset) if dataset is not None]
    notes = [note for dataset in sets for note in dataset.notes]
    if train is not None:
        notes += train.batch_sampler.sampler.notes
    yield from (f"data     {note}" for note in dict.fromkeys(notes))
    for dataset in sets:
        if isinstance(dataset, ImageFileDataset) and dataset.cache is not None:
            yield f"cache    {dataset.cache.describe(len(dataset))}"
    shared = ", which share the backbone's weights" if is_sharded(runner.model.backbone) else ""
    where = f"{runner.processes.world_size} processes{shared}" if runner.processes.several else f"{runner.device}"
    what = f"weights  {runner.scored}" if train is None else f"run      {runner.run_dir}"
    yield f"{what}, seed {runner.seed}, on {where}\n"


def _in_words(learner: MetricLearner) -> str:
    shards = find_row_shards(learner)
    size = sum(
        p.numel() if name not in shards else p.shape[1:].numel() * shards[name].total
        for name, p in learner.named_parameters()
        if p.requires_grad
    )
    parts = [type(part).__name__ for part in (learner.backbone, learner.miner) if part is not None]
    if isinstance(learner.loss, WeightedLosses):
        parts.append(learner.loss.describe())
    elif learner.loss is not None:
        parts.append(type(learner.loss).__name__)
    return f"{' + '.join(parts)}, embeddings of {learner.head.dim}, {size:,} trained weights"
