"""Measures a training as it goes, and says what is wrong with it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch import Tensor

from metricforge.arrays import Floats32, Indices
from metricforge.engine.diagnosis.batch_recall import BatchRecall
from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.diagnosis.diagnosis import Diagnosis
from metricforge.engine.diagnosis.doctor import Doctor, RunFacts
from metricforge.engine.diagnosis.label_watch import LabelWatch, nearest_is_match
from metricforge.engine.diagnosis.loader_watch import LoaderWatch
from metricforge.engine.diagnosis.step_probe import StepProbe
from metricforge.engine.distributed.sharded_parameters import find_row_shards
from metricforge.engine.loops.pooled_features import pooled_features
from metricforge.evaluation import plan_evaluation, run_evaluation
from metricforge.evaluation.embedding_spread import embedding_spread
from metricforge.evaluators import RecallAtK
from metricforge.interfaces import Loss
from metricforge.models import MetricLearner, WeightedLosses
from metricforge.run_records.history import read_history
from metricforge.similarities import CosineSimilarity

ROWS = 128  # of a batch, whose spread tells
SHARE_OF_LABELS = 0.5  # of the time for looking that goes into labels
KNOWN = 0.5  # of the training images, before their labels are judged
# Early on images that are hard look mislabelled too; late the wrong labels are learned by heart. So those that looked
# wrong when most did are named, as soon as fewer than this share of as many do, or training ends.
LEARNED = 0.9
LISTED = 100  # images of a diagnosis
UNTRAINED = "untrained feature"


class DoctorHook(Hook):
    """Writes readings and diagnoses into the history, and says the latter once each.

    A reading, at most one each time the losses are read and at the end of an epoch, has ``gradient_norm``,
    ``weight_change`` (of an update, as a share of the weights' length), ``spread`` and ``effective_rank`` of the
    batch's embeddings, ``active`` (the share of its images that get a gradient), ``batch_recall@1`` and ``waiting``
    (the share of the time without a batch). Training itself is not touched, to the bit.

    Args:
        bounds: from where on it speaks, and how much time it may take.
    """

    priority = 95  # after everything that takes time between two updates, but for the hook that stops

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._doctor: Doctor | None = None
        self._probe: StepProbe | None = None
        self._due = False
        self._active: Tensor | None = None
        self._unseen: Tensor | None = None
        self._untrained: dict[str, float] = {}
        self._recall = BatchRecall()
        self._step_seconds = 0.0
        self._least_seconds = dict.fromkeys(("look", "reading"), math.inf)
        self._next = dict.fromkeys(("look", "reading"), 0)
        self._read_at = 0.0
        self._doubtful: tuple[Indices, int] = (np.zeros(0, dtype=np.int64), 0)

    # ------------------------------------------------------------------ before

    def before_train(self, runner: Any) -> None:
        history = read_history(runner.run_dir) if runner.iter else []
        said = frozenset(line["diagnosis"]["kind"] for line in history if "diagnosis" in line)
        self._doctor = Doctor(self.bounds, _facts(runner), said)
        self._loader = LoaderWatch(runner.device)
        self._labels = LabelWatch(runner.train_dataloader.dataset.dataset.labels)
        sharded = frozenset(find_row_shards(runner.model))
        self._probe = StepProbe(runner.model, runner.optim_wrapper.optimizer, sharded)
        if _has_proxies(runner.model, runner.num_classes):
            self._unseen = torch.ones(runner.num_classes, dtype=torch.bool)
        for line in history:
            self._untrained |= line.get(UNTRAINED, {})
        if self.bounds.untrained is not None and not runner.iter:
            self._measure_untrained(runner)
        self._read_at = time.perf_counter()

    def _measure_untrained(self, runner: Any) -> None:
        """Score the features that the backbone has before training on the validation classes."""
        evaluators = [one for one in _validation_evaluators(runner) if isinstance(one, RecallAtK)]
        if not evaluators:
            return
        embedded = pooled_features(runner, runner.val_loop.dataloader, UNTRAINED)
        if runner.readout is not None:
            runner.readout.take_untrained(embedded)

        def measure() -> dict[str, float]:
            assert embedded is not None
            context = runner.val_loop.context_of(embedded, CosineSimilarity())
            plan = plan_evaluation(context, evaluators)
            return dict(run_evaluation(context, plan).scores)

        self._untrained = runner.processes.from_main(measure)
        runner.history.add_values(0, 0.0, UNTRAINED, self._untrained)

    def before_train_epoch(self, runner: Any) -> None:
        self._loader.begin_epoch()

    def before_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self._loader.begin_update()
        done = runner.iter + 1
        last = done % len(runner.train_dataloader) == 0
        self._due = (done % runner.train_loop.log_interval == 0 or last) and done >= self._next["reading"]
        if self._due:
            assert self._probe is not None
            self._probe.armed = True
            runner.model.on_gradient = self._note_gradient

    def _note_gradient(self, gradient: Tensor) -> None:
        self._active = (gradient != 0).any(dim=1).float().mean()

    # ------------------------------------------------------------------ after an update

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        step, started = self._loader.seconds_since_batch(), time.perf_counter()
        self._step_seconds = 0.9 * self._step_seconds + 0.1 * step if self._step_seconds else step
        runner.model.on_gradient = None
        labels = data_batch["label"]
        if self._unseen is not None:
            self._unseen[labels.cpu()] = False
        done = runner.iter + 1
        hits = None
        looks = done >= self._next["look"] and self.bounds.doubtful is not None
        if self._due or looks:
            embeddings = runner.model.last_embeddings
            ids = data_batch["id"].to(embeddings.device)
            hits = nearest_is_match(embeddings, labels.to(embeddings.device), ids)  # (B,)
            self._labels.look(ids, hits)
        looked = time.perf_counter()
        if looks:
            self._keep_to_share("look", done, looked - started)
        if self._due:
            self._read(runner, outputs, hits, data_batch)
            self._keep_to_share("reading", done, time.perf_counter() - looked)
        self._loader.end_update()

    def _read(self, runner: Any, outputs: dict[str, Tensor], hits: Tensor | None, batch: Any) -> None:
        assert self._probe is not None
        assert self._doctor is not None
        embeddings = runner.model.last_embeddings  # (B, D)
        on_device = self._probe.take() | {name: value for name, value in outputs.items() if value.dim() == 0}
        if self._active is not None:
            on_device["active"] = self._active
        if hits is not None:
            on_device["batch_recall@1"] = hits.nanmean()
        flat = torch.stack([value.float().to(embeddings.device) for value in on_device.values()]).tolist()
        values = {name: value for name, value in zip(on_device, flat, strict=True) if math.isfinite(value)}
        rows: Floats32 = embeddings[:: -(-len(embeddings) // ROWS)].float().cpu().numpy()
        if np.isfinite(rows).all():
            spread = embedding_spread(rows)
            values |= {"spread": spread.spread, "effective_rank": spread.effective_rank}
        waiting = self._loader.take()
        if waiting is not None:
            values["waiting"] = waiting
        self._recall.note(embeddings, batch["label"])
        self._active = None
        done, now = runner.iter + 1, time.perf_counter()
        epoch = done / len(runner.train_dataloader)
        diagnoses = self._doctor.read(values, epoch, now - self._read_at)
        self._read_at = now
        logged = {name: value for name, value in values.items() if name not in outputs}
        runner.track({f"diagnostics/{name}": value for name, value in logged.items()}, step=done)
        runner.history.add_values(done, epoch, "diagnostics", logged)
        self._say(runner, diagnoses, done)

    def _keep_to_share(self, kind: str, done: int, seconds: float) -> None:
        """Put the next look at labels, or the next reading, so far away that it keeps to its share of the time."""
        first = math.isinf(self._least_seconds[kind])
        self._least_seconds[kind] = min(self._least_seconds[kind], seconds)
        if self.bounds.share < 1 and not first:  # the first one takes much longer than all others
            allowed = self.bounds.share * SHARE_OF_LABELS * self._step_seconds  # of each update
            self._next[kind] = done + math.ceil(self._least_seconds[kind] / max(allowed, 1e-9))

    # ------------------------------------------------------------------ after an epoch, a validation, the test

    def after_train_epoch(self, runner: Any) -> None:
        assert self._doctor is not None
        epoch = runner.iter / len(runner.train_dataloader)
        if self._unseen is not None:
            unseen, classes = int(self._unseen.sum()), len(self._unseen)
            self._say(runner, self._doctor.counted(unseen, classes, epoch), runner.iter)
        doubtful, known = self._labels.doubtful()
        if known >= KNOWN * len(runner.train_dataloader.dataset):
            if len(doubtful) >= len(self._doubtful[0]):
                self._doubtful = doubtful, known
            elif len(doubtful) < LEARNED * len(self._doubtful[0]):
                self._say_doubtful(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if not runner.trains_now or self._doctor is None or runner.validated_classes == "test classes":
            return
        score = _score_of(runner, metrics or {})
        context, gap = runner.val_loop.context, None
        if context is not None:
            gap = self._recall.compare(context.queries, runner.seed)
        epoch = runner.iter / len(runner.train_dataloader)
        if gap is not None:
            pair = {"batch_recall@1 of training": gap[0], "batch_recall@1 of validation": gap[1]}
            runner.history.add_values(runner.iter, epoch, "diagnostics", pair)
        if score is not None and metrics is not None:
            untrained, images = self._untrained.get(score), len(runner.val_dataloader.dataset)
            self._say(runner, self._doctor.validated(score, metrics[score], untrained, epoch, gap, images), runner.iter)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        score = _score_of(runner, metrics or {})
        if not runner.trains_now or self._doctor is None or score is None or metrics is None:
            return
        baselines = {name: scores[score] for name, scores in runner.baseline_scores.items() if score in scores}
        images = len(runner.test_dataloader.dataset)
        self._say(runner, self._doctor.tested(score, metrics[score], baselines, images), runner.iter)

    def after_train(self, runner: Any) -> None:
        if self._doctor is not None:
            self._say_doubtful(runner)
        if self._probe is not None:
            self._probe.close()

    def _say_doubtful(self, runner: Any) -> None:
        """Name the images whose labels looked wrong when most did."""
        assert self._doctor is not None
        doubtful, known = self._doubtful
        dataset = runner.train_dataloader.dataset.dataset
        names = tuple(dataset.location(index) for index in doubtful.tolist())
        self._say(runner, self._doctor.doubted(names, known), runner.iter)

    def _say(self, runner: Any, diagnoses: Sequence[Diagnosis], iteration: int) -> None:
        for one in diagnoses:
            runner.warn(f"doctor   {one.text}")
            epoch = iteration / len(runner.train_dataloader)
            runner.history.add_diagnosis(iteration, epoch, one.kind, one.text, one.images[:LISTED])


def _validation_evaluators(runner: Any) -> Sequence[Any]:
    if runner.val_loop is None or runner.validated_classes == "test classes" or not runner.train_loop.val_interval:
        return ()
    evaluators: Sequence[Any] = runner.val_loop.evaluators
    return evaluators


def _score_of(runner: Any, scores: dict[str, float]) -> str | None:
    """The score that the run goes by, or else its first."""
    chosen = runner.choice.score
    if chosen in scores:
        return str(chosen)
    return next(iter(scores), None)


def _facts(runner: Any) -> RunFacts:
    loader = runner.train_dataloader
    rate = runner.cfg.optim_wrapper.optimizer.get("lr")
    return RunFacts(
        updates=runner.train_loop.max_iters,
        epochs=runner.train_loop.max_epochs,
        dimensions=runner.model.head.dim,
        batch=loader.batch_sampler.sampler.batch_size,
        workers=loader.num_workers,
        rate="unknown" if rate is None else f"{rate:g}",
        resting=_resting(runner.model.loss),
    )


def _resting(loss: Loss | None) -> dict[str, float]:
    """The values at which hinge losses rest, by the names they are logged under."""
    pairs: list[tuple[str, Any]]
    if isinstance(loss, WeightedLosses):
        pairs = [(f"loss/{name}", one) for name, one in zip(loss.names, loss.losses, strict=True)]
    else:
        pairs = [("loss", loss)]
    values = {name: getattr(one, "value_of_equals", None) for name, one in pairs}
    return {name: value for name, value in values.items() if value is not None}


def _has_proxies(model: MetricLearner, num_classes: int | None) -> bool:
    """Whether the loss has a weight for each class: then a class without images has one that nothing pulls."""
    assert model.loss is not None
    weights = [weight for weight in model.loss.parameters() if weight.dim() > 1]
    return num_classes is not None and any(num_classes in weight.shape for weight in weights)
