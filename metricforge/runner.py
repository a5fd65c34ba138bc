"""``build_runner``: turn a config into a runner that is ready to train or test."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from rich.console import Console

from metricforge.arrays import Indices
from metricforge.config import complete_config, override_config, read_config
from metricforge.config_check import check_config
from metricforge.datasets import ImageDataset
from metricforge.engine.chosen_device import chosen_device
from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.distributed.agreement import check_same, check_same_images
from metricforge.engine.distributed.processes import Processes, join_processes
from metricforge.engine.distributed.start_facts import start_facts
from metricforge.engine.hooks.baseline_hook import BaselineHook
from metricforge.engine.hooks.checkpoint_hook import SAVE_BEST, CheckpointHook
from metricforge.engine.hooks.console_hook import ConsoleHook
from metricforge.engine.hooks.doctor_hook import DoctorHook
from metricforge.engine.hooks.early_stopping_hook import EarlyStoppingHook
from metricforge.engine.hooks.embedding_bank_hook import EmbeddingBankHook
from metricforge.engine.hooks.stop_hook import StopHook
from metricforge.engine.hooks.time_budget_hook import TimeBudgetHook
from metricforge.engine.loading.input_size import check_input_size
from metricforge.engine.loading.seeding import derive_seed, seed_all
from metricforge.engine.loops.score_names import refuse_absent_score
from metricforge.engine.memory_reuse import keep_freed_memory
from metricforge.engine.metric_runner import MetricRunner
from metricforge.engine.readout.chosen_checkpoint import take_readout
from metricforge.engine.readout.readout_options import readout_options
from metricforge.engine.readout.readout_step import ReadoutStep
from metricforge.engine.records.checkpoints import checkpoint_files, load_checkpoint
from metricforge.engine.records.config_changes import settings_of
from metricforge.engine.records.resume_point import find_resume_point, run_settings
from metricforge.engine.records.run_folder import check_evaluation_folder, give_back_run_folder, take_run_folder
from metricforge.engine.records.run_lock import RunLock
from metricforge.engine.records.weight_choice import WeightChoice
from metricforge.errors import ConfigError, DatasetError
from metricforge.evaluation.context import EvaluationContext
from metricforge.evaluation.evaluate import plan_evaluation
from metricforge.interfaces import Evaluator
from metricforge.models import MetricLearner, check_similarity_is_trained
from metricforge.plugins import load_plugins
from metricforge.registry import CLUSTERINGS, EVALUATORS, HOOKS, SAMPLERS, plugin_types
from metricforge.run_datasets import (
    RunDatasets,
    build_run_datasets,
    evaluation_loader,
    read_as_test_images,
    set_reading,
    take_backbone_transform,
    take_vector_size,
    training_loader,
    validation_loader,
)
from metricforge.samplers import BatchSampler, EmbeddingBatchSampler
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet, Role


def build_runner(
    config: str | Path | Mapping[str, Any],
    *,
    overrides: Mapping[str, Any] | None = None,
    work_dir: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    allow_changes: bool = False,
    checkpoint: str | Path | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    console: Console | None = None,
) -> MetricRunner:
    """Build what trains (``.train()``) or, given a ``checkpoint``, evaluates (``.test()``) the model of a config.

    Everything is checked first: the config's faults are reported together, and a data set that is absent is said before
    a model is built.

    In the processes that ``torchrun`` starts each calls it, and ``.train()`` or ``.test()`` after it. Batch sizes are
    of the batch of all processes together, so the same config trains the same with any number of them.

    Args:
        config: a config file, or its content, which the run's folder then has as ``<loss>_<data set>.py``, such as
            ``triplet_image_folder.py``.
        overrides: values to replace, ``{"model.loss.margin": 0.5}``.
        work_dir: the run's folder. By default ``runs/<config's name>`` for training, numbered where that is taken
            already. An evaluation writes into ``evaluations/<checkpoint>-<n>`` beside the checkpoint, or into
            ``work_dir``, where no run and no other evaluation may be.
        resume: go on from the newest checkpoint in ``work_dir``; "auto": if there is one, otherwise begin.
        allow_changes: resume even where the config differs in more than epochs, evaluators, logging and workers; the
            changes take effect and stand in the run's history.
        checkpoint: evaluate these weights, which ``.model`` then has; no training set is needed.
        seed: replaces the config's.
        device: "cpu", "cuda", "cuda:1", ...; by default a GPU where there is one. Under ``torchrun``, "cuda" is a GPU
            for each process.
        console: where a person reads; by default the terminal.

    Raises:
        ConfigError: everything that is wrong with the config.
        DatasetError: a data set that is not there or not whole.
        CheckpointError: a checkpoint that cannot be read, or is of another model.
        RunFolderError: a folder that another training is using.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     runner = build_runner("normsoftmax_glyphs", work_dir=folder, device="cpu")
        ...     print(runner.max_epochs, runner.model.head.dim)
        6 128
    """
    cfg, source = _read(config, overrides, seed)
    load_plugins()
    weights = None if checkpoint is None else Path(checkpoint)
    _check(cfg, source, train=weights is None)
    if weights is not None:
        take_readout(cfg, weights)
    where = chosen_device(join_processes(device))
    processes = Processes.current()
    if processes.several:
        asked = {"--resume": resume, "--allow-changes": allow_changes, "checkpoint": weights and weights.name}
        check_same(processes, start_facts(cfg.to_dict(), asked | {"device": where.type}))
    if where.type == "cpu":
        keep_freed_memory()
    data = build_run_datasets(cfg, train=weights is None)
    take_vector_size(cfg, data)
    num_classes = data.train.num_classes if data.train is not None else _classes_of_checkpoint(weights)
    _check(cfg, source, train=weights is None, num_classes=num_classes)

    if allow_changes and not resume:
        raise ConfigError(
            ["--allow-changes: is for a run that --resume takes up; add it, or leave this out"], "the command"
        )
    folder = None if work_dir is None else Path(work_dir)
    lock, resumes = None, False
    if weights is None:
        name = Path(source.rpartition("::")[2] if source != "the config" else cfg.filename).stem
        lock, resumes = _take_run_folder(name, folder, resume, processes)
    elif folder is not None:
        check_evaluation_folder(folder)
    try:
        return _build(
            cfg,
            data=data,
            num_classes=num_classes,
            lock=lock,
            folder=folder,
            device=where,
            console=(console or Console()) if processes.is_main else Console(quiet=True),
            resume=resumes,
            allow_changes=allow_changes,
            weights=weights,
        )
    except BaseException:
        if lock is not None and processes.is_main:
            give_back_run_folder(lock)
        raise


def _build(
    cfg: Config,
    *,
    data: RunDatasets,
    num_classes: int | None,
    lock: RunLock | None,
    folder: Path | None,
    device: torch.device,
    console: Console,
    resume: bool,
    allow_changes: bool,
    weights: Path | None,
) -> MetricRunner:
    """Build the runner of a checked config and its data sets, which trains into the folder of ``lock``."""
    processes = Processes.current()
    run_seed = int(cfg.get("seed", 0))
    recorded = plugin_types({key: value for key, value in cfg.items() if key != "plugins"})
    if recorded:
        cfg.plugins = recorded
    sampler = None
    if data.train is not None:
        sampler = _build_sampler(cfg.train_dataloader, data.train, run_seed, processes)
    # before weights are read, and long before the first evaluation
    _check_evaluators(cfg, data.test, ("evaluators", "final_evaluators"))

    seed_all(derive_seed(run_seed))  # the initial weights follow from the seed as well
    model = MetricLearner.from_config(cfg.model, num_classes, for_checkpoint=weights is not None)
    readout = None
    if data.train is not None:
        check_similarity_is_trained(model, num_classes)
        readout = _build_readout(cfg, data, model, device)
    take_backbone_transform(cfg.test_dataloader.dataset, data.test, model)
    if data.train is not None:
        check_input_size(model.backbone, data.train, "train_dataloader")
    check_input_size(model.backbone, data.test, "test_dataloader")
    set_reading(data.test, cfg.test_dataloader, "test_dataloader", decode="full")
    evaluators = _build_evaluators(cfg, "evaluators", model)
    final_evaluators = _build_evaluators(cfg, "final_evaluators", model)
    clustering = CLUSTERINGS.build(cfg.clustering, path="clustering") if cfg.get("clustering") else None
    checkpoints = CheckpointHook(**cfg.get("checkpoint", {}))
    hooks = [ConsoleHook(), checkpoints, BaselineHook(cfg.get("baselines") or {}), StopHook()]
    if cfg.get("doctor", {}) is not None and weights is None:
        hooks.append(DoctorHook(Bounds(**cfg.get("doctor", {}))))
    test_loader = evaluation_loader(data.test, cfg.test_dataloader, device, processes)
    check_same_images(processes, data.named())
    train_loader, val_loader = None, None
    if data.train is not None and sampler is not None:
        train_loader = training_loader(data.train, sampler, cfg.train_dataloader, device, run_seed)
        val_loader = validation_loader(data, cfg, test_loader, device, processes)
        if isinstance(sampler, EmbeddingBatchSampler):
            seen = read_as_test_images(data.test, data.train, cfg.test_dataloader)
            hooks.append(EmbeddingBankHook(sampler, evaluation_loader(seen, cfg.test_dataloader, device, processes)))
    hooks += [_build_hook(hook, f"custom_hooks[{number}]") for number, hook in enumerate(cfg.get("custom_hooks") or [])]
    if data.train is not None and cfg.train_cfg.get("max_minutes") is not None:
        hooks.append(TimeBudgetHook(cfg.train_cfg.max_minutes))
    point, settings = None, None
    if lock is not None:
        assert data.train is not None
        assert train_loader is not None
        images = data.train.fingerprint(), data.test.fingerprint()
        if data.validation is not None:
            data.validation.fingerprint()  # now, because a file may go before the first validation
            dim = model.head.dim
            read = [(checkpoints.save_best, "checkpoint.save_best")]
            read += [
                (hook.monitor, "EarlyStoppingHook.monitor") for hook in hooks if isinstance(hook, EarlyStoppingHook)
            ]
            if readout is not None:
                read.append((readout.options.score, "readout.score"))
            for score, path in read:
                if score is not None and isinstance(dim, int):
                    refuse_absent_score(score, evaluators, len(data.validation), dim, path)
        settings = run_settings(settings_of(cfg.to_dict()), *images, len(train_loader))
        if resume:  # before the run's own config is written over
            find = partial(find_resume_point, lock.folder, settings, allow_changes=allow_changes)
            point = processes.from_main(find)
    with _without_mmengine_s_warnings():
        runner = MetricRunner(
            cfg=cfg,
            model=model,
            lock=lock,
            run_dir=folder if lock is None else lock.folder,
            device=device,
            console=console,
            seed=run_seed,
            num_classes=num_classes,
            train_loader=train_loader,
            val_loader=val_loader,
            test_loader=test_loader,
            choice=_choice(cfg, data),
            evaluators=evaluators,
            final_evaluators=final_evaluators,
            clustering=clustering,
            hooks=hooks,
            resume=point,
            settings=settings,
            readout=readout,
            weights=weights,
        )
    if weights is not None:
        runner.read_weights()  # at once, for whoever takes the model without a call of test()
    return runner


def _classes_of_checkpoint(weights: Path | None) -> int | None:
    assert weights is not None
    return load_checkpoint(weights)["meta"]["num_classes"]


def _choice(cfg: Config, data: RunDatasets) -> WeightChoice:
    if data.validation is None:
        return WeightChoice(reason=data.reason)
    return WeightChoice(
        score=cfg.get("checkpoint", {}).get("save_best", SAVE_BEST),
        by="test classes" if data.validation is data.test else "validation classes",
        classes=data.validation.num_classes,
        images=len(data.validation),
    )


def _build_readout(cfg: Config, data: RunDatasets, model: MetricLearner, device: torch.device) -> ReadoutStep | None:
    """What chooses among frozen, adapted and trained weights; ``model`` still has its pretrained ones."""
    options = readout_options(cfg)
    if options is None or cfg.train_cfg.get("val_interval", 1) == 0:
        return None
    if model.backbone.gives_tokens:
        if "readout" in cfg:
            raise ConfigError(
                [f"readout: {type(model.backbone).__name__} gives tokens and no pooled feature to read; leave it out"]
            )
        return None
    assert data.train is not None
    fitting, unfitted = None, ""
    if cfg.train_dataloader.get("unreadable", "error") == "skip":
        unfitted = 'of train_dataloader.unreadable="skip"'
    else:
        try:
            some = data.train.at_most(options.max_images)
        except DatasetError:
            unfitted = f"{type(data.train).__name__} cannot leave images out, and has more than {options.max_images:,}"
        else:
            seen = read_as_test_images(data.test, some, cfg.test_dataloader)
            fitting = evaluation_loader(seen, cfg.test_dataloader, device, Processes.current())
    reason = ""
    if data.validation is None:
        reason = f"there are no validation classes{f' ({data.reason})' if data.reason else ''}"
    elif data.validation is data.test:
        reason = "the test classes validate, and they are never looked at for this"
    pretrained = {name: value.detach().cpu().clone() for name, value in model.backbone.state_dict().items()}
    return ReadoutStep(options, pretrained, fitting, reason, unfitted)


@contextmanager
def _without_mmengine_s_warnings() -> Iterator[None]:
    """Hide mmengine's own deprecations, on which no user of ours can act."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="mmengine")
        warnings.filterwarnings("ignore", category=FutureWarning, module="mmengine")
        yield


