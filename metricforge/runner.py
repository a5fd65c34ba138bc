"""``build_runner``: turn a config into a runner that is ready to train or test."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config
from rich.console import Console
from torch.utils.data import DataLoader

from metricforge.assembly.open_config import open_config, refuse_faults
from metricforge.assembly.run_datasets import (
    RunDatasets,
    build_run_datasets,
    evaluation_loader,
    set_reading,
    take_vector_size,
    training_loader,
    validation_loader,
)
from metricforge.assembly.run_evaluators import build_evaluators, check_evaluators
from metricforge.assembly.run_hooks import build_hooks, refuse_absent_scores
from metricforge.assembly.run_model import build_run_model
from metricforge.datasets import ImageDataset
from metricforge.engine.chosen_device import chosen_device
from metricforge.engine.distributed.agreement import check_same, check_same_images
from metricforge.engine.distributed.processes import Processes, join_processes
from metricforge.engine.distributed.start_facts import start_facts
from metricforge.engine.hooks.checkpoint_hook import SAVE_BEST
from metricforge.engine.loops.chunk_check import check_chunk
from metricforge.engine.loops.never_comes import too_short
from metricforge.engine.loops.step_switches import check_step_switches, wrapper_device_faults
from metricforge.engine.memory_reuse import keep_freed_memory
from metricforge.engine.metric_runner import MetricRunner
from metricforge.engine.readout.chosen_checkpoint import take_readout
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.engine.records.config_changes import settings_of
from metricforge.engine.records.resume_point import find_resume_point, run_settings
from metricforge.engine.records.run_folder import check_evaluation_folder, give_back_run_folder, take_run_folder
from metricforge.engine.records.weight_choice import WeightChoice
from metricforge.errors import ConfigError, DatasetError
from metricforge.models import MetricLearner
from metricforge.plugins import load_plugins
from metricforge.registry import CLUSTERINGS, SAMPLERS, plugin_types
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.run_lock import RunLock
from metricforge.samplers import BatchSampler


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
    cfg, source = open_config(config, overrides, seed)
    load_plugins()
    weights = None if checkpoint is None else Path(checkpoint)
    refuse_faults(cfg, source, train=weights is None)
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
    refuse_faults(cfg, source, train=weights is None, num_classes=num_classes)

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


def check_job(config: str | Path, overrides: Mapping[str, Any] | None, seed: int | None, processes: int) -> None:
    """Refuse what a training by so many ``processes`` would end with before its first update; no model is built.

    Data that cannot be read from here are left to the machines that train.

    Raises:
        ConfigError: everything that is wrong with the config, or a batch that the number does not divide.
    """
    cfg, source = open_config(config, overrides, seed)
    load_plugins()
    refuse_faults(cfg, source, train=True)
    try:
        data = build_run_datasets(cfg, train=True)
    except DatasetError:
        return
    assert data.train is not None
    take_vector_size(cfg, data)
    refuse_faults(cfg, source, train=True, num_classes=data.train.num_classes)
    _build_sampler(cfg.train_dataloader, data.train, int(cfg.get("seed", 0)), Processes(0, processes))


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
    check_evaluators(cfg, data.test, ("evaluators", "final_evaluators"))
    if data.validation not in (None, data.test):
        check_evaluators(cfg, data.validation, ("evaluators",), validates=True)

    model, readout = build_run_model(cfg, data, num_classes, device)
    set_reading(data.test, cfg.test_dataloader, "test_dataloader", decode="full")
    evaluators = build_evaluators(cfg, "evaluators", model)
    final_evaluators = build_evaluators(cfg, "final_evaluators", model)
    clustering = CLUSTERINGS.build(cfg.clustering, path="clustering") if cfg.get("clustering") else None
    test_loader = evaluation_loader(data.test, cfg.test_dataloader, device, processes)
    check_same_images(processes, data.named())
    train_loader, val_loader = None, None
    if data.train is not None and sampler is not None:
        train_loader = training_loader(data.train, sampler, cfg.train_dataloader, device, run_seed)
        val_loader = validation_loader(data, cfg, test_loader, device, processes)
        _check_loop(model, cfg.train_cfg, train_loader, device)
        faults = [*too_short(cfg, len(train_loader)), *wrapper_device_faults(cfg.optim_wrapper, device)]
        if faults:
            raise ConfigError(faults)
    hooks = build_hooks(cfg, data, sampler, device)
    point, settings = None, None
    if lock is not None:
        assert data.train is not None
        assert train_loader is not None
        images = data.train.fingerprint(), data.test.fingerprint()
        if data.validation is not None:
            data.validation.fingerprint()  # now, because a file may go before the first validation
            if isinstance(model.head.dim, int):
                refuse_absent_scores(hooks, readout, evaluators, len(data.validation), model.head.dim)
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
        runner.scored.read()  # at once, for whoever takes the model without a call of test()
    return runner


def _check_loop(
    model: MetricLearner, loop: Mapping[str, Any], loader: DataLoader[dict[str, Any]], device: torch.device
) -> None:
    """Raise ConfigError for what ``loop``, the config's ``train_cfg``, asks of a model, batch or device in vain."""
    check_chunk(model, loader, loop.get("chunk"), loop.get("batch_norm_per_chunk", False))
    compiled, channels_last = loop.get("compile", False), loop.get("channels_last", False)
    check_step_switches(model, device, loop.get("precision", "fp32"), compiled=compiled, channels_last=channels_last)


def _classes_of_checkpoint(weights: Path | None) -> int | None:
    assert weights is not None
    return load_checkpoint(weights)["meta"]["num_classes"]


def _choice(cfg: Config, data: RunDatasets) -> WeightChoice:
    if data.validation is None:
        return WeightChoice(reason=data.reason)
    return WeightChoice(
        score=(cfg.get("checkpoint") or {}).get("save_best", SAVE_BEST),
        by="test classes" if data.validation is data.test else "validation classes",
        classes=data.validation.num_classes,
        images=len(data.validation),
    )


@contextmanager
def _without_mmengine_s_warnings() -> Iterator[None]:
    """Hide mmengine's own deprecations, on which no user of ours can act."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="mmengine")
        warnings.filterwarnings("ignore", category=FutureWarning, module="mmengine")
        yield


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
