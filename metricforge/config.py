"""Reads a config, applies overrides, and finds every fault in it at once, each with its config path and the way out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mmengine
import mmengine.hooks
import mmengine.optim
import mmengine.registry
from mmengine.config import Config, ConfigDict

from metricforge.absent_types import note_recorded_types
from metricforge.component_arguments import accepted_arguments, argument_faults, is_component
from metricforge.config_files import find_base, find_config
from metricforge.datasets.validation_classes import validation_faults
from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.hooks.checkpoint_hook import CheckpointHook
from metricforge.engine.hooks.early_stopping_hook import EarlyStoppingHook
from metricforge.engine.hooks.swa_hook import SWAHook
from metricforge.engine.loops.embed_dataset import DTYPES
from metricforge.engine.loops.evaluation_loop import EvaluationLoop
from metricforge.engine.loops.step_switches import step_switch_faults
from metricforge.engine.loops.train_loop import ResumableTrainLoop
from metricforge.engine.optim.trial_step import failure, try_optim_wrapper, try_scheduler
from metricforge.engine.readout.readout_options import ReadoutOptions, is_pretrained
from metricforge.engine.tracker_backends import picture_faults, tracker_faults
from metricforge.errors import ConfigError
from metricforge.evaluation.evaluator import ClusterEvaluator
from metricforge.models import (
    compatibility_faults,
    is_loss_list,
    list_compatibility_faults,
    loss_list_faults,
    loss_list_types,
)
from metricforge.overrides import apply_overrides
from metricforge.registry import EVALUATORS, HOOKS, KINDS, Registry
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
        "the weights of checkpoint.save_best, and the head. Without the key every run from pretrained weights has one"
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
        "to, hang_seconds: how long one of several processes may keep the others waiting"
    ),
    "test_cfg": (
        "scores_at_once: how many scores a search holds in memory; dtype: float32 (by default) or float16, what "
        "embeddings are kept in; mapped_above_gb: from which size on in a memory-mapped file; exclude: "
        '"same label and same camera" for re-identification'
    ),
    "checkpoint": "interval, interval_iterations, max_keep, save_best, exit_code, on_error: stop or warn, background",
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
MOST_WORKERS = 1024  # of one process: a slip of the finger must not start as many as the system allows
REQUIRED = ("model", "test_dataloader", "evaluators")
REQUIRED_TO_TRAIN = ("train_dataloader", "optim_wrapper", "train_cfg")


def read_config(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the config ``name`` and apply ``overrides`` such as ``{"model.loss.margin": 0.5}``.

    Args:
        name: a file, or an installed config: ``normsoftmax_glyphs``, ``package::path``.
        overrides: dotted keys to values, as ``apply_overrides`` takes them.

    Raises:
        ConfigError: if it is absent or does not run, or an override does not fit.
    """
    path = find_config(name)
    try:
        with _bases_of_installed_packages():
            config = Config.fromfile(path)
    except ConfigError:
        raise
    except Exception as error:  # a config is Python code: whatever it raises is reported with the file that raised it
        raise ConfigError([_explain(error, path)], str(path)) from error
    override_config(config, overrides or {})
    return config


@contextmanager
def _bases_of_installed_packages() -> Iterator[None]:
    """Let ``_base_`` name installed configs: mmengine needs pkg_resources for that, which setuptools 81 dropped."""
    before = Config._get_cfg_path
    Config._get_cfg_path = staticmethod(lambda base, file: (str(find_base(base, file)), None))
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(before)


def override_config(config: Config, overrides: Mapping[str, Any]) -> None:
    """Apply ``overrides`` to ``config`` as ``apply_overrides`` does.

    Raises:
        ConfigError: if a key leads nowhere.
    """
    content = config.to_dict()
    apply_overrides(content, overrides)
    object.__setattr__(config, "_cfg_dict", ConfigDict(content))


def complete_config(config: Config) -> None:
    """Write out what a config may leave to others: ``data_root`` for both data sets, the backbone of a baseline.

    Raises:
        ConfigError: if a top-level key holds something else than a dict, a list or a path, whichever it needs.
    """
    faults = _shape_faults(config)
    if faults:
        raise ConfigError(faults, config.filename or "the config")
    for loader in ("train_dataloader", "test_dataloader"):
        if config.get("data_root") and isinstance(config.get(loader), Mapping) and config[loader].get("dataset"):
            config[loader].dataset.root = config.data_root
    for baseline in (config.get("baselines") or {}).values():
        if isinstance(baseline, dict) and config.get("model"):
            baseline.setdefault("backbone", config.model.get("backbone"))
    if isinstance(config.get("optim_wrapper"), Mapping):
        # one group for each setting and misspelt keys refused, unless a config brings its own constructor
        config.optim_wrapper.setdefault("constructor", "ParameterGroups")


