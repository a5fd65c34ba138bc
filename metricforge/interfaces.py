"""The whole plug-in contract on one page: six kinds of component, each an abstract class.

A plug-in derives from one of them, decorates it with the registry of its kind (``@LOSSES.register_module()``) and is
then selected by ``type=`` in a config. ``metricforge.testing`` has a ``check_...`` for each, the contract as a test.

Constructor arguments named ``num_classes``, ``dim`` (embedding size) or ``feature_dim`` (backbone's feature size) are
filled in by the framework where a config leaves them out, and compared with the truth where it does not. An argument
named after a kind (``loss``, ``similarity``, ...) may be the config of another component, which is built first; a class
attribute ``nested`` such as ``{"distance": SIMILARITIES}`` says so of arguments with other names, and of lists of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from metricforge.arrays import Array, Flags, Floats32, Indices
from metricforge.empty_batches import EmptyBatches
from metricforge.functional.pair_masks import has_positive_and_negative
from metricforge.structures import EmbeddingSet, LossOutput, RowShard, Tuples


class Backbone(nn.Module, ABC):
    """Images (B, 3, H, W), normalised with ``mean`` and ``std`` (of values in 0..1), to pooled features (B, F).

    A backbone of other inputs, such as vectors, says ``takes_images = False`` and overrides ``prepare``.

    ``evaluation_transform``, if any, are the transform configs by which its weights are evaluated, such as
    ``dict(type="CenterCrop", size=224)``; a test set of image files that has no ``transform`` takes them.
    ``input_size``, if any, is the (height, width) in pixels that it is made for, and ``size_argument`` the constructor
    argument that makes it for another: what the error for images of a wrong size names.

    One that ``gives_tokens`` returns them, (B, T, F), in place of pooled features, for a head that ``takes_tokens``.

    Examples:
        >>> from torch import nn
        >>> class MeanColour(Backbone):
        ...     feature_dim = 3
        ...
        ...     def forward(self, images):
        ...         return images.mean(dim=(2, 3))  # (B, 3)
        >>> tuple(MeanColour()(torch.zeros(2, 3, 8, 8)).shape)
        (2, 3)
    """

    feature_dim: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    evaluation_transform: Sequence[Mapping[str, Any]] = ()
    input_size: tuple[int, int] | None = None
    size_argument: str | None = None
    takes_images: ClassVar[bool] = True
    gives_tokens: bool = False

    def parameters_by_depth(self, *, coarse: bool = False) -> Sequence[Sequence[str]]:
        """Names of its parameters by depth, from the images on, or ``coarse``, by stage; nothing: it does not say.

        What ``model.freeze_stages`` freezes, and by what ``layer_decay`` of ``paramwise_cfg`` lowers learning rates.
        """
        return ()

    def prepare(self, images: Tensor) -> Tensor:
        """Normalise ``images`` (B, 3, H, W) uint8 for ``forward``, on their device: float32, a new tensor."""
        # in place: on a CPU a second batch of floats, whose pages the system hands out anew, costs most of the time
        mean, std = self._mean_and_std(images.device)
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)

    def _mean_and_std(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return ``mean`` and ``std`` (1, 3, 1, 1) of values in 0..255; moving them anew for each batch takes time."""
        key = (device, self.mean, self.std)
        if self.__dict__.get("_scale_key") != key:
            with torch.inference_mode(False):
                mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1).to(device) for values in (self.mean, self.std))
            self._scale, self._scale_key = (mean, std), key
        return self._scale

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor: ...


class Head(nn.Module, ABC):
    """A backbone's features (B, F) to embeddings (B, D). ``dim`` is D, which similarity, loss and evaluators are told.

    One that ``takes_tokens`` gets them, (B, T, F), from a backbone that ``gives_tokens``.

    Examples:
        >>> class FirstFeatures(Head):
        ...     def __init__(self, feature_dim, dim):
        ...         super().__init__()
        ...         self.dim = dim
        ...
        ...     def forward(self, features):
        ...         return features[:, : self.dim]  # (B, D)
        >>> tuple(FirstFeatures(feature_dim=8, dim=2)(torch.zeros(4, 8)).shape)
        (4, 2)
    """

    dim: int
    takes_tokens: ClassVar[bool] = False

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor: ...


