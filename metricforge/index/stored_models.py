"""The model of an index: what embeds its queries and compares its vectors, loaded when that is first needed."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from metricforge.bundle_files import read_description
from metricforge.errors import EmbeddingsError, MetricForgeError
from metricforge.index.array_similarity import ArraySimilarity
from metricforge.index.indexed_model import similarity_without_weights
from metricforge.index.manifest import Manifest
from metricforge.index.onnx_model import OnnxModel, has_onnx_model

# What imports torch is imported by the methods that need it: an index of an ONNX bundle is searched without.
if TYPE_CHECKING:
    from metricforge.deployment import EmbeddingModel
    from metricforge.interfaces import Similarity


class StoredModels:
    """The models of an index's states, of which the one used last stays loaded; threads may share it.

    Args:
        folder: the index's.
        model: embeds the queries; None: the one stored in the index.
        device: where a stored model computes, instead of its graph; None: a GPU if there is one.
    """

    def __init__(self, folder: Path, model: EmbeddingModel | None, device: str | None) -> None:
        self._folder = folder
        self._device = device
        self._loading = threading.Lock()
        self._model = model
        self._onnx_model: OnnxModel | None = None
        self._onnx_for: str | None = None  # the hash of the model that it was looked for
        self._compares: tuple[str, ArraySimilarity | None] | None = None  # that of a model's hash, by its description

    def model(self, state: Manifest) -> EmbeddingModel:
        """Return the model of the vectors of ``state``, whatever the index has become since.

        Raises:
            MetricForgeError: where PyTorch is not installed.
            EmbeddingsError: if the model in the index is another than the one it was built with.
        """
        self.refuse_without_pytorch()
        from metricforge.deployment import load_model

        with self._loading:
            model = self._model
            if model is None or model.hash != state.model_hash:
                device = self._device if model is None else model.device
                model = load_model(self._folder / state.model, device=device)
                self.refuse_other(model.hash, state)
                self._model = model
        return model

    def of_queries(self, state: Manifest) -> EmbeddingModel | OnnxModel:
        """Return what embeds queries for ``state``: without PyTorch where that is not loaded yet and need not be."""
        if self._device is not None:
            return self.model(state)
        with self._loading:
            if self._model is None and self._onnx_for != state.model_hash:
                bundle = self._folder / state.model
                self._onnx_model = OnnxModel(bundle) if has_onnx_model(bundle) else None
                if self._onnx_model is not None:
                    self.refuse_other(self._onnx_model.hash, state)
                self._onnx_for = state.model_hash
            found = None if self._model is not None else self._onnx_model
        return self.model(state) if found is None else found

    def of_server(self, state: Manifest) -> EmbeddingModel | OnnxModel:
        """Return what embeds images for a server: the model, or where PyTorch is not installed its graph."""
        return self.model(state) if has_pytorch() or self._device else self.of_queries(state)

    def similarity(self, state: Manifest) -> Similarity | ArraySimilarity:
        """Return what compares the vectors of ``state``; only one that is learned, or a plug-in's, loads a model."""
        with self._loading:
            if self._model is not None and self._model.hash == state.model_hash:
                return self._model.learner.similarity
            if self._compares is None or self._compares[0] != state.model_hash:
                described = read_description(self._folder / state.model)
                self.refuse_other(str(described.get("metricforge_model")), state)
                self._compares = state.model_hash, similarity_without_weights(described)
            found = self._compares[1]
        return similarity_of(self.of_queries(state)) if found is None else found

    def refuse_without_pytorch(self) -> None:
        """Refuse what only the model itself can do.

        Raises:
            MetricForgeError: where PyTorch is not installed.
        """
        if not has_pytorch():
            raise MetricForgeError(
                f"{self._folder}: torch is not installed. Without PyTorch, images can only be searched with, and only "
                "if onnxruntime is installed and the index's model is a bundle with a graph (metricforge export "
                "MODEL --format onnx --with-preprocessing); install torch and torchvision"
            )

    def refuse_other(self, model_hash: str, state: Manifest) -> None:
        """Refuse a model whose vectors are not those of ``state``.

        Raises:
            EmbeddingsError: if ``model_hash`` is another model's.
        """
        if model_hash != state.model_hash:
            raise EmbeddingsError(
                f"{self._folder} was built with model {state.model_hash}; this is model {model_hash}, whose embeddings "
                "cannot be compared with its own; search with the model stored in the index, or embed its images with "
                f"this one: metricforge index migrate {self._folder} MODEL"
            )


def has_pytorch() -> bool:
    """Whether PyTorch is installed; nothing is imported."""
    try:
        return find_spec("torch") is not None
    except ModuleNotFoundError:
        return False


def similarity_of(model: EmbeddingModel | OnnxModel) -> Similarity | ArraySimilarity:
    """What compares the embeddings of ``model``."""
    return model.similarity if isinstance(model, OnnxModel) else model.learner.similarity