def check_config(config: Mapping[str, Any], *, train: bool = True, num_classes: int | None = None) -> list[str]:
    """Every fault of ``config`` that can be seen without building a model; empty if there is none.

    Args:
        config: as ``read_config`` gives it, or a plain dict.
        train: whether it is to be trained with; evaluation alone needs less.
        num_classes: of the training set, to compare with; None: not known yet.
    """
    note_recorded_types(config.get("plugins"))
    faults = [
        f"{key}: there is no such top-level key{nearest(key, list(TOP_LEVEL))}; a name of your own begins with _"
        for key in config
        if key not in TOP_LEVEL and not str(key).startswith("_")
    ]
    misshapen = _shape_faults(config)
    if misshapen:  # the other checks look into them
        return faults + misshapen
    required = REQUIRED + (REQUIRED_TO_TRAIN if train else ())
    faults += [f"{key}: is missing; it holds {TOP_LEVEL[key]}" for key in required if not config.get(key)]
    if config.get("model"):
        faults += _model_faults(config["model"], "model", num_classes, needs_loss=train)
    for name, model in (config.get("baselines") or {}).items():
        faults += _model_faults(model, f"baselines.{name}", None, needs_loss=False)
    if train and config.get("train_dataloader"):
        faults += _train_dataloader_faults(config["train_dataloader"])
    if config.get("test_dataloader"):
        known = {"dataset", "batch_size", "num_workers", "decode", "cache", "fingerprint"}
        faults += _part_faults(config["test_dataloader"], "test_dataloader", known, {"dataset"})
    for key in ("evaluators", "final_evaluators"):
        for number, evaluator in enumerate(config.get(key) or []):
            faults += KINDS["evaluator"].faults(evaluator, f"{key}[{number}]", {"dim": None})
    if config.get("clustering"):
        faults += _clustering_faults(config)
    if config.get("test_cfg"):
        faults += _test_cfg_faults(config["test_cfg"])
    if train:
        faults += _training_faults(config)
    return faults + _other_plugin_faults(config)


def _other_plugin_faults(config: Mapping[str, Any]) -> list[str]:
    """Types that came with another distribution, when the config was saved, than the one that has them now."""
    recorded = config.get("plugins") or {}
    faults = []
    for name, before in recorded.items() if isinstance(recorded, Mapping) else ():
        now = {registry.source_of(name) for registry in (*KINDS.values(), HOOKS) if name in registry.module_dict}
        distribution = str(before).partition(" ")[0]
        if now and distribution not in {source.distribution for source in now}:
            owners = " and ".join(sorted(str(source) for source in now))
            faults.append(
                f"plugins.{name}: the config was saved with that of {before}, and now it is that of {owners}; install "
                f"{distribution}, or take plugins.{name} out to use the other one"
            )
    return faults


def _shape_faults(config: Mapping[str, Any]) -> list[str]:
    """Top-level keys that hold something else than what the other checks look into."""
    faults = []
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


def _model_faults(model: Any, path: str, num_classes: int | None, *, needs_loss: bool) -> list[str]:
    kinds = ("backbone", "head", "similarity", "miner", "loss")
    if not isinstance(model, Mapping):
        return [f"{path}: {model!r} must be a dict with the keys {', '.join(kinds)}"]
    faults = [
        f"{path}.{key}: a model has no such part{nearest(key, list(kinds))}"
        for key in model
        if key not in (*kinds, "train_similarity", "freeze", "freeze_stages")
    ]
    patterns, stages = model.get("freeze") or [], model.get("freeze_stages") or 0
    if not isinstance(patterns, str) and not (
        isinstance(patterns, (list, tuple)) and all(isinstance(pattern, str) and pattern for pattern in patterns)
    ):
        faults.append(f'{path}.freeze: {patterns!r} must be a list of names, such as ["backbone.model.blocks.0"]')
    if isinstance(stages, bool) or not isinstance(stages, int) or stages < 0:
        faults.append(f"{path}.freeze_stages: {stages!r} must be an integer >= 0")
    if not isinstance(model.get("train_similarity", True), bool):
        faults.append(f"{path}.train_similarity: {model['train_similarity']!r} must be True or False")
    needed = ("backbone", "loss") if needs_loss else ("backbone",)
    faults += [f"{path}.{key}: is missing; choose one of {KINDS[key].names()}" for key in needed if not model.get(key)]
    unknown = {"dim": None, "num_classes": num_classes}
    for kind in kinds:
        if kind == "loss" and is_loss_list(model.get(kind)):
            faults += loss_list_faults(model[kind], f"{path}.{kind}", unknown)
        elif model.get(kind):
            # a backbone's: the data set fills it in, where it has vectors
            derived = {"feature_dim": None} if kind in ("backbone", "head") else unknown
            faults += KINDS[kind].faults(model[kind], f"{path}.{kind}", derived)
    miner, loss = (_class_of(KINDS[kind], model.get(kind)) for kind in ("miner", "loss"))
    if model.get("miner") and miner is None:  # a miner with a misspelt type is one fault, not two
        return faults
    if not is_loss_list(model.get("loss")):
        return faults + compatibility_faults(miner, loss, path)
    types = loss_list_types(model["loss"])
    return faults + (list_compatibility_faults(miner, types, path) if types else [])