def _read(
    config: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None, seed: int | None
) -> tuple[Config, str]:
    """Return the completed config, its own modules imported, and what errors call it."""
    if isinstance(config, (str, Path)):
        source = str(config)
        cfg = read_config(config, overrides)
    else:
        source = "the config"
        cfg = Config(config.to_dict() if isinstance(config, Config) else dict(config))
        override_config(cfg, overrides or {})
    if seed is not None:
        cfg.seed = seed
    complete_config(cfg)
    if cfg.filename is None:  # what it is written as, and what the run's folder is called
        stem = Path(config.filename).stem if isinstance(config, Config) and config.filename else _short_name(cfg)
        object.__setattr__(cfg, "_filename", f"{stem}.py")
    for module in (cfg.get("custom_imports") or {}).get("imports") or []:
        try:
            import_module(module)
        except (Exception, SystemExit) as fault:  # a module of the user's own: whatever it raises is reported
            raise ConfigError(
                [f"custom_imports.imports: {module} cannot be imported ({type(fault).__name__}: {fault})"], source
            ) from fault
    return cfg, source


def _short_name(cfg: Config) -> str:
    """A name as the recipes have them, method and data: ``triplet_image_folder``."""
    parts = (cfg.get("model"), "loss", "Loss"), (cfg.get("test_dataloader"), "dataset", "Dataset")
    words = []
    for holder, key, ending in parts:
        part = holder.get(key) if isinstance(holder, Mapping) else None
        name = str(part.get("type", "")) if isinstance(part, Mapping) else ""
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|\W+", "_", name.removesuffix(ending))
        words.append(snake.strip("_").lower())
    return "_".join(filter(None, words)) or "run"


