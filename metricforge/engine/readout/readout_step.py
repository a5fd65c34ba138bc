"""Measures what a run could become, chooses on its validation classes, and makes that the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from metricforge.arrays import Floats32
from metricforge.atomic_write import write_atomically
from metricforge.engine.hooks.checkpoint_hook import SAVE_BEST
from metricforge.engine.hooks.console_hook import headline
from metricforge.engine.loops.calibrate_context import calibrate_context
from metricforge.engine.loops.pooled_features import pooled_features
from metricforge.engine.readout.beginning import VECTORS, Beginning
from metricforge.engine.readout.candidate import SAYS, BackboneWeights, Candidate, best_of
from metricforge.engine.readout.chosen_checkpoint import CHOSEN, chosen_checkpoint
from metricforge.engine.readout.read_layer import read_layer
from metricforge.engine.readout.readout_options import ReadoutOptions
from metricforge.engine.readout.readout_table import readout_table
from metricforge.engine.readout.trained_weights import TrainedWeights
from metricforge.engine.readout.whitening import BYTE
from metricforge.engine.records.checkpoints import save_checkpoint
from metricforge.engine.records.weight_choice import SECOND
from metricforge.errors import EmbeddingsError
from metricforge.evaluation import EvaluationContext, evaluate
from metricforge.heads import EmbeddingHead
from metricforge.interfaces import Evaluator, Similarity
from metricforge.registry import HEADS
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.similarities import CosineSimilarity, HammingSimilarity
from metricforge.structures import EmbeddingSet

READOUT = "readout.json"
ROWS_AT_ONCE = 8192


@dataclass
class ReadoutStep:
    """Compares, once training has ended, all pairs of weights and layers that ``options`` name.

    Every backbone embeds the validation images and some training images once; heads are applied to these cached
    features. With several processes each embeds its share, and process 0 fits, scores and chooses. The test classes are
    scored by the frozen feature and by its linear adaptation, as baselines, once the choice has been made.

    Args:
        options: what is compared.
        beginning: what the backbone is before training.
        pretrained: its weights then, on the host.
        fitting: the training images that layers are fitted on, prepared as test images; None: none.
        reason: why nothing is chosen; empty if validation classes choose.
        unfitted: why nothing can be fitted; empty if there are images for it.
    """

    options: ReadoutOptions
    beginning: Beginning
    pretrained: Mapping[str, Tensor]
    fitting: DataLoader[dict[str, Any]] | None
    reason: str = ""
    unfitted: str = ""
    _candidates: list[Candidate] = field(default_factory=list)
    _best: tuple[Candidate, EvaluationContext] | None = None
    _evaluators: Sequence[Evaluator] = ()
    _is_embedded: bool = False
    _embedded: EmbeddingSet | None = None

    def describe(self, runner: Any) -> str:
        """Say in one line, before training, what will be done."""
        without = f"; without whitened and adapted, because {self.unfitted}" if self.unfitted else ""
        first = "the vectors are" if self.beginning is VECTORS else f"the {self.beginning.feature} feature is"
        if self.reason:
            return f"{first} measured, and nothing is chosen: {self.reason}{without}"
        if self.beginning.nothing_between and self.options.interpolations:
            without += f"; without interpolations, because {self.beginning.nothing_between}"
        if self.beginning is VECTORS:
            return f"the vectors, or the layer that is read: chosen at the end by the same classes{without}"
        included = f"weights, {self.beginning.feature} ones included, and the layer that is read"
        return f"{included}: chosen at the end by the same classes{without}"

    def take_untrained(self, embedded: EmbeddingSet | None) -> None:
        """Keep the features (N, F) of the validation images before training, which then need no second pass.

        Args:
            embedded: these on process 0, None on the others; each calls it.
        """
        if not self.reason:
            self._is_embedded, self._embedded = True, embedded

    def run(self, runner: Any) -> None:
        """Choose, put the chosen weights and head into the runner's model, and write them as ``chosen.pth``.

        Without a checkpoint, because the disk took none, the model stays as it was trained.
        """
        saved = runner.processes.from_main(partial(checkpoint_files, runner.run_dir))
        if runner.choice.iteration is None and not saved:
            runner.say("readout  nothing is measured or chosen: the disk took no checkpoint")
            return
        self._candidates, self._best, self._evaluators = [], None, ()
        trained = TrainedWeights(runner, self.pretrained, self.options, self.beginning)
        for weights in trained.candidates() if not self.reason else iter([trained.frozen]):
            self._compare(runner, weights, trained)
        adapted = next((each for each in self._candidates if each.layer == "adapted"), None)
        chosen = runner.processes.from_main(lambda: self._choose(runner))
        self._score_baselines(runner, trained, adapted)
        if chosen is None:
            runner.model.backbone.load_state_dict(trained.base.backbone)
            runner.say(f"readout  {self.describe(runner)}")
        else:
            self._install(runner, trained, chosen)
        self._is_embedded, self._embedded = False, None

    def _score(self, runner: Any) -> str:
        return self.options.score or runner.choice.score or SAVE_BEST

    # ------------------------------------------------------------------ on the validation classes

    def _compare(self, runner: Any, weights: BackboneWeights, trained: TrainedWeights) -> None:
        """Measure every layer at ``weights``."""
        runner.model.backbone.load_state_dict(weights.backbone)
        layers = self._layers(runner, weights, trained)
        known = seen = None
        if {"whitened", "adapted"} & set(layers) and self.fitting is not None:
            known = pooled_features(runner, self.fitting, f"{weights.name}: training images")
        if not self.reason and weights is trained.frozen and self._is_embedded:
            seen = self._embedded
        elif not self.reason:
            seen = pooled_features(runner, runner.val_loop.dataloader, f"{weights.name}: validation images")
        runner.processes.from_main(lambda: self._measure(runner, weights, layers, known, seen))

    def _layers(self, runner: Any, weights: BackboneWeights, trained: TrainedWeights) -> list[str]:
        """The layers that are read at ``weights``, the simpler ones first."""
        wanted = self.options.layers
        if weights is trained.frozen:
            return ["pooled", *(layer for layer in ("whitened", "adapted") if layer in wanted)]
        if _is_learned(runner.model.similarity):  # it is of the head's embeddings alone
            return [layer for layer in wanted if layer == "head"]
        # a backbone that training left as it was has the frozen feature
        layers = ("head", "both") if trained.backbone_is_frozen else ("head", "pooled", "whitened", "both")
        return [layer for layer in layers if layer in wanted]

    def _measure(
        self,
        runner: Any,
        weights: BackboneWeights,
        layers: Sequence[str],
        known: EmbeddingSet | None,
        seen: EmbeddingSet | None,
    ) -> None:
        similarity = runner.model.similarity
        for layer in layers:
            found = read_layer(layer, runner.cfg.model, runner.model, weights, known, runner.seed)
            if found is None:
                continue
            config, head = found
            if head.dim % BYTE and _reads_signs(runner):
                runner.say(f"readout  {weights.name}, {SAYS[layer]}: left out, as signs of {head.dim} fill no bytes")
                continue
            state = {name: value.clone() for name, value in head.state_dict().items()}
            candidate = Candidate(weights.name, layer, config, state, head.dim)  # type: ignore[arg-type]
            self._candidates.append(candidate)
            if seen is None or (_is_learned(similarity) and layer != "head"):
                continue
            context = _context(runner.val_loop, head, seen, similarity)
            candidate.scores = evaluate(context, self._needed(context, runner))
            if self._best is None or best_of([self._best[0], candidate], self._score(runner)) is candidate:
                self._best = candidate, context

    def _needed(self, context: EvaluationContext, runner: Any) -> Sequence[Evaluator]:
        """The evaluators whose scores choose: others, such as those of clusters, may take long."""
        if not self._evaluators:
            wanted = {self._score(runner), SECOND}
            self._evaluators = [each for each in runner.val_loop.evaluators if wanted & set(evaluate(context, [each]))]
        return self._evaluators

    def _choose(self, runner: Any) -> Candidate | None:
        """What was chosen, for all processes; shows and writes all candidates."""
        if self._best is None:
            return None
        best = self._best[0]
        scored = [each for each in self._candidates if each.scores]
        for each in scored:
            shown = "  ".join(f"{name} {value:.6f}" for name, value in each.scores.items())
            runner.logger.info(f"readout {each.name}, {each.dim} dimensions  {shown}")
        content = {
            "score": self._score(runner),
            "classes": runner.choice.classes,
            "images": runner.choice.images,
            "candidates": [each.to_json() for each in scored],
            "chosen": next(number for number, each in enumerate(scored) if each is best),
        }
        write_atomically(runner.run_dir / READOUT, json.dumps(content, indent=1) + "\n")
        runner.console.print(readout_table(scored, best))
        return best

    # ------------------------------------------------------------------ the model that it becomes

    def _install(self, runner: Any, trained: TrainedWeights, chosen: Candidate) -> None:
        """Put ``chosen`` into the runner's model, and write it."""
        model = runner.model
        model.backbone.load_state_dict(trained.named(chosen.weights).backbone)
        if chosen.layer != "head":
            model.head = HEADS.build(chosen.head, feature_dim=model.backbone.feature_dim).to(runner.device).eval()
            model.loss = model.miner = None  # they are of the trained head's embeddings
        model.head.load_state_dict(chosen.head_state)
        path = runner.run_dir / CHOSEN

        def write() -> dict[str, Any]:
            assert self._best is not None
            calibration = _calibration(self._best[1])
            checkpoint = chosen_checkpoint(
                trained, chosen, choice=self._described(runner, chosen), calibration=calibration
            )
            checkpoint["meta"]["baselines"] = runner.baseline_scores
            save_checkpoint(checkpoint, path)
            return checkpoint["meta"]  # type: ignore[no-any-return]

        runner.scored.take_readout(runner.processes.from_main(write), path)
        runner.say(f"readout  {self._conclude(runner, chosen)}")

    def _described(self, runner: Any, chosen: Candidate) -> dict[str, object]:
        """How ``chosen`` was chosen, for a protocol."""
        return {
            "weights": chosen.weights,
            "layer": SAYS[chosen.layer],
            "by": runner.choice.by,
            "score": self._score(runner),
            "value": chosen.scores[self._score(runner)],
            "among": sum(1 for each in self._candidates if each.scores),
            "classes": runner.choice.classes,
            "images": runner.choice.images,
        }

    def _conclude(self, runner: Any, chosen: Candidate) -> str:
        score = self._score(runner)
        feature = self.beginning.feature
        first = next((each.scores for each in self._candidates if each.name == feature and each.scores), None)
        beside = f", {feature} {first[score]:.4f}" if first else ""
        return f"{chosen.name}, {chosen.dim:,} dimensions ({score} {chosen.scores[score]:.4f}{beside})"

    def _score_baselines(self, runner: Any, trained: TrainedWeights, adapted: Candidate | None) -> None:
        """Score the test classes by the feature before training and its adaptation, unless a baseline has its name."""
        dim = runner.model.backbone.feature_dim
        wanted: dict[str, Any] = {}
        if self.beginning.feature not in runner.baseline_scores:
            wanted[self.beginning.feature] = EmbeddingHead(dim)
        fitted = runner.processes.from_main(lambda: adapted is not None)
        if fitted and self.beginning.adapted not in runner.baseline_scores:
            wanted[self.beginning.adapted] = adapted
        if not wanted:
            return
        runner.model.backbone.load_state_dict(trained.frozen.backbone)
        seen = pooled_features(runner, runner.test_loop.dataloader, f"{self.beginning.feature}: test images")

        def measure() -> dict[str, dict[str, float]]:
            loop = runner.test_loop
            similarity = CosineSimilarity() if _is_learned(runner.model.similarity) else runner.model.similarity
            assert seen is not None
            contexts = {name: _context(loop, _module(head, dim), seen, similarity) for name, head in wanted.items()}
            every = (*loop.evaluators, *loop.final_evaluators)
            scores = {}
            for name, context in contexts.items():
                try:
                    scores[name] = evaluate(context, every)
                except ValueError as fault:  # no reason to lose the run
                    runner.say(f"baseline {name} cannot be scored: {fault}")
            return scores

        for name, scores in runner.processes.from_main(measure).items():
            runner.baseline_scores[name] = scores
            runner.say(f"baseline {name}  {headline(scores)}")