def _class_of(registry: Registry, cfg: Any) -> Any:
    return registry.get(cfg["type"]) if is_component(cfg) and cfg["type"] in registry else None


def _train_dataloader_faults(loader: Any) -> list[str]:
    path = "train_dataloader"
    known = {"dataset", "sampler", "num_workers", "unreadable", "decode", "cache", "fingerprint"}
    faults = _part_faults(loader, path, known, {"dataset"})
    if not isinstance(loader, Mapping):
        return faults
    if loader.get("unreadable", "error") not in ("error", "skip"):
        faults.append(f'{path}.unreadable: {loader["unreadable"]!r} must be "error" or "skip"')
    if not loader.get("sampler"):
        faults.append(
            f"{path}.sampler: is missing, so images would come in their stored order, one class after the other; "
            f"choose one of {KINDS['sampler'].names()}"
        )
    else:
        derived = {"labels": None, "groups": None, "seed": None, "rank": None, "world_size": None}
        faults += KINDS["sampler"].faults(loader["sampler"], f"{path}.sampler", derived)
    return faults


def _part_faults(part: Any, path: str, known: set[str], datasets: set[str]) -> list[str]:
    if not isinstance(part, Mapping):
        return [f"{path}: {part!r} must be a dict with the keys {', '.join(sorted(known))}"]
    faults = [f"{path}.{key}: there is no such key{nearest(key, sorted(known))}" for key in part if key not in known]
    for key, low, high in (("batch_size", 1, 2**31 - 1), ("num_workers", 0, MOST_WORKERS)):
        number = part.get(key, low)
        if key in known and (isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high):
            faults.append(f"{path}.{key}: {number!r} must be an integer from {low} to {high}")
    if part.get("decode", "full") not in ("full", "fast", "device"):
        faults.append(f'{path}.decode: {part["decode"]!r} must be "full", "fast" or "device"')
    if part.get("fingerprint", "sizes") not in ("sizes", "bytes"):
        faults.append(f'{path}.fingerprint: {part["fingerprint"]!r} must be "sizes" or "bytes"')
    if part.get("decode") == "device":
        for key, wanted in (("cache", part.get("cache")), ("unreadable", part.get("unreadable") == "skip")):
            if wanted:
                faults.append(
                    f'{path}.{key}: {part[key]!r} is for images that workers decode; leave it out, or decode="device"'
                )
    if not isinstance(part.get("cache", ""), str):
        faults.append(f"{path}.cache: {part['cache']!r} must be the name of a folder")
    for key in sorted(datasets):
        if not part.get(key):
            faults.append(f"{path}.{key}: is missing; choose one of {KINDS['dataset'].names()}")
            continue
        faults += KINDS["dataset"].faults(part[key], f"{path}.{key}", {})
        if isinstance(part[key], Mapping):
            steps = part[key].get("transform") or []
            if not isinstance(steps, (list, tuple)):
                faults.append(f"{path}.{key}.transform: {steps!r} must be a list of transforms")
                continue
            for number, transform in enumerate(steps):
                faults += KINDS["transform"].faults(transform, f"{path}.{key}.transform[{number}]", {})
    return faults


