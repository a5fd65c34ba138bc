"""``SearchIndex``: find the images of a collection that are most similar to a given one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from metricforge.argument_types import is_whole_number
from metricforge.arrays import Array, Floats32
from metricforge.damaged_arrays import DAMAGED_ARRAY
from metricforge.disk_errors import CLOSED, FULL
from metricforge.errors import EmbeddingsError, IndexBusyError, IndexFileError
from metricforge.index.hit import Hit, Hits, SearchResults
from metricforge.index.manifest import NAME, Manifest
from metricforge.index.snapshot import Snapshot
from metricforge.index.stored_models import StoredModels, similarity_of

# What imports torch is imported by the methods that need it: an index of an ONNX bundle is searched without.
if TYPE_CHECKING:
    from metricforge.calibration import Calibration
    from metricforge.deployment import EmbeddingModel
    from metricforge.deployment.image_collection import ImageCollection
    from metricforge.index.migrating import Migration
    from metricforge.index.onnx_model import OnnxModel

READ_ATTEMPTS = 5  # for a state that changes while it is read


class SearchIndex:
    """An index on disk, with the model that made it; ``metricforge.load_index`` opens one.

    A search sees every change that was complete when it began, also those of other processes, and never half of one.
    Searches may run in several threads at once. One process can change an index at a time.

    Args:
        path: the index's folder.
        model: embeds the queries; None: the one stored in the index, loaded when it is first needed. With an ONNX
            graph in it that has the preprocessing inside, and onnxruntime, the graph embeds them, and searching imports
            no PyTorch; embeddings then are the model's up to what the export measured.
        device: where the stored model computes, such as "cuda:1", instead of its graph; None: a GPU if there is one.

    Raises:
        IndexFileError: if there is no index, or it is damaged.
        EmbeddingsError: if the index was built with another model.

    Examples:
        >>> from metricforge import load_index
        >>> index = load_index("products")  # doctest: +SKIP
        >>> hits = index.search(["photo.jpg"], k=5)[0]  # doctest: +SKIP
    """

    def __init__(self, path: str | Path, model: EmbeddingModel | None = None, *, device: str | None = None) -> None:
        self.path = Path(path)
        self._loading = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._snapshot: Snapshot = self._read()
        self._models = StoredModels(self.path, model, device)
        if model is not None:
            self._models.refuse_other(model.hash, self._snapshot.manifest)

    @property
    def model(self) -> EmbeddingModel:
        """The model that the vectors come from."""
        return self._models.model(self.manifest)

    @property
    def embedder(self) -> EmbeddingModel | OnnxModel:
        """What embeds images for a server: the model, or where PyTorch is not installed its graph."""
        return self._models.of_server(self.manifest)

    @property
    def manifest(self) -> Manifest:
        """The state that the next search sees."""
        return self.snapshot().manifest

    def snapshot(self) -> Snapshot:
        """Return the current state; the object returned does not change when the index does."""
        if self._stamp_of_now() != self._stamp:
            with self._loading:
                if self._stamp_of_now() != self._stamp:
                    self._snapshot = self._read()
        return self._snapshot

    def _stamp_of_now(self) -> tuple[int, int] | None:
        try:
            state = (self.path / NAME).stat()
        except FileNotFoundError:
            return None
        return state.st_mtime_ns, state.st_ino

    def _read(self) -> Snapshot:
        known = {segment.name: segment for segment in self._snapshot.segments} if self._stamp else {}
        for attempt in range(READ_ATTEMPTS):
            stamp = self._stamp_of_now()
            manifest = Manifest.read(self.path)
            try:
                snapshot = Snapshot(self.path, manifest, known)
            except PermissionError as refused:
                place = refused.filename or self.path
                raise IndexFileError(f"{place} cannot be read ({refused.strerror}); make it readable") from refused
            except (*DAMAGED_ARRAY, pa.ArrowException) as fault:
                # a writer may have removed a file that this state names
                if attempt + 1 < READ_ATTEMPTS and self._stamp_of_now() != stamp:
                    continue
                raise IndexFileError(f"{self.path} is damaged ({fault}); build the index again") from fault
            self._stamp = stamp
            return snapshot
        raise IndexFileError(f"{self.path} changes faster than it can be read; try again later")

    def __len__(self) -> int:
        return len(self.snapshot())

    def search(
        self,
        images: Any,
        k: int = 10,
        filter: str | None = None,  # noqa: A002
        *,
        exact: bool = False,
    ) -> SearchResults:
        """Find the ``k`` images most similar to each of ``images``, best first.

        Args:
            images: as ``EmbeddingModel.embed`` takes them (one, or many), or embeddings (N, D) that it gave.
            k: number of images to find, at least 1; fewer if the index has fewer.
            filter: an SQL condition over the columns, such as ``"label in ('shoe', 'boot') and price < 50"``.
            exact: compare every vector, whatever the index's kind.

        Returns:
            One list for each image, also for a single one; a notebook shows them as tables.

        Raises:
            ValueError: for a ``k`` below 1 or embeddings of another size.
            FilterError: for a filter that cannot be understood.
            UnreadableImageError: for an image that cannot be decoded.
        """
        return self._search(self.snapshot(), images, _whole(k), filter, exact)

    def _search(
        self, snapshot: Snapshot, images: Any, k: int, condition: str | None, exact: bool = False
    ) -> SearchResults:
        """Search one state by the model of that state, so that no change in between mixes the vectors of two models."""
        if isinstance(images, np.ndarray) and images.dtype.kind == "f":
            vectors, similarity = _embeddings(images, snapshot.manifest.dim), self._models.similarity(snapshot.manifest)
        else:
            model = self._models.of_queries(snapshot.manifest)
            vectors, similarity = model.embed(images), similarity_of(model)
        found = snapshot.search(vectors, similarity, k, snapshot.allowed(condition), exact=exact)
        return SearchResults(snapshot.hits(each) for each in found)

    def search_by_id(self, image: int, k: int = 10, filter: str | None = None) -> Hits:  # noqa: A002
        """Find the ``k`` images most similar to image ``image`` of the index, without itself.

        Raises:
            EmbeddingsError: if there is no such image.
        """
        k = _whole(k)
        snapshot = self.snapshot()
        vector = self._vector(snapshot, image)
        found = self._search(snapshot, vector[None], k + 1, filter)[0]
        return Hits([hit for hit in found if hit.id != image][:k])

    def vector(self, image: int) -> Floats32:
        """Return the embedding (D,) of image ``image`` of the index.

        Raises:
            EmbeddingsError: if there is no such image.
        """
        return self._vector(self.snapshot(), image)

    def _vector(self, snapshot: Snapshot, image: int) -> Floats32:
        place = snapshot.place_of(image)
        if place is None:
            raise EmbeddingsError(f"{self.path} has no image with the id {image}")
        return np.array(snapshot.segments[place[0]].vectors[place[1]])

    def duplicates(self, threshold: float | None = None) -> list[list[Hit]]:
        """Group the images that show the same thing: each is as similar as ``threshold`` to another one of its group.

        Args:
            threshold: a similarity; None: the calibrated one. 1e-6 below it still counts, which is rounding.

        Returns:
            Groups of two images or more, the largest first; each image with its similarity to the nearest other one of
            its group as ``score``, ordered by id.

        Raises:
            EmbeddingsError: without a threshold, for an index that is not calibrated.
            ValueError: for a threshold that is not finite.
        """
        from metricforge.index.duplicates import find_duplicates

        snapshot = self.snapshot()
        return find_duplicates(snapshot, self._models.similarity(snapshot.manifest), threshold)

    # ------------------------------------------------------------------ changes

    def add(self, source: Any) -> list[int]:
        """Add images, or replace those whose path is already in the index, and return their ids.

        Args:
            source: an ``ImageCollection``, a folder, a table or a list of paths, as ``metricforge embed`` takes them.

        Raises:
            DatasetError: if there are no images.
            UnreadableImageError: for an image that cannot be decoded; nothing is added then.
            IndexBusyError: if somebody else changes the index.
        """
        self._models.refuse_without_pytorch()
        from metricforge.index.writing import add_images

        collection = _collection(source)
        with self._writing() as snapshot:
            return add_images(snapshot, self._models.model(snapshot.manifest), collection)

    def remove(
        self,
        ids: Iterable[int] = (),
        paths: Iterable[str | os.PathLike[str]] = (),
        filter: str | None = None,  # noqa: A002
    ) -> int:
        """Remove the images with these ids or paths and those that fulfil ``filter``, and return their number.

        Raises:
            EmbeddingsError: for an id or a path that is not there; nothing is removed then.
            FilterError: for a filter that cannot be understood.
            IndexBusyError: if somebody else changes the index.
        """
        from metricforge.index.writing import remove_images

        with self._writing() as snapshot:
            return remove_images(snapshot, list(ids), [os.fspath(path) for path in paths], filter)

    def calibrate(self, source: Any = None, rate: float = 0.01) -> Calibration:
        """Choose the similarity below which a query counts as unknown, and keep it for every later search.

        Args:
            source: labelled images of classes that the model was not trained on, as ``add`` takes them; each is
                searched in the index, without itself if it is there. None takes the index's own images.
            rate: the share of queries of unknown classes that may be accepted by mistake, above 0 and below 1.

        Raises:
            EmbeddingsError: for images without labels, or of too few classes.
            IndexBusyError: if somebody else changes the index.
        """
        self._models.refuse_without_pytorch()
        from metricforge.index.calibrate_index import calibrate_index

        collection = None if source is None else _collection(source)
        with self._writing() as snapshot:
            return calibrate_index(snapshot, self._models.model(snapshot.manifest), collection, rate)

    @property
    def calibration(self) -> Calibration | None:
        """What ``calibrate`` found; None before it."""
        return self.snapshot().calibration

    def compact(self) -> None:
        """Merge all segments into one without the removed images, which speeds up searching.

        Raises:
            IndexBusyError: if somebody else changes the index.
        """
        from metricforge.index.writing import compact

        with self._writing() as snapshot:
            compact(snapshot, self._models.similarity(snapshot.manifest))

    def migrate(
        self,
        model: EmbeddingModel | str | Path,
        *,
        drop_unreadable: bool = False,
        num_workers: int = 0,
        on_images: Callable[[int], object] = lambda count: None,
    ) -> Migration:
        """Embed every image again with ``model`` and switch to it at once; ids and other columns stay.

        Searches see the old state until the new one is complete. A migration that was killed continues when it is
        started again, unless the index changed in between. The calibration is of the old model and gives way to that of
        the new one, if it has one on as many images.

        Args:
            model: the new model, or what ``metricforge.load_model`` loads.
            drop_unreadable: remove the images that can no longer be read; otherwise they are an error.
            num_workers: processes that read images.
            on_images: called with the number of images just embedded.

        Raises:
            EmbeddingsError: if the index is of ``model`` already, or none of its images can be read.
            MetricForgeError: if ``model`` was trained on vectors.
            UnreadableImageError: for images that cannot be read; the index stays as it is.
            IndexBusyError: if somebody else changes the index.
        """
        self._models.refuse_without_pytorch()
        from metricforge.deployment import EmbeddingModel, load_model
        from metricforge.index.migrating import migrate_index

        loaded = model if isinstance(model, EmbeddingModel) else load_model(model)
        with self._writing() as snapshot:
            return migrate_index(
                snapshot, loaded, drop_unreadable=drop_unreadable, num_workers=num_workers, on_images=on_images
            )

    @contextmanager
    def _writing(self) -> Iterator[Snapshot]:
        """Yield the current state while no other process can change it.

        Raises:
            IndexBusyError: if another process is changing the index.
            IndexFileError: if the disk takes no file; the index is as it was.
        """
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield self.snapshot()
        except Timeout as fault:
            raise IndexBusyError(
                f"{self.path}: another process is changing the index; try again later (searching still works)"
            ) from fault
        except OSError as fault:
            if fault.errno not in FULL | CLOSED:
                raise
            raise IndexFileError(
                f"{self.path} cannot be changed and is as before ({fault.strerror}); free some space or allow writing "
                "(searching still works)"
            ) from fault


def load_index(index: str | Path, model: EmbeddingModel | None = None) -> SearchIndex:
    """Open the index in the folder ``index``, which ``metricforge index MODEL SOURCE --out INDEX`` built.

    Args:
        index: its folder.
        model: embeds the queries; None: the one stored in the index.

    Raises:
        IndexFileError: if there is no index, or it is damaged.
        EmbeddingsError: if the index was built with another model.

    Examples:
        >>> try:
        ...     load_index("absent")
        ... except IndexFileError as error:
        ...     print("absent" in str(error))
        True
    """
    return SearchIndex(index, model)


def _embeddings(given: Array, dim: int) -> Floats32:
    """Return ``given`` as embeddings (N, ``dim``).

    Raises:
        ValueError: if they are of another size, or a number is not finite in float32.
    """
    if given.ndim != 2 or given.shape[1] != dim:
        raise ValueError(f"embeddings must be (N, {dim}), got shape {given.shape}")
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(given, dtype=np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"embeddings must be finite, but row {int(np.argmin(finite))} of {len(given)} is not; leave such rows out"
        )
    return vectors


def _whole(k: object) -> int:
    if not is_whole_number(k) or k < 1:
        raise ValueError(f"k must be a whole number >= 1, got {k!r}")
    return int(k)


def _collection(source: Any) -> ImageCollection:
    from metricforge.deployment.image_collection import ImageCollection, open_collection

    if isinstance(source, ImageCollection):
        return source
    if isinstance(source, (str, os.PathLike)):
        return open_collection(source)
    return open_collection("-", lines=map(os.fsdecode, source), lines_of="the list of paths")
