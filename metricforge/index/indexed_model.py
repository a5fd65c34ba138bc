"""What an index must know of the model that its embeddings come from, read from a bundle without PyTorch."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metricforge.bundle_files import copy_bundle, is_bundle, read_description, verified_file
from metricforge.calibration import Calibration
from metricforge.errors import CheckpointError
from metricforge.index.array_similarity import WITHOUT_WEIGHTS, ArraySimilarity

if TYPE_CHECKING:
    from metricforge.deployment import EmbeddingModel
    from metricforge.interfaces import Similarity


@dataclass(frozen=True)
class IndexedModel:
    """A model as an index of its embeddings needs it: everything but the network.

    Args:
        name: of the backbone.
        dim: D.
        hash: ``EmbeddingModel.hash``.
        source: where it was loaded from, for messages.
        similarity: how its embeddings compare.
        calibration: the threshold below which a query counts as unknown, as training measured it; None: not measured.
        save: writes the model's bundle into the folder that it is given.
    """

    name: str
    dim: int
    hash: str
    source: str
    similarity: Similarity | ArraySimilarity
    calibration: Calibration | None
    save: Callable[[Path], object]

    @classmethod
    def of(cls, model: EmbeddingModel) -> IndexedModel:
        """Describe ``model``; the graphs of a bundle that it was loaded from are kept, for searches by them."""
        backbone = model.description.architecture["backbone"]
        return cls(
            name=backbone.get("name", backbone["type"]),
            dim=model.dim,
            hash=model.hash,
            source=model.source,
            similarity=model.learner.similarity,
            calibration=model.calibration,
            save=model.save,
        )

    @classmethod
    def of_bundle(cls, bundle: Path) -> IndexedModel:
        """Describe the model in ``bundle``; only a similarity that is learned, or a plug-in's, imports PyTorch.

        Raises:
            CheckpointError: for a file that is absent, damaged, changed since the export, or of another format.
        """
        described = read_description(bundle)
        similarity = similarity_without_weights(described)
        if similarity is None:
            from metricforge.deployment import load_model

            return cls.of(load_model(bundle, device="cpu"))
        try:
            for entry in (described["weights"], *dict(described.get("graphs", {})).values()):
                verified_file(bundle, entry)
            measured = described.get("calibration")
            backbone = described["architecture"]["backbone"]
            return cls(
                name=str(backbone.get("name", backbone["type"])),
                dim=int(described["dim"]),
                hash=str(described["metricforge_model"]),
                source=str(bundle),
                similarity=similarity,
                calibration=None if measured is None else Calibration.from_json(measured),
                save=lambda folder: copy_bundle(bundle, folder),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise CheckpointError(
                f"{bundle} does not describe a model ({type(fault).__name__}: {fault}); export the model again"
            ) from fault

    def calibration_for(self, images: int) -> Mapping[str, Any] | None:
        """What training measured, for a manifest; None if nothing, or if that was among too few images."""
        found = self.calibration
        return None if found is None or found.unfit_for(images) is not None else found.to_json()

    def keep(self, folder: Path) -> None:
        """Write the model into ``folder``, unless it is there."""
        if not folder.exists():
            self.save(folder)

    def __repr__(self) -> str:
        return f"{self.name}, {self.dim} dimensions, {self.hash}, from {self.source}"


def similarity_without_weights(described: Mapping[str, Any]) -> ArraySimilarity | None:
    """The similarity of a bundle's description, for arrays; None for one that has weights or is a plug-in's.

    Raises:
        CheckpointError: if it describes none.
    """
    try:
        make = WITHOUT_WEIGHTS.get(described["architecture"]["similarity"]["type"])
    except (KeyError, TypeError) as fault:
        raise CheckpointError(f"the model's description names no similarity ({fault!r}); export it again") from fault
    return None if make is None else make()


@contextmanager
def open_indexed_model(model: str | Path) -> Iterator[IndexedModel]:
    """Describe a run's, a checkpoint's or a bundle's model; another process, which ends, loads what is no bundle.

    PyTorch, whose import takes more memory than most indices, is not imported here then.

    Raises:
        CheckpointError: if nothing is there, or it is damaged or not a model.
    """
    path = Path(model)
    if is_bundle(path):
        yield IndexedModel.of_bundle(path)
        return
    with tempfile.TemporaryDirectory(prefix="metricforge-model-") as folder:
        bundle = Path(folder) / "bundle"
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            process.submit(_save_bundle, path, bundle).result()
        yield replace(IndexedModel.of_bundle(bundle), source=str(path))


def _save_bundle(model: Path, bundle: Path) -> None:
    from metricforge.deployment import load_model

    load_model(model, device="cpu").save(bundle)
