"""Validation and test: embed, search, score, and write the scores with their protocol."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.hooks import EMAHook
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from metricforge.datasets import ImageDataset
from metricforge.engine.loops.embed_dataset import Dtype, embed_dataset
from metricforge.engine.loops.stop_signals import StopsAtOnce
from metricforge.errors import EmbeddingsError, TrainingStopped
from metricforge.evaluation import (
    Evaluation,
    EvaluationContext,
    collect_query_scores,
    describe_protocol,
    plan_evaluation,
    run_evaluation,
    write_scores,
)
from metricforge.interfaces import Clustering, Evaluator, Similarity
from metricforge.large_arrays import MAPPED_ABOVE_GB
from metricforge.models import MetricLearner
from metricforge.structures import EmbeddingSet, Role


class EvaluationLoop(BaseLoop):
    """One evaluation of the runner's model on ``dataloader``; a test's scores go to the runner's ``scores_dir``.

    Args:
        runner: the runner this loop belongs to.
        dataloader: the images of the validation or of the test.
        evaluators: what to score.
        final_evaluators: what a test scores in addition.
        mode: ``"val"`` or ``"test"``: which hooks are called, and whether scores are written.
        scores_at_once: how many scores a search holds in memory at most, but never fewer than one query's.
        dtype: in which embeddings are kept, "float32" or "float16".
        mapped_above_gb: keep embeddings of more than this many 10^9 bytes in a memory-mapped temporary file.
        exclude: "same label and same camera", the rule of re-identification: such images are neither match nor
            non-match of a query. None: a query leaves out itself alone.
        clustering: groups the queries for scores of clusters. None: k-means.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader[dict[str, Any]],
        evaluators: Sequence[Evaluator],
        final_evaluators: Sequence[Evaluator],
        mode: str,
        scores_at_once: int = 2**25,
        dtype: Dtype = "float32",
        mapped_above_gb: float = MAPPED_ABOVE_GB,
        exclude: str | None = None,
        clustering: Clustering | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self.exclude = exclude
        self.clustering = clustering
        self.evaluators = tuple(evaluators)
        self.final_evaluators = tuple(final_evaluators)
        self.mode = mode
        self.scores_at_once = scores_at_once
        self.dtype = dtype
        self.mapped_above_gb = mapped_above_gb
        self.context: EvaluationContext | None = None

    def run(self) -> dict[str, float]:
        """Evaluate, write ``scores.json`` and what each query scored if it is a test, and return the scores."""
        self.runner.call_hook(f"before_{self.mode}")
        self.runner.call_hook(f"before_{self.mode}_epoch")
        try:
            self.runner.call_hook(f"before_{self.mode}_scores")
            scores, protocol, evaluation = self.score(self.runner.model)
            self.runner.call_hook(f"after_{self.mode}_scores")
        except (StopsAtOnce, TrainingStopped):
            self._put_back_trained_weights()  # the run is saved as it was before
            raise
        if self.mode == "test":
            self.runner.choice.test_looks += 1
        if evaluation is not None:
            self.context = evaluation.context
        if evaluation is not None and self.mode == "test":  # process 0
            protocol |= {
                "checkpoint": self.runner.scored.describe_file(),
                "pretraining": self.runner.scored.describe_pretraining(),
                "epoch": self.runner.scored.epochs,
                "iteration": self.runner.scored.iterations,
                "choice": self.runner.scored.describe_choice(),
                "baselines": self.runner.baseline_scores,
            }
            queries = collect_query_scores(evaluation, nearest=True)
            write_scores(self.runner.scores_dir() / "scores.json", scores, protocol, queries)
        self.runner.last_scores = scores
        self.runner.call_hook(f"after_{self.mode}_epoch", metrics=scores)
        self.runner.call_hook(f"after_{self.mode}")
        return scores

    def _put_back_trained_weights(self) -> None:
        for hook in self.runner.hooks:
            if isinstance(hook, EMAHook):
                getattr(hook, f"after_{self.mode}_epoch")(self.runner)

    def score(
        self, model: MetricLearner, task: str = "embedding"
    ) -> tuple[dict[str, float], dict[str, object], Evaluation | None]:
        """The scores of ``model`` on this loop's images, the protocol they were measured by, and all that was found.

        With several processes each embeds its share of the images and process 0 searches and scores: the others learn
        scores and protocol from it, and have found nothing.
        """
        started = time.perf_counter()
        context = self.embed(model, task)
        found: list[Evaluation] = []  # stays on process 0

        def measure() -> tuple[dict[str, float], dict[str, object]]:
            assert context is not None
            found.append(self._evaluate(context))
            return found[0].scores, self._protocol(found[0], model, started)

        scores, protocol = self.runner.processes.from_main(measure)
        return scores, protocol, found[0] if found else None

    @property
    def _dataset(self) -> ImageDataset:
        dataset = self.dataloader.dataset
        assert isinstance(dataset, ImageDataset)
        return dataset

    def _evaluate(self, context: EvaluationContext) -> Evaluation:
        with said_in_words():  # a K beyond the gallery
            plan = plan_evaluation(context, self.evaluators + self.final_evaluators)
        context.warn_of_collapse()
        return run_evaluation(context, plan, nearest=self.mode == "test")

    def _protocol(self, evaluation: Evaluation, model: MetricLearner, started: float) -> dict[str, object]:
        dataset = self._dataset
        return describe_protocol(evaluation) | {
            "dataset": {
                "name": dataset.describe(),
                "fingerprint": dataset.fingerprint(),
                **({"notes": list(dataset.notes)} if dataset.notes else {}),
            },
            "preprocessing": {
                "transform": repr(dataset.transform),
                "decode": self._decode(),
                "mean": model.backbone.mean,
                "std": model.backbone.std,
            },
            "seconds": round(time.perf_counter() - started, 2),
        }

    def _decode(self) -> str:
        dataset = self._dataset
        if dataset.decodes_later:
            return f"on {self.runner.device.type}"  # of which each has its own last bits
        return "fast" if dataset.reduced_decoding else "full"

    def embed(self, model: MetricLearner, task: str = "embedding") -> EvaluationContext | None:
        """The images of this loop, embedded by ``model``, ready to be searched: None in other processes than 0."""
        dataset = self._dataset
        processes = self.runner.processes
        with self.runner.progress(task, len(dataset) // processes.world_size) as advance, said_in_words():
            embedded = embed_dataset(
                model, self.dataloader, self.runner.device, advance, processes, self.dtype, self.mapped_above_gb
            )
        return None if embedded is None else self.context_of(embedded, model.similarity)

    def context_of(self, embedded: EmbeddingSet, similarity: Similarity) -> EvaluationContext:
        """The images of this loop by their embeddings, ready to be searched."""
        queries, gallery = split_by_role(embedded, self._dataset)
        return EvaluationContext(
            queries,
            similarity,
            gallery,
            self.runner.seed,
            self.runner.device,
            shared_ids=True,
            scores_at_once=self.scores_at_once,
            progress=self.runner.progress,
            exclude=self.exclude,
            clustering=self.clustering,
        )


@contextmanager
def said_in_words() -> Iterator[None]:
    """What these images cannot be scored by is a mistake of the caller's, which commands say without a traceback."""
    try:
        yield
    except ValueError as fault:
        raise EmbeddingsError(str(fault)) from fault


def split_by_role(embedded: EmbeddingSet, dataset: ImageDataset) -> tuple[EmbeddingSet, EmbeddingSet | None]:
    """The queries of ``dataset`` and what they are searched in: a gallery, or None for their own set."""
    if dataset.roles is None:
        return embedded, None
    roles = dataset.roles[embedded.ids]  # (N,)
    return embedded.where(roles & Role.QUERY != 0), embedded.where(roles & Role.GALLERY != 0)
