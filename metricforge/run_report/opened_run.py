"""A run that has been evaluated: its scores, its history, and its test images embedded again by the scored weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from metricforge.calibration import Calibration
from metricforge.comparison import RunScores, read_run
from metricforge.datasets import ImageDataset
from metricforge.deployment.stored_config import read_stored_config
from metricforge.deployment.training_record import training_record
from metricforge.engine.records.checkpoints import BEST, file_hash, load_checkpoint
from metricforge.errors import ComparisonError, ConfigError, DatasetError
from metricforge.evaluation.context import EvaluationContext
from metricforge.models import MetricLearner
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history
from metricforge.run_report.readout_part import read_readout
from metricforge.run_report.training_images import TrainingImages, embed_training_images
from metricforge.runner import build_runner


@dataclass(frozen=True)
class TestImages:
    """The images that were scored: their data set, the model, and the ranking of the evaluation.

    ``training`` are images of training classes beside them, or why there are none.
    """

    dataset: ImageDataset
    learner: MetricLearner
    context: EvaluationContext
    training: TrainingImages | str = ""


@dataclass(frozen=True)
class OpenedRun:
    """What is known of a run.

    Args:
        name: what the report calls it.
        scored: scores, protocol and values of queries.
        history: its lines of losses and scores, oldest first; empty where there are none.
        record: what the scored checkpoint says of its making; None without one.
        images: None where ``missing`` says why there are none.
        missing: empty where nothing is.
        calibration: the threshold that training chose on its validation classes; None without one.
        readout: what the readout at its end compared, as its file has it; None without one.
    """

    name: str
    scored: RunScores
    history: Sequence[Mapping[str, Any]]
    record: Mapping[str, Any] | None
    images: TestImages | None
    missing: str = ""
    calibration: Calibration | None = None
    readout: Mapping[str, Any] | None = None


def open_run(
    run: Path,
    name: str,
    console: Console,
    *,
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    training_images: int = 0,
) -> OpenedRun:
    """Open ``run``, the folder of a run or of an evaluation, or a ``scores.json`` by any name.

    Without the scored checkpoint or its images the report does without pictures, and says so.

    Args:
        run: which.
        name: what the report calls it.
        console: where progress is shown.
        device: "cpu", "cuda", ...; by default a GPU if there is one.
        overrides: values to use instead of those of the run's config, such as another place of the images.
        training_images: at least how many images of training classes are embedded besides.

    Raises:
        ComparisonError: if there is no such run, it has no scores, or its test images or weights are not those that
            were scored.
    """
    scored = read_run(run)
    folder = scored.path.parent
    checkpoint = _checkpoint(folder, scored.protocol)
    training = folder if checkpoint is None else checkpoint.parent
    try:
        history = read_history(training)
    except ValueError as fault:
        raise ComparisonError(str(fault)) from fault
    readout = read_readout(training)
    if checkpoint is None:
        told = _why_no_checkpoint(folder, scored.protocol)
        return OpenedRun(name, scored, history, None, None, told, readout=readout)
    meta = load_checkpoint(checkpoint)["meta"]
    config = read_stored_config(meta["config"], str(checkpoint))
    record = training_record(checkpoint, meta, config)
    chosen = meta.get("calibration")
    calibration = None if chosen is None else Calibration.from_json(chosen)
    try:
        images = _embed(config, checkpoint, scored, console, device, overrides, training_images)
    except (DatasetError, ConfigError) as fault:
        if overrides:
            raise
        told = f"{fault}\nName another place of the images by --cfg-options test_dataloader.dataset.root=FOLDER."
        return OpenedRun(name, scored, history, record, None, told, readout=readout)
    return OpenedRun(name, scored, history, record, images, calibration=calibration, readout=readout)


def _checkpoint(folder: Path, protocol: Mapping[str, Any]) -> Path | None:
    """The file with the scored weights, by its hash: of the run's folder, or that in which an evaluation's lies."""
    measured = protocol.get("checkpoint")
    if not isinstance(measured, Mapping):
        return None
    for place in (folder, folder.parent.parent):
        named = place / Path(str(measured.get("file", BEST))).name
        for file in dict.fromkeys((named, place / BEST, *checkpoint_files(place))):
            if file.is_file() and file_hash(file) == measured.get("sha256"):
                return file
    return None


def _why_no_checkpoint(folder: Path, protocol: Mapping[str, Any]) -> str:
    measured = protocol.get("checkpoint")
    if not isinstance(measured, Mapping):
        return "These scores are of embeddings whose model is not known, so there are no pictures."
    return (
        f"The scored weights ({measured.get('file')}, SHA-256 {measured.get('sha256')}...) are neither in {folder} "
        "nor in the run it belongs to: they were deleted, or training went on. "
        "`metricforge test CONFIG CHECKPOINT` scores those that are there."
    )


def _embed(
    config: Mapping[str, Any],
    checkpoint: Path,
    scored: RunScores,
    console: Console,
    device: str | None,
    overrides: Mapping[str, Any] | None,
    training_images: int,
) -> TestImages:
    runner = build_runner(config, overrides=overrides, checkpoint=checkpoint, device=device, console=console)
    dataset = runner.test_dataloader.dataset
    measured: Any = scored.protocol.get("dataset") or {}
    if dataset.fingerprint() != measured.get("fingerprint"):
        raise ComparisonError(
            f"{scored.path}: was measured on {measured.get('name')} (fingerprint {measured.get('fingerprint')}), and "
            f"the images that are there now are others: {dataset.describe()} ({dataset.fingerprint()}); restore "
            f"them, or evaluate again with `metricforge test CONFIG {checkpoint}` and name the folder that it prints"
        )
    context = runner.test_loop.embed(runner.model)
    assert context is not None, "a report is made by one process"
    return TestImages(dataset, runner.model, context, embed_training_images(runner, training_images))
