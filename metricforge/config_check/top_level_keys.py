"""A config's top-level keys: what they hold, and in which shape."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metricforge.spelling import nearest

TOP_LEVEL = {
    "model": "backbone, head, similarity, miner and loss",
    "data_root": "the folder of the training and the test set, in place of their own root",
    "train_dataloader": (
        "dataset, sampler, num_workers, unreadable: error (by default) or skip, decode: fast (by default), full or "
        "device, cache: a folder, and fingerprint: sizes (by default) or bytes of the files"
    ),
    "test_dataloader": (
        "dataset, batch_size, num_workers, decode: full (by default), fast or device, cache: a folder, and "
        "fingerprint: sizes (by default) or bytes of the files"
    ),
    "validation": (
        "which training classes choose the weights: a share such as 0.1, folds and fold, a list or file of names, "
        '"val" (rows that the data set keeps for it), "test", or None: the last epoch'
    ),
    "readout": (
        "layers, interpolations, average, score, max_images: what validation classes choose among at the end; None: "
        "the weights of checkpoint.save_best, and the head. Without the key every run from pretrained weights, or on "
        "vectors, has one; readout=dict() is one from random weights"
    ),
    "evaluators": "a list of evaluators",
    "final_evaluators": "a list of evaluators for the test alone, because they take long",
    "clustering": "what groups the test images for NMI, AMI and F1: k-means by default",
    "baselines": "name -> model to compare with, untrained; its backbone is by default the model's own",
    "optim_wrapper": "optimizer, and how it is stepped",
    "param_scheduler": "a list of learning-rate schedulers",
    "train_cfg": (
        "max_epochs, warmup_epochs, val_interval, log_interval, chunk: images that are embedded at once, precision: "
        "fp32 (by default), bf16 or fp16, compile, channels_last, max_minutes: a time that the schedule fits itself "
        "to, hang_seconds: how long one of several processes may keep the others waiting, shard_backbone: each of them "
        "keeps a share of the backbone's weights"
    ),
    "test_cfg": (
        "scores_at_once: how many scores a search holds in memory; dtype: float32 (by default) or float16, what "
        "embeddings are kept in; mapped_above_gb: from which size on in a memory-mapped file; exclude: "
        '"same label and same camera" for re-identification'
    ),
    "checkpoint": (
        "interval, interval_iterations, max_keep, save_best, exit_code, on_error: stop or warn, background, sharded"
    ),
    "doctor": (
        "bounds beyond which a training is said to go wrong: spread, rank, margin, active, unseen, movement, "
        "untrained, gap, doubtful, waiting, each a number or None; readings, share; doctor=None says nothing"
    ),
    "custom_hooks": "a list of mmengine hooks",
    "custom_imports": "modules of your own to import first",
    "plugins": "type -> the distribution that it came with; a run writes it, so that others know what to install",
    "visualizer": "mmengine's visualizer, for TensorBoard, Weights & Biases, MLflow and others",
    "deterministic": "True: only kernels that give the same bits every time, or the name of the part that has none",
    "seed": "an integer from 0 to 2**31 - 1 that every random number follows from",
}
A_DICT, A_LIST = ((Mapping,), "a dict"), ((list, tuple), "a list")
SHAPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("model", "train_dataloader", "test_dataloader", "optim_wrapper", "train_cfg", "test_cfg"), A_DICT),
    **dict.fromkeys(("checkpoint", "baselines", "clustering", "custom_imports", "readout"), A_DICT),
    **dict.fromkeys(("visualizer", "plugins", "doctor"), A_DICT),
    **dict.fromkeys(("evaluators", "final_evaluators", "custom_hooks"), A_LIST),
    "param_scheduler": ((list, tuple, Mapping), "a list"),
    "data_root": ((str, Path), """a folder's path, in quotes if it is a number: data_root='"2020"'"""),
}


def shape_faults(config: Mapping[str, Any]) -> list[str]:
    """Top-level keys that hold something else than what the other checks look into, and what no file can hold."""
    faults = list(_unwritten(dict(config.items()), ""))
    for key, (kinds, what) in SHAPES.items():
        value = config.get(key)
        if value is not None and not isinstance(value, kinds):
            faults.append(f"{key}: {value!r} must be {what}; it holds {TOP_LEVEL[key]}")
    imports = config.get("custom_imports")
    if isinstance(imports, Mapping):
        known = ["imports", "allow_failed_imports"]
        faults += [
            f"custom_imports.{key}: there is no such key{nearest(key, known)}" for key in imports if key not in known
        ]
        names = imports.get("imports") or []
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
            faults.append(f"custom_imports.imports: {names!r} must be a list of modules' names")
    return faults


def _unwritten(value: Any, path: str) -> Iterator[str]:
    """Faults of what a run's own config file would not give back: arrays, NaN, keys that end their quotes."""
    if isinstance(value, (Mapping, list, tuple)):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            place = f"{path}[{key}]" if not isinstance(value, Mapping) else f"{path}.{key}" if path else f"{key}"
            if isinstance(key, str) and ("'" in key or "\\" in key):
                yield f"{place}: a key must be without ' and \\, so that the run's config file can hold it"
            yield from _unwritten(inner, place)
    elif not isinstance(value, (str, Path, range)) and not _reads_back(value):
        yield (
            f"{path}: {value!r} must be a number (NaN and infinity are none), text, a list or a dict, so that the "
            "run's config file can hold it"
        )


def _reads_back(value: object) -> bool:
    try:
        return bool(ast.literal_eval(str(value)) == value)
    except Exception:  # of any type: the value is no literal, or does not compare with one
        return False