def _check(cfg: Config, source: str, *, train: bool, num_classes: int | None = None) -> None:
    faults = check_config(cfg, train=train, num_classes=num_classes)
    if faults:
        raise ConfigError(faults, source)


def _build_sampler(loader: Mapping[str, Any], train_set: ImageDataset, seed: int, processes: Processes) -> BatchSampler:
    sampler: BatchSampler = SAMPLERS.build(
        loader["sampler"],
        path="train_dataloader.sampler",
        labels=train_set.labels,
        groups=train_set.groups,
        seed=seed,
        rank=processes.rank,
        world_size=processes.world_size,
    )
    return sampler


def _check_evaluators(cfg: Config, images: ImageDataset, keys: Sequence[str]) -> None:
    """Raise ConfigError for evaluators that cannot score these ``images``, such as with a K beyond their number.

    What a head without ``dim`` makes is known only when the model is built; then the first evaluation finds out.
    """
    dim = (cfg.model.get("head") or {}).get("dim")
    if not isinstance(dim, int):
        return
    everything = np.arange(len(images))
    queries, gallery = _unembedded(images, everything), None
    if images.roles is not None:
        queries, gallery = (
            _unembedded(images, everything[(images.roles & role) != 0]) for role in (Role.QUERY, Role.GALLERY)
        )
    exclude = (cfg.get("test_cfg") or {}).get("exclude")
    try:
        context = EvaluationContext(queries, EuclideanSimilarity(), gallery, shared_ids=True, exclude=exclude)
    except ValueError as fault:
        raise ConfigError([f"test_cfg: {fault}"]) from fault
    for key in keys:
        for number, each in enumerate(cfg.get(key) or []):
            path = f"{key}[{number}]"
            evaluator = EVALUATORS.build(each, path=path, dim=dim)
            try:
                plan_evaluation(context, [evaluator])
            except ValueError as fault:
                raise ConfigError([f"{path}: on the {images.split} images: {fault}"]) from fault