def _training_faults(config: Mapping[str, Any]) -> list[str]:
    faults: list[str] = []
    loop = config.get("train_cfg")
    if loop:
        faults += _keyword_faults(ResumableTrainLoop, loop, "train_cfg", {"runner", "dataloader"}) or _below(loop)
    if config.get("checkpoint"):
        faults += _keyword_faults(CheckpointHook, config["checkpoint"], "checkpoint", set()) or failure(
            lambda: CheckpointHook(**config["checkpoint"]), "checkpoint"
        )
    if config.get("readout") is not None:
        faults += _readout_faults(config)
    if config.get("doctor"):
        faults += _keyword_faults(Bounds, config["doctor"], "doctor", set()) or failure(
            lambda: Bounds(**config["doctor"]), "doctor"
        )
    wrapper = config.get("optim_wrapper")
    if wrapper:
        faults += _optim_wrapper_faults(wrapper)
    schedulers = config.get("param_scheduler") or []
    for number, scheduler in enumerate(schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]):
        path = f"param_scheduler[{number}]"
        faults += _library_faults(
            mmengine.registry.PARAM_SCHEDULERS, scheduler, path, {"optimizer"}, {"convert_to_iter_based"}
        ) or failure(partial(try_scheduler, scheduler), path)
    for number, hook in enumerate(config.get("custom_hooks") or []):
        own = {key: value for key, value in hook.items() if key != "priority"} if isinstance(hook, Mapping) else hook
        faults += HOOKS.faults(own, f"custom_hooks[{number}]", {})
    faults += step_switch_faults(config)
    faults += tracker_faults(config.get("visualizer"))
    faults += picture_faults(config.get("custom_hooks"), config.get("visualizer"))
    faults += validation_faults(config.get("validation")) or _unread_validation(config)
    if not isinstance(config.get("deterministic", False), bool):
        faults.append(f"deterministic: {config['deterministic']!r} must be True or False")
    seed = config.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        faults.append(f"seed: {seed!r} must be an integer from 0 to {2**31 - 1}")
    return faults


