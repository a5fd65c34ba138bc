"""``metricforge export``: a bundle, and in it the model as a graph that was compared with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Floats32
from metricforge.bundle_files import check_is_new
from metricforge.deployment.bundle import write_bundle
from metricforge.deployment.embedding_model import EmbeddingModel
from metricforge.deployment.graphs.graph_comparison import compare, compare_scores
from metricforge.deployment.graphs.graph_modules import EmbeddingGraph, SimilarityGraph, is_learned, normalised
from metricforge.deployment.graphs.onnx_graph import (
    OnnxSession,
    check_onnx_is_installed,
    put_preprocessing_inside,
    write_onnx,
)
from metricforge.deployment.graphs.onnx_preprocessing import what_is_inside
from metricforge.deployment.graphs.sample_images import (
    SampleImages,
    images_of_run,
    images_of_source,
    prepared,
    prepared_side,
)
from metricforge.deployment.graphs.torch_graphs import write_torch_export, write_torchscript
from metricforge.errors import MetricForgeError

ExportFormat = Literal["safetensors", "onnx", "torchscript", "torch-export"]
FORMATS: tuple[str, ...] = get_args(ExportFormat)
SUFFIXES = {"onnx": "onnx", "torchscript": "pt", "torch-export": "pt2"}
EXAMPLE_BATCH = 3
LOADED_BY = {
    "onnx": "ONNX Runtime",
    "torchscript": "torch.jit.load, in Python or C++",
    "torch-export": "torch.export.load",
}


class Exported(NamedTuple):
    """A bundle that was written.

    Args:
        bundle: its folder.
        graphs: what lies in it beside the weights, by file, as ``model.json`` has it.
        source: the images that graphs were compared on; None where there are no graphs.
    """

    bundle: Path
    graphs: Mapping[str, Mapping[str, Any]]
    source: str | None


def export_model(
    model: EmbeddingModel,
    bundle: str | Path,
    *,
    format: ExportFormat = "safetensors",  # noqa: A002
    with_preprocessing: bool = False,
    images: str | None = None,
    licence: str | None = None,
) -> Exported:
    """Write ``model`` into the new folder ``bundle``: weights, description and card, and a graph in another format.

    Args:
        model: the model.
        bundle: the folder.
        format: of the graph; "safetensors" for none. A learned similarity becomes a second graph.
        with_preprocessing: resize, crop and normalise inside the ONNX graph.
        images: a folder or table of images on which the graph is compared with the model; None: the test images of
            the model's run.
        licence: of the weights, for the card, such as "apache-2.0".

    Raises:
        MetricForgeError: if ``bundle`` exists, a package is missing, there are no images, JSON cannot hold a value of
            the model, it has an operation that the format lacks, or the graph computes something else than the model.
    """
    bundle = Path(bundle)
    check_is_new(bundle)
    if format not in FORMATS:
        raise MetricForgeError(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    if with_preprocessing and format != "onnx":
        raise MetricForgeError(f"--with-preprocessing needs --format onnx, and the format is {format}; leave it out")
    if images is not None and format == "safetensors":
        raise MetricForgeError(
            f"--images {images} is for comparing a graph with the model, but --format safetensors exports none; leave "
            "it out"
        )
    bundled = model.bundled()
    if licence:
        bundled = bundled._replace(record={**bundled.record, "licence": licence})
    if format == "safetensors":
        return Exported(write_bundle(bundled, bundle), {}, None)
    model.refuse_unless_images()
    if format == "onnx":
        check_onnx_is_installed()
    sample = images_of_run(Path(model.source)) if images is None else images_of_source(images)
    written: dict[str, Mapping[str, Any]] = {}

    def graphs(folder: Path) -> Mapping[str, Mapping[str, Any]]:
        written.update(_Graphs(model, format, with_preprocessing, sample).write(folder))
        return written

    write_bundle(bundled, bundle, graphs)
    return Exported(bundle, written, sample.source)


class _Graphs:
    """Writes the graphs of one model in one format, and compares them with it."""

    def __init__(
        self, model: EmbeddingModel, format_name: ExportFormat, with_preprocessing: bool, sample: SampleImages
    ) -> None:
        self.model = model
        self.format: ExportFormat = format_name
        self.inside = with_preprocessing
        self.sample = sample
        self.pixels = prepared(sample.raw, model.transform)
        self.side = prepared_side(model.transform)
        backbone = model.learner.backbone
        self.mean, self.std = tuple(map(float, backbone.mean)), tuple(map(float, backbone.std))

    def write(self, folder: Path) -> dict[str, Mapping[str, Any]]:
        """Write them into ``folder``; returns what ``model.json`` says of each file."""
        suffix = SUFFIXES[self.format]
        main, second = folder / f"model.{suffix}", folder / f"similarity.{suffix}"
        of_graph = self._write_embedding(main)
        learned = is_learned(self.model.learner.similarity)
        scores = self._write_similarity(second) if learned else self._scores_of_model
        compared = compare(
            self._embed_raw if self.inside else self.model.embed_pixels,
            of_graph,
            self.sample.raw if self.inside else self.pixels,
            self.sample.labels,
            scores_of_model=self._scores_of_model,
            scores_of_graph=scores,
            resizes=self.inside and len(self.model.transform) > 0,
            file=main.name,
        )
        found: dict[str, Mapping[str, Any]] = {
            main.name: {
                "loaded_by": LOADED_BY[self.format],
                "says": f"for {LOADED_BY[self.format]}. {self._says()}",
                "preprocessing_inside": self.inside,
                "compared": compared,
            }
        }
        if learned:
            rows = self.model.embed_pixels(self.pixels)  # (N, D)
            found[second.name] = {
                "loaded_by": LOADED_BY[self.format],
                "says": "embeddings x (N, D) and y (M, D) to their learned similarities (N, M), larger = more alike",
                "compared": compare_scores(self._scores_of_model(rows, rows), scores(rows, rows), second.name),
            }
        for extra in sorted(folder.glob(f"*.{suffix}.*")):  # weights of more than 2 GB
            found[extra.name] = {"says": f"belongs to {extra.name.removesuffix('.data')}"}
        return found

    def _write_embedding(self, file: Path) -> Callable[[list[Tensor]], Floats32]:
        learner = self.model.learner
        module = EmbeddingGraph(learner)
        example = normalised(torch.stack([self.pixels[0]] * EXAMPLE_BATCH), learner)  # (B, 3, H, W)
        axes: dict[int, Any] = {0: torch.export.Dim("batch")}
        if self.side is None:
            # of whatever least size the network's strides ask for, which a named axis would have to state
            axes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        if self.format == "onnx":
            write_onnx(module, file, {"pixels": example}, "embeddings", [axes], self._metadata())
            if self.inside:
                put_preprocessing_inside(file, self.model.transform, self.mean, self.std, self.side)
            session = OnnxSession(file)
            if self.inside:
                return lambda images: np.asarray(
                    session(images=torch.stack(images).permute(0, 2, 3, 1).contiguous().numpy()), dtype=np.float32
                )
            return lambda images: np.asarray(
                session(pixels=normalised(torch.stack(images), learner).numpy()), dtype=np.float32
            )
        if self.format == "torchscript":
            program = write_torchscript(module, file, (example,))
        else:
            program = write_torch_export(module, file, (example,), [axes])
        return lambda images: _run(program, normalised(torch.stack(images), learner))

    def _write_similarity(self, file: Path) -> Callable[[Floats32, Floats32], Floats32]:
        module = SimilarityGraph(self.model.learner.similarity)
        x, y = torch.rand(3, self.model.dim), torch.rand(5, self.model.dim)  # (N, D), (M, D)
        axes: list[dict[int, Any]] = [{0: torch.export.Dim("queries")}, {0: torch.export.Dim("gallery")}]
        if self.format == "onnx":
            metadata = {"metricforge_model": self.model.hash}
            write_onnx(module, file, {"x": x, "y": y}, "similarities", axes, metadata)
            session = OnnxSession(file)
            return lambda rows, columns: np.asarray(session(x=rows, y=columns), dtype=np.float32)
        if self.format == "torchscript":
            program = write_torchscript(module, file, (x, y))
        else:
            program = write_torch_export(module, file, (x, y), axes)
        return lambda rows, columns: _run(program, torch.from_numpy(rows), torch.from_numpy(columns))

    def _embed_raw(self, images: list[Tensor]) -> Floats32:
        return self.model.embed_pixels(prepared(images, self.model.transform))

    def _scores_of_model(self, x: Floats32, y: Floats32) -> Floats32:
        return self.model.similarity(x, y)

    def _says(self) -> str:
        if self.inside:
            return what_is_inside(self.model.transform)
        height, width = self.side or ("height", "width")
        return (
            f"Input pixels float32 (batch, 3, {height}, {width}): prepared as described below and normalised. Output "
            f"embeddings float32 (batch, {self.model.dim})."
        )

    def _metadata(self) -> dict[str, Any]:
        """What the graph says of itself."""
        description = self.model.description
        return {
            "metricforge_model": self.model.hash,
            "input": self._says(),
            "preprocessing": [dict(step) for step in description.preprocessing],
            "preprocessing_inside": str(self.inside).lower(),
            "mean": list(self.mean),
            "std": list(self.std),
            "decode": description.decode,
            "similarity": description.architecture["similarity"],
        }


@torch.inference_mode()
def _run(program: Callable[..., Tensor], *inputs: Tensor) -> Floats32:
    found: Floats32 = program(*inputs).numpy()
    return found
