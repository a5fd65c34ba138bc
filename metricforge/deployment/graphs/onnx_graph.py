"""A model as ONNX graphs: embeddings, and the similarities that were learned."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metricforge.deployment.graphs.onnx_preprocessing import OPSET, preprocessing_text
from metricforge.deployment.graphs.recorded_program import recorded_program, unsupported
from metricforge.errors import MetricForgeError

INSTALL = 'install it with: pip install "metricforge[onnx]"'


def check_onnx_is_installed() -> None:
    """Raise a MetricForgeError that says how to install what is missing."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(package)
        except ImportError as fault:
            raise MetricForgeError(f"--format onnx needs the package {package} ({fault}); {INSTALL}") from fault


def write_onnx(
    module: nn.Module,
    file: Path,
    inputs: Mapping[str, Tensor],
    output: str,
    dynamic: Sequence[dict[int, Any]],
    metadata: Mapping[str, Any],
) -> None:
    """Write ``module`` into ``file``; weights of more than 2 GB go into a file beside it.

    Args:
        module: in evaluation mode.
        file: what to write.
        inputs: an example of each, by its name in the graph.
        output: its name in the graph.
        dynamic: for each input, the names of the axes that may have any size.
        metadata: written into the graph, as JSON where it is no string.

    Raises:
        MetricForgeError: for an operation that ONNX does not have; it names it.
    """
    what = f"the model ({file.name})"
    recorded = recorded_program(module, tuple(inputs.values()), dynamic, what)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                recorded,
                input_names=list(inputs),
                output_names=[output],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.model.metadata_props.update(
                {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
            )
            program.save(str(file))
    except Exception as fault:  # the exporter's errors have no common base that is public
        raise unsupported(fault, what, "ONNX") from fault


def put_preprocessing_inside(
    file: Path, transform: Sequence[Any], mean: Sequence[float], std: Sequence[float], side: tuple[int, int] | None
) -> None:
    """Put what makes ``pixels`` of images in front of the graph in ``file``, whose input becomes ``images``.

    Raises:
        MetricForgeError: for a transform that ONNX has no operations for.
    """
    import onnx

    graph = onnx.load(file)
    text = preprocessing_text(transform, mean, std, side, graph.ir_version)
    front = onnx.parser.parse_model(text)
    whole = onnx.compose.merge_models(
        onnx.compose.add_prefix(front, "preprocessing_", rename_inputs=False, rename_outputs=False),
        graph,
        io_map=[("pixels", "pixels")],
    )
    onnx.checker.check_model(whole)
    onnx.save(whole, file)


class OnnxSession:
    """A graph in ONNX Runtime, on the processor."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def __call__(self, **inputs: Any) -> Any:
        """The only output, of arrays by the names of the graph's inputs."""
        return self._session.run(None, inputs)[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling its progress."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