def _readout_faults(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with a readout, or keeps one that the config asks for from taking effect."""
    options = config["readout"]
    faults = _keyword_faults(ReadoutOptions, options, "readout", set()) or failure(
        lambda: ReadoutOptions(**options), "readout"
    )
    if config.get("validation") in (None, "test"):
        seen = "there are none" if config.get("validation") is None else 'validation="test" has the test classes alone'
        faults.append(
            f"readout: chooses on validation classes, and {seen}; set training classes aside (validation=0.1), or "
            "leave readout out, or set it to None"
        )
    backbone = (config.get("model") or {}).get("backbone")
    if backbone is not None and is_component(backbone) and not is_pretrained(config):
        faults.append(
            f"readout: {backbone['type']} begins without pretrained weights, so there is nothing to compare with; name "
            "them (model.backbone.pretrained=True or weights=FILE), or leave readout out, or set it to None"
        )
    return faults


def _unread_validation(config: Mapping[str, Any]) -> list[str]:
    """What reads validation scores that there will not be, or scores that nothing reads."""
    never = config.get("train_cfg") and config["train_cfg"].get("val_interval", 1) == 0
    if config.get("validation") is not None:
        return [
            "train_cfg.val_interval: 0 never validates, so the classes of validation are set aside for nothing; "
            "leave it out, or set validation=None"
        ] * bool(never)
    way_out = "set training classes aside (validation=0.1)"
    doctor = config.get("doctor") or {}
    best = (config.get("checkpoint") or {}).get("save_best")
    faults = [
        f"checkpoint.save_best: {best!r} is chosen by on validation classes, and there are none; {way_out}, or "
        "leave it out: the weights of the last epoch score the test"
    ] * bool(best)
    if isinstance(doctor, Mapping) and doctor.get("gap") is not None:
        faults.append(f"doctor.gap: {doctor['gap']!r} is of validation classes, and there are none; {way_out}")
    for number, hook in enumerate(config.get("custom_hooks") or []):
        if isinstance(hook, Mapping) and ("monitor" in hook or hook.get("type") == "EarlyStoppingHook"):
            score = hook.get("monitor", "recall@1")
            faults.append(f"custom_hooks[{number}].monitor: {score!r} needs a validation, and there is none; {way_out}")
    return faults


def _clustering_faults(config: Mapping[str, Any]) -> list[str]:
    faults = KINDS["clustering"].faults(config["clustering"], "clustering", {"dim": None})
    if not any(map(_may_read_clusters, [config.get("evaluators"), config.get("final_evaluators")])):
        faults.append('clustering: no evaluator reads clusters; add one that does, such as dict(type="NMI")')
    return faults


def _may_read_clusters(evaluators: Any) -> bool:
    """Whether one of ``evaluators``, nested ones included, reads the clusters of the config's ``clustering``."""
    if not isinstance(evaluators, Mapping):
        return isinstance(evaluators, (list, tuple)) and any(map(_may_read_clusters, evaluators))
    name = evaluators.get("type")
    if isinstance(name, str) and name in EVALUATORS:
        cls = EVALUATORS.get(name)
        if issubclass(cls, ClusterEvaluator) or EVALUATORS.source_of_type(name) is not None:
            return True
    return "clustering" not in evaluators and any(map(_may_read_clusters, evaluators.values()))


def _test_cfg_faults(cfg: Any) -> list[str]:
    injected = {"runner", "dataloader", "evaluators", "final_evaluators", "mode", "clustering"}
    faults = _keyword_faults(EvaluationLoop, cfg, "test_cfg", injected)
    if isinstance(cfg, Mapping):
        dtype, gigabytes = cfg.get("dtype", DTYPES[0]), cfg.get("mapped_above_gb", 0)
        if dtype not in DTYPES:
            faults.append(f"test_cfg.dtype: {dtype!r} must be one of {', '.join(DTYPES)}")
        if isinstance(gigabytes, bool) or not isinstance(gigabytes, (int, float)) or not gigabytes >= 0:
            faults.append(f"test_cfg.mapped_above_gb: {gigabytes!r} must be a number >= 0; 0 maps every array")
    return faults


def _optim_wrapper_faults(wrapper: Any) -> list[str]:
    path = "optim_wrapper"
    if not isinstance(wrapper, Mapping) or not is_component(wrapper.get("optimizer")):
        return [f"{path}.optimizer: is missing; for example optimizer=dict(type='SGD', lr=0.01, momentum=0.9)"]
    faults = _library_faults(mmengine.registry.OPTIMIZERS, wrapper["optimizer"], f"{path}.optimizer", {"params"}, set())
    own = {"type": "OptimWrapper"} | {k: v for k, v in wrapper.items() if k not in ("constructor", "paramwise_cfg")}
    faults += _library_faults(mmengine.registry.OPTIM_WRAPPERS, own, path, set(), set())
    if not isinstance(wrapper["optimizer"].get("lr", 1.0), (int, float)):
        faults.append(f"{path}.optimizer.lr: {wrapper['optimizer']['lr']!r} must be a number")
    return faults or failure(partial(try_optim_wrapper, wrapper), path)


def _below(loop: Mapping[str, Any]) -> list[str]:
    """Numbers of ``train_cfg`` that are too small."""
    least = {"max_epochs": 1, "warmup_epochs": 0, "val_interval": 0, "log_interval": 1}
    faults = [
        f"train_cfg.{name}: {loop[name]!r} must be >= {low}" for name, low in least.items() if loop.get(name, low) < low
    ]
    seconds = loop.get("hang_seconds", 1)
    return faults if seconds > 0 else [*faults, f"train_cfg.hang_seconds: {seconds!r} must be > 0"]


def _library_faults(registry: Any, cfg: Any, path: str, injected: set[str], extra: set[str]) -> list[str]:
    """Faults of a component that mmengine or torch has: its own registries fall back to importing any dotted name."""
    if not is_component(cfg):
        return [f"{path}: {cfg!r} must be a dict with a type"]
    if not isinstance(cfg["type"], str) or cfg["type"] not in registry.module_dict:
        guess = nearest(str(cfg["type"]), sorted(registry.module_dict))
        return [f'{path}.type: "{cfg["type"]}" is not a known {registry.name}{guess}']
    known = {key: value for key, value in cfg.items() if key not in extra}
    return argument_faults(registry.module_dict[cfg["type"]], known, path, dict.fromkeys(injected))


def _keyword_faults(cls: Callable[..., Any], cfg: Any, path: str, injected: set[str]) -> list[str]:
    """Faults of a dict that is handed to ``cls`` as keywords."""
    if not isinstance(cfg, Mapping):
        return [f"{path}: {cfg!r} must be a dict"]
    accepted = [name for name in accepted_arguments(cls) or {} if name not in injected]
    faults = [f"{path}.{key}: there is no such key{nearest(key, accepted)}" for key in cfg if key not in accepted]
    missing = argument_faults(
        cls, {"type": path} | {k: cfg[k] for k in cfg if k in accepted}, path, dict.fromkeys(injected)
    )
    return faults + missing


def _explain(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} is not Python: {error.msg}: {(error.text or '').strip()}"
    if isinstance(error, RuntimeError) and not str(error):
        return "a config may not import and call modules; write values, or compute them in a module of custom_imports"
    if isinstance(error, FileNotFoundError):
        return f"a file of _base_ is missing: {error}"
    return f"{type(error).__name__}: {error}"


# the hooks are registered by being imported
__all__ = ["EarlyStoppingHook", "SWAHook", "check_config", "complete_config", "read_config"]