class Similarity(nn.Module, ABC):
    """How alike two embeddings are: larger = more alike. Fixed, or learned with weights of its own (a metric head).

    ``search`` names the index that finds the same neighbours after ``prepare``: ``"l2"`` (smallest Euclidean distance),
    ``"ip"`` (largest inner product), ``"hamming"`` (fewest signs that differ; it has no gradient), or None where only
    ``pairwise`` itself can tell. ``symmetric`` says that in evaluation ``pairwise(x, y)`` is ``pairwise(y, x).T`` up to
    rounding: searching a set in itself, it is then asked for each pair once.

    Examples:
        >>> class InnerProduct(Similarity):
        ...     search = "ip"
        ...     symmetric = True
        ...
        ...     def pairwise(self, x, y):
        ...         return x @ y.T  # (N, M)
        >>> InnerProduct()(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0], [0.0, 1.0]]))
        tensor([[5., 2.]])
    """

    search: ClassVar[Literal["l2", "ip", "hamming"] | None] = None
    symmetric: ClassVar[bool] = False

    @abstractmethod
    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """Similarities (N, M) between each row of ``x`` (N, D) and each row of ``y`` (M, D)."""

    def score_lists(self, x: Tensor, lists: Tensor) -> Tensor:
        """Similarities (N, L) between each row of ``x`` (N, D) and the rows of its own list in ``lists`` (N, L, D).

        Here ``pairwise`` is called for one list after another; override it where that can be had at once.
        """
        scores = [self.pairwise(row[None], own) for row, own in zip(x, lists, strict=True)]  # (1, L) each
        return torch.cat(scores) if scores else x.new_empty(lists.shape[:2])

    def prepare(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (N, D), each row by itself, into the space in which ``search`` ranks as ``pairwise`` does."""
        return embeddings

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pairwise(x, y)


class Miner(nn.Module, ABC):
    """Chooses from a batch the tuples that the loss sees. ``yields`` is the one type it returns.

    A plug-in may yield a subclass of ``Pairs``, ``Triplets`` or ``Quadruplets``; a loss that accepts these takes it.
    It may return no tuple at all, but never a positive as a negative, a sample as its own partner, nor a tuple twice.
    ``uses_similarity`` is False for one that chooses by the labels alone, or by a measure of its own, and
    ``may_repeat`` True for one that draws tuples with replacement.

    Examples:
        >>> from metricforge.functional import positive_pairs
        >>> from metricforge.structures import Pairs
        >>> class PositivePairMiner(Miner):
        ...     yields = Pairs
        ...     uses_similarity = False
        ...
        ...     def forward(self, embeddings, labels, similarity):
        ...         first, second = positive_pairs(labels)  # (P,)
        ...         return Pairs(first, second, torch.ones_like(first, dtype=torch.bool))
        >>> len(PositivePairMiner()(torch.randn(4, 8), torch.tensor([0, 0, 0, 1]), None))
        3
    """

    yields: ClassVar[type]
    uses_similarity: bool = True
    may_repeat: bool = False

    @abstractmethod
    def forward(self, embeddings: Tensor, labels: Tensor, similarity: Similarity) -> Tuples:
        """Tuples of rows of ``embeddings`` (B, D), whose classes are ``labels`` (B,) int64."""


class Loss(nn.Module, ABC):
    """Embeddings (B, D), labels (B,) int64 and mined tuples to a scalar that training makes small.

    ``accepts`` lists the tuple types it takes; empty, it works on the batch as it is. With ``tuples=None`` a loss uses
    every tuple of the batch, unless ``needs_miner``. It may own proxies, one weight vector a class.

    A batch gives zero, with zero gradients, only where the formula has no term: a triplet loss without a positive or a
    negative, but not a contrastive loss of one class, which pulls, and not what regularises embeddings, which counts in
    every batch. It is never NaN. Batches without a term are counted here,
    and an ``EmptyBatchWarning`` says how many there were at the first, the tenth, the hundredth of them, ...

    Over several processes each calls it with the embeddings and labels of the whole batch, and the total and all
    gradients must be those of one process. ``row_shards`` names the parameters, if any, of which each process holds
    other rows, in the order of the processes. ``value_of_equals`` is what the loss is where all embeddings are the
    same, if that is one number: a training that stays there has collapsed.

    ``mean_over_images`` says that the total is a mean over the B images of a batch, rather than one over its tuples.
    In training ``batch_ids`` (B,) int64 tell which images of the training set the batch has, for one that remembers.

    Examples:
        >>> from metricforge.functional import pairwise_cosine, positive_mask
        >>> class PullLoss(Loss):
        ...     def forward(self, embeddings, labels, tuples=None, similarity=None):
        ...         positive = positive_mask(labels)  # (B, B)
        ...         distance = 1 - pairwise_cosine(embeddings, embeddings)  # (B, B)
        ...         return LossOutput((distance * positive).sum() / positive.sum().clamp_min(1))
        >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> PullLoss()(embeddings, torch.tensor([0, 1, 1])).total
        tensor(1.)
    """

    row_shards: Mapping[str, RowShard] = MappingProxyType({})
    value_of_equals: float | None = None
    accepts: ClassVar[tuple[type, ...]] = ()
    needs_miner: ClassVar[bool] = False
    mean_over_images: ClassVar[bool] = False
    batch_ids: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()
        self._empty_batches = EmptyBatches(type(self).__name__)

    @abstractmethod
    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput: ...

    def can_compare(self, labels: Tensor, tuples: Tuples | None = None) -> Tensor | bool:
        """Whether the formula has a term: here, a positive and a negative pair, and tuples if mined.

        A loss that takes no tuples and owns parameters or buffers compares samples with its proxies, so every batch
        will do. A loss of other needs overrides this; a tensor () bool spares a GPU the wait for the answer.
        """
        if tuples is not None and len(tuples) == 0:
            return False
        if not self.accepts and (any(True for _ in self.parameters()) or any(True for _ in self.buffers())):
            return True
        return has_positive_and_negative(labels)

    def __call__(
        self,
        embeddings: Tensor,
        labels: Tensor,
        tuples: Tuples | None = None,
        similarity: Similarity | None = None,
    ) -> LossOutput:
        output = super().__call__(embeddings, labels, tuples, similarity)
        if not isinstance(output, LossOutput):
            raise TypeError(
                f"{type(self).__name__}.forward must return a LossOutput, got {type(output).__name__}; "
                "return LossOutput(total)"
            )
        if labels.device.type == "cpu":  # the total is at hand, and only one of 0 raises the question
            self._empty_batches.add(bool(output.total) or self.can_compare(labels, tuples))
        else:
            self._empty_batches.add(self.can_compare(labels, tuples), look_every=100)
        return output


class Transform(Protocol):
    """An image to another: a step of a data set's ``transform``, registered in ``TRANSFORMS`` as a class.

    Any class whose objects can be called so is one. What is random in it draws from torch's global generator, which is
    seeded for each sample.

    Examples:
        >>> class Negative:
        ...     def __call__(self, image):
        ...         return 255 - image
        >>> step: Transform = Negative()
        >>> int(step(torch.zeros(3, 2, 2, dtype=torch.uint8)).max())
        255
    """

    def __call__(self, image: Tensor) -> Tensor:
        """Another image (3, H', W') for ``image`` (3, H, W), uint8 both, which stays as it is."""


class EvaluationContext(Protocol):
    """What an evaluator reads: queries, the gallery, and what is computed from them once for all evaluators.

    Nothing in it may be changed. Q is the number of queries and G that of gallery images.

    Examples:
        >>> class Purity(Evaluator):
        ...     def neighbours_needed(self, context: EvaluationContext) -> int:
        ...         return 5
        ...
        ...     def evaluate(self, context: EvaluationContext) -> dict[str, float]:
        ...         found = context.hits(5)[context.matches > 0]  # (q, 5), of queries with a match
        ...         return {"purity": float(found.mean())}
        >>> from metricforge.testing import check_evaluator
        >>> check_evaluator(Purity())
    """

    @property
    def queries(self) -> EmbeddingSet:
        """The images to search with."""

    @property
    def gallery(self) -> EmbeddingSet:
        """The images to search; ``queries`` themselves if ``searches_itself``."""

    @property
    def searches_itself(self) -> bool:
        """Whether queries and gallery are the same set, in which no query finds itself."""

    @property
    def similarity(self) -> Similarity:
        """What ranks the gallery, in evaluation mode, on ``device``."""

    @property
    def device(self) -> torch.device:
        """Where scores are computed; embeddings stay on the host."""

    @property
    def seed(self) -> int:
        """The seed of the evaluation."""

    @property
    def self_index(self) -> Indices:
        """The gallery index of each query itself (Q,), -1 for queries that are not in the gallery."""

    @property
    def matches(self) -> Indices:
        """How many matches each query has in the gallery (Q,): other images of its class that it may find.

        Retrieval scores are means over the queries for which this is above 0.
        """

    @property
    def gallery_size(self) -> int:
        """How many images every query can find: the largest ``k`` for ``neighbours``."""

    def neighbours(self, k: int) -> Indices:
        """Return the gallery indices (Q, k) of each query's ``k`` nearest images, best first, ties by gallery index.

        Raises:
            ValueError: for a ``k`` below 1 or above ``gallery_size``.
        """

    def hits(self, k: int) -> Flags:
        """Return whether each of the ``k`` nearest images is a match (Q, k)."""

    def clusters(self) -> Indices:
        """Return the cluster of each query (Q,), of as many clusters as the queries have classes."""


class Evaluator(ABC):
    """Embedding sets to named scores, such as ``{"recall@1": 0.61}``, from what an ``EvaluationContext`` holds.

    Examples:
        >>> class GallerySize(Evaluator):
        ...     def evaluate(self, context):
        ...         return {"gallery_size": float(context.gallery_size)}
        >>> GallerySize().protocol()
        {}
    """

    @abstractmethod
    def evaluate(self, context: EvaluationContext) -> dict[str, float]: ...

    def neighbours_needed(self, context: EvaluationContext) -> int:
        """How many neighbours a query this evaluator reads, so that one search serves all evaluators."""
        return 0

    def per_query(self, context: EvaluationContext) -> dict[str, Array]:
        """A value for each query (Q,) for those scores that are its mean over queries with a match.

        These are what intervals, paired comparisons and scores of single classes are computed from.
        """
        return {}

    def counted_queries(self, context: EvaluationContext) -> dict[str, Array]:
        """For those scores of ``per_query`` that are means over other queries: which they are (Q,) bool."""
        return {}

    def counts(self, context: EvaluationContext) -> dict[str, int]:
        """What it counted, sampled or left out on these images, for ``scores.json``."""
        return {}

    def protocol(self) -> dict[str, object]:
        """What a reader must know to compare its scores (seed, normalisation, ...), for ``scores.json``."""
        return {}


class Clustering(ABC):
    """Embeddings to clusters, such as k-means. ``steps`` is how many steps at most it takes, for a progress bar.

    Examples:
        >>> import numpy as np
        >>> class BySign(Clustering):
        ...     def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        ...         on_step(1)
        ...         return np.minimum((embeddings[:, 0] > 0).astype(np.int64), clusters - 1)
        >>> BySign().assign(np.array([[-1.0], [2.0]], dtype=np.float32), clusters=2, seed=0)
        array([0, 1])
    """

    steps: int = 1

    @property
    def ignores_offset(self) -> bool:
        """Whether moving all embeddings by the same vector changes no cluster, but for rounding.

        Then it is called with embeddings less their mean where they are nearly the same.
        """
        return False

    @abstractmethod
    def assign(
        self,
        embeddings: Floats32,
        clusters: int,
        seed: int,
        on_step: Callable[[int], object] = lambda count: None,
    ) -> Indices:
        """The cluster (N,) of each of ``embeddings`` (N, D), which stay as they are; ``clusters`` of them, or nearly.

        The same for the same ``seed``. ``on_step`` is called with the number of steps done since the last call.

        Raises:
            ValueError: unless 1 <= ``clusters`` <= N.
        """

    def protocol(self) -> dict[str, object]:
        """What a reader must know to compare scores of these clusters, for ``scores.json``."""
        return {}
