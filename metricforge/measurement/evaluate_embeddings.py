"""Scores of embeddings without a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch

from metricforge.argument_types import is_whole_number
from metricforge.arrays import Array, Indices
from metricforge.clusterings import AffinityPropagation, KMeans
from metricforge.embedding_files.tagged_embeddings import TaggedEmbeddings
from metricforge.errors import EmbeddingsError
from metricforge.evaluation import (
    EvaluationContext,
    QueryScores,
    collect_query_scores,
    describe_protocol,
    run_evaluation,
)
from metricforge.evaluation.context import Progress, no_progress
from metricforge.evaluation.evaluator import ClusterEvaluator
from metricforge.evaluators import ScoresInSpace
from metricforge.html_tables import html_table
from metricforge.interfaces import Clustering, Evaluator, Similarity
from metricforge.large_arrays import array_beside, row_blocks
from metricforge.measurement.score_names import build_evaluators
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
from metricforge.spaces import FittingSet
from metricforge.structures import EmbeddingSet

if TYPE_CHECKING:
    from metricforge.embedding_files.array_of import Values

Named = TypeVar("Named")

SIMILARITIES: dict[str, Callable[[], Similarity]] = {
    "cosine": CosineSimilarity,
    "euclidean": EuclideanSimilarity,
    "hamming": HammingSimilarity,
}
CLUSTERINGS: dict[str, Callable[[], Clustering]] = {"k-means": KMeans, "affinity": AffinityPropagation}
VALUES_AT_ONCE = 2**16
DEFAULT_SCORES = ("recall@1", "map@r", "r_precision", "nmi")


@dataclass(frozen=True)
class Measurement:
    """``scores`` in the order asked for, the ``protocol`` they were measured by, and the ``context`` of both.

    ``queries`` is what each query scored, under the ids it came with; None where no score is a mean over queries.
    ``space_bytes`` is what a vector takes in each of the smaller spaces, by their names.
    """

    scores: dict[str, float]
    protocol: dict[str, object]
    context: EvaluationContext
    queries: QueryScores | None
    space_bytes: Mapping[str, int]

    def _repr_html_(self) -> str:
        rows = [[name, f"{100 * value:.1f}"] for name, value in self.scores.items()]
        return html_table(["score", "per cent"], rows)


def evaluate_embeddings(
    queries: TaggedEmbeddings | Values,
    labels: Values | None = None,
    gallery: TaggedEmbeddings | None = None,
    scores: Sequence[str] = DEFAULT_SCORES,
    similarity: Literal["cosine", "euclidean", "hamming"] | Similarity = "cosine",
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = no_progress,
    clustering: Literal["k-means", "affinity"] | Clustering = "k-means",
    tree: str | Path | None = None,
    spaces: Sequence[str] = (),
    nearest: bool = False,
    fit_spaces: TaggedEmbeddings | None = None,
    exclude: str | None = None,
) -> Measurement:
    """Score ``queries`` searched in ``gallery``, or in their own set, where no query finds itself.

    Where both sets have ids, the same id is the same image; otherwise no query is taken to be in the gallery. Queries
    whose class has no other image there are left out of the retrieval scores, and counted in the protocol.

    Args:
        queries: the embeddings to search with: ``TaggedEmbeddings``, or (N, D) numbers as array, tensor or list.
        labels: the class of each embedding (N,), integers or text, where ``queries`` do not have them.
        gallery: the embeddings to search; None: the queries' own set.
        scores: names, such as ``["recall@1", "map@r", "nmi"]``.
        similarity: a name, or any similarity.
        seed: of the clustering.
        device: where neighbours are searched.
        progress: called with the name of a task and its number of steps, opens a bar and gives the function that
            advances it.
        clustering: a name ("affinity" is affinity propagation among all images), or any clustering, for the scores of
            clusters.
        tree: for ``zero_shot@K``: a CSV file with the columns ``child`` and ``parent``, or "wordnet".
        spaces: smaller spaces to score in as well, such as ``["pca:64", "first:64+int8"]``; scores are then named
            ``pca:64/recall@1`` too. ``ScoresInSpace`` says what there is.
        nearest: whether ``Measurement.queries`` also holds the class of each query's nearest image.
        fit_spaces: what ``spaces`` are fitted on, such as the training set; None: the gallery, or the one set.
        exclude: "same label and same camera": such images are neither match nor non-match of a query; both sets need
            cameras then.

    Raises:
        EmbeddingsError: for an unknown score, similarity, clustering or space, a text in place of a list, a seed below
            0, a clustering that no score reads, a tree that cannot be read, sets of different kinds or dimensions, a K
            beyond the gallery, or no query with a match.

    Examples:
        >>> embeddings = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.2]])
        >>> evaluate_embeddings(embeddings, [0, 0, 1, 1], scores=["recall@1"]).scores
        {'recall@1': 1.0}
        >>> queries = TaggedEmbeddings([[0.0, 1.0]], ["cat"])
        >>> gallery = TaggedEmbeddings(embeddings, ["cat", "cat", "dog", "dog"])
        >>> evaluate_embeddings(queries, gallery=gallery, scores=["recall@1"]).scores
        {'recall@1': 1.0}
    """
    queries = _tagged(queries, labels)
    if gallery is not None and not isinstance(gallery, TaggedEmbeddings):
        raise EmbeddingsError(
            f"gallery must be TaggedEmbeddings, got {type(gallery).__name__}; write "
            "gallery=TaggedEmbeddings(embeddings, labels)"
        )
    if not is_whole_number(seed) or seed < 0:
        raise EmbeddingsError(f"seed must be an integer of at least 0, got {seed!r}")
    evaluators = _evaluators(scores, tree, spaces, fit_spaces)
    chosen_clustering = _named(clustering, CLUSTERINGS, Clustering, "clustering")
    if clustering != "k-means" and not any(isinstance(evaluator, ClusterEvaluator) for evaluator in evaluators):
        raise EmbeddingsError(
            f"clustering is what nmi, nmi_geometric, ami and f1 read: got {type(chosen_clustering).__name__} "
            f"and scores {', '.join(scores)}; add one of these, or leave it out"
        )
    chosen_similarity = _named(similarity, SIMILARITIES, Similarity, "similarity")
    sets = [queries] if gallery is None else [queries, gallery]
    class_indices, class_names = _numbered([one.labels for one in sets], "labels")
    share_ids = gallery is not None and queries.ids is not None and gallery.ids is not None
    ids = _numbered([one.ids for one in sets if one.ids is not None], "ids")[0] if share_ids else [None] * len(sets)
    given = [one.cameras for one in sets if one.cameras is not None] if exclude is not None else []
    cameras = _numbered(given, "cameras")[0] if len(given) == len(sets) else [None] * len(sets)
    try:
        embedded = [
            EmbeddingSet(_floats(one.embeddings), its_labels, its_ids, class_names, its_cameras)
            for one, its_labels, its_ids, its_cameras in zip(sets, class_indices, ids, cameras, strict=True)
        ]
        context = EvaluationContext(
            embedded[0],
            chosen_similarity,
            None if gallery is None else embedded[1],
            seed,
            device,
            shared_ids=share_ids,
            progress=progress,
            clustering=chosen_clustering,
            exclude=exclude,
        )
        context.warn_of_collapse()
        evaluation = run_evaluation(context, evaluators, nearest=nearest)
    except ValueError as fault:
        raise EmbeddingsError(str(fault)) from fault
    protocol = describe_protocol(evaluation)
    protocol["dataset"] = {
        "name": " searched in ".join(one.source for one in sets),
        "fingerprint": _fingerprint(sets),
    }
    by_query = collect_query_scores(evaluation, queries.ids, nearest=nearest)
    names = [*scores, *(f"{space}/{name}" for space in spaces for name in scores)]
    space_bytes = {
        each.name: each.ranking(context).bytes_per_vector for each in evaluators if isinstance(each, ScoresInSpace)
    }
    return Measurement({name: evaluation.scores[name] for name in names}, protocol, context, by_query, space_bytes)


def _tagged(queries: TaggedEmbeddings | Values, labels: Values | None) -> TaggedEmbeddings:
    if isinstance(labels, TaggedEmbeddings):
        raise EmbeddingsError("labels must be one for each embedding, got TaggedEmbeddings; name them gallery=...")
    if isinstance(queries, TaggedEmbeddings):
        if labels is not None:
            raise EmbeddingsError("labels must be left out where TaggedEmbeddings have them already")
        return queries
    if labels is None:
        raise EmbeddingsError("labels are missing: one for each embedding, integers or text")
    return TaggedEmbeddings(queries, labels)


def _evaluators(
    scores: Sequence[str], tree: str | Path | None, spaces: Sequence[str], fit_spaces: TaggedEmbeddings | None
) -> list[Evaluator]:
    for argument, names, example in (("scores", scores, "recall@1"), ("spaces", spaces, "pca:64")):
        # a text is a sequence, too: of its letters
        is_list = isinstance(names, Sequence) and not isinstance(names, str)
        if not is_list or not all(isinstance(name, str) for name in names):
            raise EmbeddingsError(f'{argument} must be a list of names, such as ["{example}"], got {names!r}')
    if len(set(spaces)) != len(spaces):
        raise EmbeddingsError(f"spaces must be distinct, got {', '.join(spaces)}")
    if fit_spaces is not None and not spaces:
        raise EmbeddingsError(
            f"fit_spaces is what smaller spaces are fitted on, got {fit_spaces.source} and no space; name some, such "
            "as pca:64, or leave it out"
        )
    fit_on = None
    if fit_spaces is not None:
        fit_on = FittingSet(fit_spaces.embeddings, fit_spaces.source, _fingerprint([fit_spaces]))
    try:
        evaluators = build_evaluators(scores, tree)
        return evaluators + [ScoresInSpace(space, build_evaluators(scores, tree), fit_on) for space in spaces]
    except ValueError as fault:
        raise EmbeddingsError(str(fault)) from fault


def _named(value: str | Named, known: Mapping[str, Callable[[], Named]], kind: type[Any], argument: str) -> Named:
    if isinstance(value, kind):
        return value
    if not isinstance(value, str) or value not in known:
        got = f'"{value}"' if isinstance(value, str) else repr(value)
        raise EmbeddingsError(f"{argument} must be one of {', '.join(known)}, or a {kind.__name__}, got {got}")
    return known[value]()


def _floats(embeddings: Array) -> Array:
    """Return integers as float32, floats as they are."""
    if np.issubdtype(embeddings.dtype, np.floating):
        return embeddings
    floats = array_beside(embeddings, embeddings.shape, np.float32)
    for rows, block in row_blocks(embeddings, VALUES_AT_ONCE):
        floats[rows] = block
    return floats


def _numbered(columns: Sequence[Array], name: str) -> tuple[list[Indices], tuple[str, ...] | None]:
    """Return integers as they are; text as its index among all distinct texts, and these texts."""
    texts = [column.dtype.kind == "U" for column in columns]
    if not any(texts):
        return [column.astype(np.int64) for column in columns], None
    if not all(texts):
        raise EmbeddingsError(f"{name} of queries and gallery must both be text or both be numbers, got one of each")
    values, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    ends = np.cumsum([len(column) for column in columns])[:-1]
    return np.split(numbers.astype(np.int64), ends), tuple(str(value) for value in values)


def _fingerprint(sets: Sequence[TaggedEmbeddings]) -> str:
    """Hash labels and ids in their order: the same for two models' embeddings of the same images."""
    digest = hashlib.sha256()
    for one in sets:
        for column in (one.labels, np.arange(len(one)) if one.ids is None else one.ids):
            for rows, block in row_blocks(column, VALUES_AT_ONCE):
                digest.update((("\0" if rows.start else "") + "\0".join(map(str, block.tolist()))).encode())
            digest.update(b"\1")
    return digest.hexdigest()[:16]