def _module(head: Any, feature_dim: int) -> nn.Module:
    """``head``, or the one of a candidate."""
    if not isinstance(head, Candidate):
        return head  # type: ignore[no-any-return]
    module: nn.Module = HEADS.build(head.head, feature_dim=feature_dim).eval()
    module.load_state_dict(head.head_state)
    return module


@torch.inference_mode()
def _context(loop: Any, head: nn.Module, seen: EmbeddingSet, similarity: Similarity) -> EvaluationContext:
    """What ``head`` makes of the features of the images of ``loop``, ready to be searched."""
    blocks = torch.from_numpy(seen.embeddings).split(ROWS_AT_ONCE)  # type: ignore[no-untyped-call]
    rows: Floats32 = torch.cat([head(block).float() for block in blocks]).numpy()  # (N, D)
    embedded = EmbeddingSet(rows, seen.labels, seen.ids, seen.class_names, seen.cameras)
    context: EvaluationContext = loop.context_of(embedded, similarity)
    return context


def _calibration(context: EvaluationContext) -> dict[str, Any] | None:
    try:
        return calibrate_context(context).to_json()
    except EmbeddingsError:
        return None


def _is_learned(similarity: Similarity) -> bool:
    return any(True for _ in similarity.parameters())


def _reads_signs(runner: Any) -> bool:
    """Whether anything that scores the run compares the signs of embeddings, packed into bytes."""
    loops = [loop for loop in (runner.val_loop, runner.test_loop) if loop is not None]
    evaluators = [each for loop in loops for each in (*loop.evaluators, *loop.final_evaluators)]
    similarities = [runner.model.similarity]
    while evaluators:
        one: Any = evaluators.pop()
        evaluators += getattr(one, "evaluators", ())
        similarities.append(getattr(one, "similarity", None))
    return any(isinstance(each, HammingSimilarity) for each in similarities)
