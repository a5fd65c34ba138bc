"""The embedding model: images in, embeddings out, without the training code around it."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from metricforge.argument_types import is_whole_number
from metricforge.arrays import Floats32
from metricforge.bundle_files import read_description
from metricforge.calibration import Calibration
from metricforge.datasets.decoding.limits import resizing_excess, shorter_side
from metricforge.deployment.accelerated_backbone import AcceleratedBackbone
from metricforge.deployment.bundle import BundledModel, Graphs, copy_graphs, read_bundle, write_bundle
from metricforge.deployment.given_images import GivenImages, ImageLike, one_or_many
from metricforge.deployment.hub import bundle_from_hub, bundle_to_hub
from metricforge.deployment.model_description import ModelDescription
from metricforge.engine.chosen_device import chosen_device
from metricforge.engine.memory_reuse import keep_freed_memory
from metricforge.engine.readout.candidate import SAYS
from metricforge.errors import MetricForgeError
from metricforge.models import MetricLearner
from metricforge.plugins import load_plugins
from metricforge.progress_bars import progress_bar
from metricforge.registry import TRANSFORMS

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
READING_THREADS = 4
BAR_FROM_BATCHES = 4  # show a progress bar for more batches than this


class ClassGuess(NamedTuple):
    """A training class that an image may belong to, and its probability in 0..1."""

    name: str
    probability: float


class EmbeddingModel:
    """A trained model in evaluation mode; ``metricforge.load_model`` makes one.

    Safe to call from several threads at once. Embeddings are float32. In batches of ``description.batch_size`` they are
    those of evaluation, bit for bit; another batch size changes the last bits at most (less than 1e-5 for embeddings
    of length 1).

    Args:
        learner: backbone, head and similarity with their weights, and the loss if it can classify.
        description: its architecture and preprocessing.
        device: where it runs.
        source: where it was loaded from, for messages.
        record: how it was made (scores, protocol, data set), for a model card; may be empty, or a function that is
            called when the record is first needed.
        calibration: the threshold below which a query counts as unknown, as training measured it; None: not measured.
        bundle: the folder of the bundle that it was loaded from; None: a checkpoint.
        graphs: those of the bundle, by file, which ``save`` and ``push_to_hub`` keep.

    ``transform`` is the preprocessing, built.

    Examples:
        >>> from metricforge import load_model
        >>> model = load_model("runs/normsoftmax_glyphs")  # doctest: +SKIP
        >>> model.embed(["a.jpg", "b.jpg"]).shape  # doctest: +SKIP
        (2, 128)
    """

    def __init__(
        self,
        learner: MetricLearner,
        description: ModelDescription,
        device: torch.device,
        source: str,
        record: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        calibration: Calibration | None = None,
        bundle: Path | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        if device.type == "cpu":
            keep_freed_memory()
        self.learner = learner.to(device).eval().requires_grad_(False)
        self.description = description
        self.device = device
        self.source = source
        self.calibration = calibration
        self.bundle = bundle
        self.graphs = graphs or {}
        self._record = record or {}
        self.transform: list[Callable[[Any], Any]] = [
            TRANSFORMS.build(dict(step), path=f"preprocessing[{number}]")
            for number, step in enumerate(description.preprocessing)
        ]
        self._hash: str | None = None

    @property
    def dim(self) -> int:
        """D, the size of an embedding."""
        return int(self.learner.head.dim)  # type: ignore[arg-type]

    @property
    def record(self) -> Mapping[str, Any]:
        """How it was made: scores and protocol, data, pretraining, how its weights were chosen."""
        if not isinstance(self._record, Mapping):
            self._record = self._record()
        return self._record

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that identify the model: equal if embeddings and similarities are the same."""
        if self._hash is None:
            described = self.description.to_json()
            parts = {key: described["architecture"].get(key) for key in ("backbone", "head", "similarity")}
            parts |= {key: described[key] for key in ("preprocessing", "decode")}
            digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
            for name, tensor in sorted(self.learner.state_dict().items()):
                if not name.startswith("loss."):
                    digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
                    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
            self._hash = digest.hexdigest()[:16]
        return self._hash

    def embed(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        batch_size: int | None = None,
        progress: bool | None = None,
    ) -> Floats32:
        """Embed ``images``: (N, D) float32 in their order; one image gives (1, D).

        Args:
            images: one image or an iterable of them: paths, URLs (through fsspec), encoded files as bytes, Pillow
                images, uint8 arrays (H, W), (H, W, 3) or (H, W, 4), uint8 tensors (3, H, W); of any size and mode.
                For a model that was trained on vectors, an array or tensor (N, F) of them instead.
            batch_size: how many are embedded at once; None: as many as in evaluation.
            progress: whether to show a progress bar; None: for many images, on a terminal.

        Raises:
            UnreadableImageError: for an image that cannot be decoded; the message names it.
            TypeError: for anything that is not an image.
            ValueError: for a batch size below 1.
        """
        size = self.description.batch_size if batch_size is None else batch_size
        if not is_whole_number(size) or size < 1:
            raise ValueError(f"batch_size must be a whole number >= 1, got {size!r}")
        if not self.learner.backbone.takes_images:
            return self._embed_vectors(images, size)
        total = len(images) if isinstance(images, Sized) and not isinstance(images, (str, bytes)) else None
        shown = (total or 0) > BAR_FROM_BATCHES * size if progress is None else progress
        bar: AbstractContextManager[Callable[[int], object]] = (
            progress_bar(Console(stderr=True), "embedding", total or 0) if shown else nullcontext(lambda count: None)
        )
        with bar as advance:
            blocks = []
            for block in self.embed_batches(one_or_many(images), size):
                blocks.append(block)
                advance(len(block))
        return np.concatenate(blocks) if blocks else np.empty((0, self.dim), dtype=np.float32)

    @torch.inference_mode()
    def _embed_vectors(self, vectors: Any, batch_size: int) -> Floats32:
        rows = np.asarray(vectors, dtype=np.float32)  # (N, F)
        expected = self.learner.backbone.feature_dim
        if rows.ndim != 2 or rows.shape[1] != expected or not np.isfinite(rows).all():
            raise ValueError(
                f"this model embeds vectors: images must be finite numbers (N, {expected}), got shape {rows.shape}"
                + ("" if np.isfinite(rows).all() else " with numbers that are not finite")
            )
        blocks = [
            self.learner.embed(torch.from_numpy(rows[start : start + batch_size]).to(self.device)).cpu().numpy()
            for start in range(0, len(rows), batch_size)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, self.dim), dtype=np.float32)

    def embed_batches(self, images: Iterator[ImageLike], batch_size: int) -> Iterator[Floats32]:
        """Yield embeddings (B, D) batch by batch while the next batch is read; ``images`` may be endless."""
        with ThreadPoolExecutor(READING_THREADS) as readers:
            done = 0

            def reading() -> list[Future[dict[str, Any]]]:
                nonlocal done
                batch = list(islice(images, batch_size))
                if not batch:
                    return []
                given = GivenImages(batch, self.transform, first=done)
                given.reduced_decoding = self.description.decode == "fast"
                done += len(batch)
                return [readers.submit(given.__getitem__, number) for number in range(len(batch))]

            pending = reading()
            while pending:
                following = reading()
                try:
                    yield self.embed_pixels([future.result()["image"] for future in pending])
                except BaseException:
                    for future in following:
                        future.cancel()
                    raise
                pending = following

    def prepare(self, image: ImageLike) -> Tensor:
        """Return ``image``, as ``embed`` takes it, as ``embed_pixels`` does: uint8 (3, H, W)."""
        given = GivenImages([image], self.transform)
        given.reduced_decoding = self.description.decode == "fast"
        pixels: Tensor = given[0]["image"]
        return pixels

    def resizing_excess(self, width: int, height: int, most_pixels: int | None = None) -> str:
        """Why an image is too long and narrow to be resized; empty if it is not."""
        side = shorter_side(self.description.preprocessing)
        return "" if side is None else resizing_excess(side, width, height, most_pixels)

    @torch.inference_mode()
    def embed_pixels(self, images: list[Tensor]) -> Floats32:
        """Embed preprocessed uint8 images (3, H, W): (B, D); those of one size form one batch.

        Raises:
            MetricForgeError: if the model was trained on vectors.
        """
        self.refuse_unless_images()
        found = np.empty((len(images), self.dim), dtype=np.float32)
        by_size: dict[torch.Size, list[int]] = {}
        for number, image in enumerate(images):
            by_size.setdefault(image.shape, []).append(number)
        for numbers in by_size.values():
            batch = torch.stack([images[number] for number in numbers])  # (b, 3, H, W)
            found[numbers] = self.learner.embed(batch.to(self.device)).float().cpu().numpy()
        return found

    def refuse_unless_images(self) -> None:
        """Raise MetricForgeError if the model was trained on vectors, so that no image can be embedded."""
        if not self.learner.backbone.takes_images:
            raise MetricForgeError(
                f"{self.source} was trained on vectors and embeds no images; embed vectors (N, "
                f"{self.learner.backbone.feature_dim}) in Python: metricforge.load_model(...).embed(vectors)"
            )

    @torch.inference_mode()
    def similarity(self, a: Any, b: Any) -> Floats32:
        """How alike each of ``a`` is to each of ``b`` (N, M), by the model's own similarity: larger = more alike.

        Args:
            a: images as ``embed`` takes them, or embeddings (N, D) as it gave them.
            b: the same; M of them.
        """
        rows, columns = (torch.from_numpy(self._embedded(each)).to(self.device) for each in (a, b))
        scores: Floats32 = self.learner.similarity.pairwise(rows, columns).float().cpu().numpy()
        return scores

    @torch.inference_mode()
    def classify(self, images: Any, k: int = 5) -> list[list[ClassGuess]]:
        """The ``k`` likeliest training classes of each image, the likeliest first.

        Args:
            images: as ``embed`` takes them, or embeddings (N, D) as it gave them.
            k: number of classes per image, at least 1; all classes if there are fewer.

        Raises:
            MetricForgeError: if the loss that the model was trained with cannot classify.
        """
        if not is_whole_number(k) or k < 1:
            raise ValueError(f"k must be a whole number >= 1, got {k!r}")
        logits = self._class_logits(torch.from_numpy(self._embedded(images)).to(self.device))  # (N, C)
        chances, labels = logits.softmax(dim=1).topk(min(k, logits.shape[1]), dim=1)
        names = self.description.class_names or tuple(str(label) for label in range(logits.shape[1]))
        return [
            [ClassGuess(names[label], chance) for label, chance in zip(its_labels, its_chances, strict=True)]
            for its_labels, its_chances in zip(labels.tolist(), chances.tolist(), strict=True)
        ]

    @property
    def classifies(self) -> bool:
        """Whether ``classify`` works: the loss that the model was trained with can score the training classes."""
        return hasattr(self.learner.loss, "predict")

    def _class_logits(self, embeddings: Tensor) -> Tensor:
        if not self.classifies:
            trained = (self.record.get("training") or {}).get("loss") or "a loss that is not known"
            layer = (self.record.get("choice") or {}).get("layer", SAYS["head"])  # that a readout chose
            reason = f"it was trained with {trained}, which does not score the training classes"
            if layer != SAYS["head"]:
                reason = f"its readout chose the {layer}, not the head that was trained with {trained}"
            raise MetricForgeError(
                f"{self.source} cannot classify: {reason}; search an index of labelled images instead, or train with "
                "NormSoftmaxLoss" + ("" if layer == SAYS["head"] else " and readout=None")
            )
        logits: Tensor = self.learner.loss.predict(embeddings)  # type: ignore[operator, union-attr]
        return logits

    def _embedded(self, given: Any) -> Floats32:
        if isinstance(given, np.ndarray) and given.dtype.kind == "f":
            if given.ndim != 2 or given.shape[1] != self.dim:
                raise ValueError(f"embeddings must be (N, {self.dim}), got shape {given.shape}")
            return np.ascontiguousarray(given, dtype=np.float32)
        return self.embed(given)

    def accelerated(
        self, *, precision: Precision = "float32", channels_last: bool = False, compiled: bool = False
    ) -> EmbeddingModel:
        """Return the same model with other numerics: faster, with slightly different embeddings.

        Args:
            precision: of the backbone; "bfloat16" can be several times as fast on hardware that supports it.
            channels_last: store images with the channels innermost, which suits most convolution kernels.
            compiled: compile the backbone with torch.compile; the first batch takes about a minute.

        Raises:
            ValueError: for another precision.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
        learner = copy.deepcopy(self.learner)
        learner.backbone = AcceleratedBackbone(
            learner.backbone, bfloat16=precision == "bfloat16", channels_last=channels_last, compiled=compiled
        )
        other = EmbeddingModel(learner, self.description, self.device, self.source, self._record, self.calibration)
        other._hash = self.hash  # the same model: how a vector was computed is recorded beside it
        return other

    def save(self, bundle: str | Path) -> Path:
        """Write a bundle, a folder that ``metricforge.load_model`` reads without executing any of it.

        The graphs of a bundle that the model was loaded from come along.

        Raises:
            CheckpointError: if such a graph is missing, or was changed since the export.
            MetricForgeError: if ``bundle`` exists and is not an empty folder, or a value does not fit into JSON.
        """
        return write_bundle(self.bundled(), Path(bundle), self._copy_graphs)

    def _copy_graphs(self, folder: Path) -> Graphs:
        if self.bundle is None or not self.graphs:
            return {}
        if read_description(self.bundle)["metricforge_model"] != self.hash:  # of the weights before they were changed
            return {}
        return copy_graphs(self.bundle, self.graphs, folder)

    @classmethod
    def from_bundle(cls, folder: Path, device: torch.device, source: str) -> EmbeddingModel:
        """Load the bundle in ``folder``, which messages call ``source``; executes none of it.

        Raises:
            CheckpointError: if it is damaged or was changed since the export.
        """
        read = read_bundle(folder)
        return cls(read.learner, read.description, device, source, read.record, read.calibration, folder, read.graphs)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        device: str | torch.device | None = None,
    ) -> EmbeddingModel:
        """Load a bundle from a folder or the Hugging Face hub (extra ``[hub]``); executes none of it.

        Args:
            name: a bundle's folder, or a repository such as "someone/shoes".
            revision: of the repository: a branch, a tag or a commit.
            token: for a private repository; None: the one that ``hf auth login`` stored.
            device: "cpu", "cuda", ...; None: a GPU if there is one.

        Raises:
            CheckpointError: if nothing is there, it is not a bundle, or it was changed since the export.
            ConfigError: if ``device`` cannot be used on this machine.
        """
        where = chosen_device(device)
        folder = bundle_from_hub(name, revision=revision, token=token)
        load_plugins()
        return cls.from_bundle(folder, where, str(name))

    def push_to_hub(
        self, repository: str, *, private: bool | None = None, revision: str | None = None, token: str | None = None
    ) -> str:
        """Write a bundle into a repository of the Hugging Face hub (extra ``[hub]``), and return its address.

        Args:
            repository: such as "someone/shoes"; it is made if it is not there.
            private: whether a new repository is; None: as the hub does.
            revision: the branch; None: main.
            token: with write access; None: the one that ``hf auth login`` stored.

        Raises:
            MetricForgeError: if the hub refuses, or a value of the model does not fit into JSON.
        """
        with tempfile.TemporaryDirectory(prefix="metricforge-bundle-") as folder:
            bundle = self.save(Path(folder) / repository.rpartition("/")[2])
            return bundle_to_hub(bundle, repository, private=private, revision=revision, token=token)

    def bundled(self) -> BundledModel:
        """Return what a bundle of the model holds.

        Raises:
            MetricForgeError: for an accelerated model, whose weights are not those of its description.
        """
        if isinstance(self.learner.backbone, AcceleratedBackbone):
            raise MetricForgeError("an accelerated model cannot be saved; save the model that it was made from")
        return BundledModel(self.learner, self.description, self.record, self.hash, self.calibration)

    def __repr__(self) -> str:
        backbone = self.description.architecture["backbone"]
        name = backbone.get("name", backbone["type"])
        return f"EmbeddingModel({name}, {self.dim} dimensions, {self.hash}, from {self.source})"