def _unembedded(images: ImageDataset, chosen: Indices) -> EmbeddingSet:
    """Return the ``chosen`` of ``images`` without embeddings, for what depends on their number and classes alone."""
    cameras = None if images.cameras is None else images.cameras[chosen]
    return EmbeddingSet(np.broadcast_to(np.float32(0), (len(chosen), 8)), images.labels[chosen], chosen, None, cameras)


def _build_evaluators(cfg: Config, key: str, model: MetricLearner) -> list[Evaluator]:
    return [
        EVALUATORS.build(each, path=f"{key}[{number}]", dim=model.head.dim)
        for number, each in enumerate(cfg.get(key) or [])
    ]


def _build_hook(cfg: Mapping[str, Any], path: str) -> Hook:
    hook: Hook = HOOKS.build({key: value for key, value in cfg.items() if key != "priority"}, path=path)
    if "priority" in cfg:
        hook.priority = cfg["priority"]
    return hook


def _take_run_folder(
    name: str, work_dir: Path | None, resume: bool | Literal["auto"], processes: Processes
) -> tuple[RunLock, bool]:
    """Take the folder of a training, and say whether it takes up what is there; process 0 alone holds its lock."""
    taken: list[RunLock] = []

    def take() -> tuple[Path, bool]:
        taken.append(take_run_folder(name, work_dir, resume=resume))
        folder = taken[0].folder
        return folder, bool(checkpoint_files(folder)) if resume == "auto" else resume

    folder, resumes = processes.from_main(take)
    return taken[0] if taken else RunLock(folder), resumes
