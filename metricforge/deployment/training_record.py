"""What is known of a model's making: data, pretraining, how its weights were chosen, and its scores with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metricforge.backbones.pretraining import pretraining_of
from metricforge.engine.records.checkpoints import file_hash
from metricforge.evaluation import QueryScores, query_scores_path, read_query_scores, read_scores
from metricforge.evaluation.results.class_bootstrap import percentile_interval, resampled_means

LEVEL = 0.95
RESAMPLES = 10_000


def training_record(checkpoint: Path, meta: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``checkpoint`` and the scores beside it say of the model, as JSON's types; no path of this machine is in it.

    Args:
        checkpoint: the file.
        meta: what it holds besides weights.
        config: what it was trained by.
    """
    settings = meta.get("settings", {})
    trained = meta.get("readout") or config["model"]  # what a readout left out of its model
    record: dict[str, Any] = {
        "checkpoint": {"file": checkpoint.name, "sha256": file_hash(checkpoint)},
        "epoch": meta.get("epoch"),
        "iteration": meta.get("iteration"),
        "seed": meta.get("seed"),
        "choice": meta.get("choice"),
        "versions": {name: meta[name] for name in ("metricforge", "torch") if name in meta},
        "training": {
            "dataset": config.get("train_dataloader", {}).get("dataset", {}).get("type"),
            "fingerprint": settings.get("training images"),
            "classes": meta.get("num_classes"),
            "loss": _type(trained.get("loss")),
            "miner": _type(trained.get("miner")),
        },
        "plugins": dict(config.get("plugins", {})),
        "pretraining": pretraining_of(config["model"]["backbone"]),
    }
    evaluation = _evaluation_of(checkpoint, record["checkpoint"]["sha256"])
    return record | ({"evaluation": evaluation} if evaluation else {})


def _evaluation_of(checkpoint: Path, digest: str) -> dict[str, Any] | None:
    """The scores of this very checkpoint: its run's, or those of the newest test of it."""
    for path in _scores_files(checkpoint.parent):
        try:
            scores, protocol = read_scores(path)
            measured: Any = protocol.get("checkpoint")
            if not isinstance(measured, Mapping) or measured.get("sha256") != digest:
                continue
            beside = query_scores_path(path)
            queries = read_query_scores(beside) if beside.exists() else None
        except (ValueError, OSError):
            continue  # another tool's file, or one that is being written: the card goes without its scores
        intervals = {} if queries is None else dict(_intervals(scores, queries))
        return {"scores": scores, "intervals": intervals, "level": LEVEL, "protocol": protocol}
    return None


def _scores_files(folder: Path) -> list[Path]:
    tests = sorted(folder.glob("evaluations/*/scores.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    own = folder / "scores.json"
    return ([own] if own.is_file() else []) + tests


def _intervals(scores: Mapping[str, float], queries: QueryScores) -> Iterator[tuple[str, list[float]]]:
    """For each score that is a mean over queries, between what it lies by a bootstrap over classes."""
    for name in scores:
        if name not in queries.values:
            continue
        rows = queries.counted_for(name)
        labels = queries.labels[rows]
        if len(np.unique(labels)) < 2:
            continue
        means = resampled_means(queries.values[name][rows][:, None], labels, RESAMPLES, seed=0)
        lower, upper = percentile_interval(means, LEVEL)
        yield name, [float(lower[0]), float(upper[0])]


def _type(config: Any) -> str | None:
    if isinstance(config, list):  # of weighted losses
        return " + ".join(f"{part.get('weight', 1.0):g} {part['type']}" for part in config)
    return str(config["type"]) if isinstance(config, Mapping) and "type" in config else None
