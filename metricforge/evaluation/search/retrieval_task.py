"""What is searched in what: queries, gallery, which gallery index is the query itself, and which images match."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from metricforge.arrays import Array, Flags, Indices
from metricforge.evaluation.search.self_match import find_self_matches
from metricforge.structures import EmbeddingSet

SAME_CAMERA = "same label and same camera"


class RetrievalTask:
    """Queries and the gallery they are searched in, without a similarity: whatever ranks it, this stays the same.

    Args:
        queries: the embedded images to search with.
        gallery: the images to search. None searches the queries' own set, where each query is left out of its own
            ranking.
        shared_ids: whether an id names the same image in queries and gallery, so that a query that is in the gallery
            too is left out of its own ranking. Otherwise ids of the two sets are not compared.
        exclude: which gallery images are neither match nor non-match of a query, as if they were not there:
            ``"same label and same camera"``, the rule of re-identification; None: only the query itself.

    Raises:
        ValueError: for an empty set, queries given as gallery, sets of different dimensions, another rule, or images
            whose cameras are not known.
    """

    def __init__(
        self,
        queries: EmbeddingSet,
        gallery: EmbeddingSet | None = None,
        shared_ids: bool = False,
        exclude: str | None = None,
    ) -> None:
        if gallery is queries:
            raise ValueError("gallery is the query set itself; leave it out, so that no query finds itself")
        for name, images in (("queries", queries), ("gallery", gallery)):
            if images is not None and not len(images):
                raise ValueError(f"{name} must hold at least one embedding, got shape {images.embeddings.shape}")
        if gallery is not None and gallery.embeddings.shape[1] != queries.embeddings.shape[1]:
            raise ValueError(
                f"gallery has {gallery.embeddings.shape[1]} dimensions and queries {queries.embeddings.shape[1]}; "
                "embed both with the same model"
            )
        if exclude is not None and exclude != SAME_CAMERA:
            raise ValueError(f'exclude must be "{SAME_CAMERA}" or None, got {exclude!r}')
        for name, images in (("queries", queries), ("gallery", gallery)):
            if exclude is not None and images is not None and images.cameras is None:
                raise ValueError(
                    f'exclude="{exclude}" needs to know the cameras of the {name}; give the column camera of a table, '
                    "a pattern with a group camera, or the cameras beside the embeddings of a file"
                )
        self.exclude = exclude
        self.queries = queries
        self.gallery = queries if gallery is None else gallery
        self.searches_itself = gallery is None
        self.shared_ids = shared_ids or self.searches_itself

    @property
    def query_embeddings(self) -> Array | None:
        """The queries' embeddings (Q, D), or None where they are those of the gallery."""
        return None if self.searches_itself else self.queries.embeddings

    @cached_property
    def self_index(self) -> Indices:
        """The gallery index of each query itself (Q,), -1 for queries that are not in the gallery."""
        if self.searches_itself:
            return np.arange(len(self.queries))
        return find_self_matches(self.queries, self.gallery) if self.shared_ids else np.full(len(self.queries), -1)

    @property
    def gallery_size(self) -> int:
        """How many images every query can find: the gallery, less the most that any query leaves out."""
        return len(self.gallery) - int(self.left_out.max())

    @cached_property
    def left_out(self) -> Indices:
        """How many gallery images each query (Q,) leaves out of its ranking: itself, and what ``exclude`` names."""
        itself = (self.self_index >= 0).astype(np.int64)
        if self.exclude is None:
            return itself
        everyone = np.arange(len(self.queries))
        counted = itself.astype(bool) & self._shares_camera(everyone, self.self_index)  # (Q,), by its camera already
        return self.same_camera + itself - counted

    @cached_property
    def same_camera(self) -> Indices:
        """How many gallery images are of each query's class and camera (Q,), the query itself counted."""
        assert self.queries.cameras is not None
        assert self.gallery.cameras is not None
        keys = np.stack([self.gallery.labels, self.gallery.cameras], axis=1)  # (G, 2)
        wanted = np.stack([self.queries.labels, self.queries.cameras], axis=1)  # (Q, 2)
        _, nth, counts = np.unique(np.concatenate([keys, wanted]), axis=0, return_inverse=True, return_counts=True)
        nth = nth.reshape(-1)
        in_gallery = np.bincount(nth[: len(keys)], minlength=len(counts))
        return in_gallery[nth[len(keys) :]].astype(np.int64)

    def is_left_out(self, queries: Indices, images: Indices) -> Flags:
        """Whether gallery ``images`` (b, ...) are the ``queries`` (b,) themselves or what ``exclude`` names."""
        itself = images == self.self_index[queries].reshape(-1, *[1] * (images.ndim - 1))
        return itself if self.exclude is None else itself | self._shares_camera(queries, images)

    def _shares_camera(self, queries: Indices, images: Indices) -> Flags:
        assert self.queries.cameras is not None
        assert self.gallery.cameras is not None
        shape = (-1, *[1] * (images.ndim - 1))
        labels, cameras = self.queries.labels[queries].reshape(shape), self.queries.cameras[queries].reshape(shape)
        same: Flags = (self.gallery.labels[images] == labels) & (self.gallery.cameras[images] == cameras)
        return same

    @cached_property
    def matches(self) -> Indices:
        """How many gallery images match each query (Q,): of its class, and not left out."""
        classes, counts = np.unique(self.gallery.labels, return_counts=True)
        nth = np.searchsorted(classes, self.queries.labels).clip(max=len(classes) - 1)  # (Q,)
        in_gallery = classes[nth] == self.queries.labels
        of_class = np.where(in_gallery, counts[nth], 0).astype(np.int64)
        return of_class - self.left_out

    @property
    def has_match(self) -> Flags:
        """Which queries (Q,) have a match; the others are left out of retrieval scores."""
        return self.matches > 0

    @property
    def queries_without_match(self) -> int:
        """How many queries have no match."""
        return int((self.matches == 0).sum())

    @property
    def num_classes(self) -> int:
        """Classes among the queries."""
        return len(np.unique(self.queries.labels))
