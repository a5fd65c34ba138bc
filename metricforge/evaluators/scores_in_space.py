"""The same scores in a smaller space, beside those of the full embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metricforge.evaluation.context import EvaluationContext, full_context
from metricforge.evaluation.evaluate import check_evaluators
from metricforge.evaluators.nested import NestedEvaluator
from metricforge.interfaces import EvaluationContext as ReadableContext
from metricforge.interfaces import Evaluator
from metricforge.registry import EVALUATORS
from metricforge.spaces import FittingSet, Space


@EVALUATORS.register_module()
class ScoresInSpace(NestedEvaluator):
    """Run ``evaluators`` on the same images in a smaller space; ``recall@1`` becomes ``<space>/recall@1``.

    This shows what a shorter vector costs; the protocol records the bytes that it takes::

        dict(type="ScoresInSpace", space="pca:64+int8", evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])])

    The similarity is the model's own, applied to what is left of the embeddings; one with weights was trained on
    all dimensions and is refused. Ranks and clusters are found once for all of ``evaluators``.

    Args:
        space: "first:N" (the first N dimensions), "pca:N" (fitted without labels), "int8" (a byte a dimension), or
            steps joined by "+"; see ``Space``.
        evaluators: what to score, at least one.
        fit_on: embeddings of other images to fit PCA and the int8 steps on; None, as in every config: the gallery,
            or the one set there is.

    Raises:
        ValueError: for another ``space`` or ``fit_on``, or ``evaluators`` that are not a list of evaluators; when
            evaluated, for more dimensions than there are, a fitting set of other dimensions, or a similarity with
            weights.
    """

    def __init__(self, space: str, evaluators: Sequence[Evaluator], fit_on: FittingSet | None = None) -> None:
        check_evaluators(evaluators)
        if fit_on is not None and not isinstance(fit_on, FittingSet):
            raise ValueError(
                f"fit_on must be a FittingSet of embeddings, got {fit_on!r}; a config cannot hold one: leave it out, "
                "or score embeddings with `metricforge evaluate --fit-space FILE`"
            )
        self.space = Space(space, fit_on)
        super().__init__(self.space.name, evaluators)

    def ranking(self, context: EvaluationContext) -> EvaluationContext:
        return context.related((self.space.name, self.space.fit_on), lambda: self._transformed(context))

    def _transformed(self, context: EvaluationContext) -> EvaluationContext:
        space, similarity = self.space, context.similarity
        weights = sum(parameter.numel() for parameter in similarity.parameters())
        if weights:
            raise ValueError(
                f'space "{space.name}" needs a similarity without weights, got {type(similarity).__name__} '
                f"with {weights} that were trained on other dimensions"
            )
        given = context.queries.embeddings
        gallery = None if context.searches_itself else context.gallery.embeddings
        queries, gallery = space.transformed(given, gallery, context.seed)
        smaller = context.replaced(
            queries=replace(context.queries, embeddings=queries),
            gallery=None if gallery is None else replace(context.gallery, embeddings=gallery),
        )
        if similarity.search != "hamming":
            smaller.bytes_per_vector = space.bytes_per_vector(given.shape[1], given.dtype.itemsize)
        return smaller

    def counts(self, context: ReadableContext) -> dict[str, int]:
        return {"bytes_per_vector": self.ranking(full_context(context)).bytes_per_vector, **super().counts(context)}

    def protocol(self) -> dict[str, object]:
        other = self.space.fit_on
        fitted_on: dict[str, object] = {"fitted_on": "the gallery"}
        if other is not None:
            images = f"{len(other.embeddings):,} other images, fingerprint {other.fingerprint}"
            fitted_on = {"fitted_on": images, "fitted_on_source": other.source}
        return {"space": self.space.name, **fitted_on, **super().protocol()}
