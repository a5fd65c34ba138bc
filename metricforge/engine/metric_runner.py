"""mmengine's Runner with safer defaults: quiet, exact about checkpoints, on the device it is told."""

from __future__ import annotations

import logging
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console
from torch.utils.data import DataLoader

from metricforge.atomic_write import write_atomically
from metricforge.disk_errors import disk_failure
from metricforge.engine.checkpoint_content import checkpoint_content
from metricforge.engine.distributed.process_watch import current_watch
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_backbone import shard_backbone
from metricforge.engine.distributed.sharded_parameters import find_row_shards, make_whole, take_out_rows
from metricforge.engine.hooks.checkpoint_hook import CheckpointHook
from metricforge.engine.hooks.time_budget_hook import TimeBudgetHook
from metricforge.engine.loops.cutoffs_within import cutoffs_beyond, cutoffs_within
from metricforge.engine.loops.deterministic_kernels import deterministic_kernels
from metricforge.engine.loops.evaluation_loop import EvaluationLoop
from metricforge.engine.loops.never_comes import never_comes
from metricforge.engine.loops.stop_signals import StopsAtOnce, StopSignals
from metricforge.engine.loops.train_loop import ResumableTrainLoop
from metricforge.engine.opening_lines import opening_lines
from metricforge.engine.optim.sharded_trial import sharded_optimizer_faults
from metricforge.engine.optim.sparse_rows_step import step_touched_rows
from metricforge.engine.readout.chosen_checkpoint import CHOSEN
from metricforge.engine.readout.readout_step import ReadoutStep
from metricforge.engine.records.checkpoint_writer import CheckpointWriter
from metricforge.engine.records.config_changes import TEST_IMAGES, TRAIN_IMAGES, Changes
from metricforge.engine.records.culprit import save_culprit
from metricforge.engine.records.loss_ledger import LossLedger
from metricforge.engine.records.nan_guard import refuse_non_finite_state
from metricforge.engine.records.resume_point import ResumePoint
from metricforge.engine.records.run_folder import take_evaluation_folder
from metricforge.engine.records.weight_choice import WeightChoice
from metricforge.engine.restore_run import restore_run
from metricforge.engine.scored_weights import ScoredWeights
from metricforge.errors import (
    CheckpointError,
    ConfigError,
    MetricForgeError,
    NonFiniteLossError,
    RunFolderError,
    TrainingStopped,
)
from metricforge.evaluation.calibration import Calibration
from metricforge.html_tables import html_table
from metricforge.interfaces import Clustering, Evaluator
from metricforge.models import MetricLearner
from metricforge.progress_bars import progress_bar
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import History
from metricforge.run_records.run_lock import RunLock

# mmengine warns whoever accumulates of lost gradients, which our checkpoints hold, and of BatchNorm, which docs explain
UNFOUNDED = ("Resumed iteration number is not divisible by", "Gradient accumulative may")


class MetricRunner(Runner):
    """Trains and evaluates one ``MetricLearner``; ``metricforge.build_runner`` makes it from a config.

    ``model`` is in evaluation mode except while an epoch is trained.

    Args:
        cfg: the checked config, dumped into the run's folder and into every checkpoint.
        model: what is trained or evaluated.
        lock: of the run's folder, which ``train`` holds; None: only evaluation.
        run_dir: the run's folder. An evaluation gets it for itself, or None: a new one below the checkpoint's.
        device: where the model goes.
        console: what a person reads.
        seed: everything random follows from it.
        num_classes: classes of the training set, which a checkpoint remembers.
        train_loader: from ``build_train_loader``; None: only evaluation.
        test_loader: from ``build_test_loader``.
        val_loader: from ``build_test_loader``; the images whose scores training goes by. None: there are none.
        choice: which weights the test is scored by. None: those of the last epoch.
        evaluators: what is scored.
        hooks: further hooks, the checkpoint's and the console's among them.
        final_evaluators: what a test scores besides.
        clustering: groups the queries for scores of clusters. None: k-means.
        resume: the checkpoint to take up, and what has changed since; None: train from the start.
        settings: what makes this run this run, for checkpoints; only of a training.
        readout: chooses, once training has ended, weights and layer; None: the weights of ``choice``, and the head.
        weights: a checkpoint whose weights are evaluated.
    """

    model: MetricLearner
    _has_loaded: bool

    def __init__(
        self,
        *,
        cfg: Config,
        model: MetricLearner,
        lock: RunLock | None,
        run_dir: Path | None,
        device: torch.device,
        console: Console,
        seed: int,
        num_classes: int | None,
        train_loader: DataLoader[dict[str, Any]] | None,
        test_loader: DataLoader[dict[str, Any]],
        evaluators: Sequence[Evaluator],
        val_loader: DataLoader[dict[str, Any]] | None = None,
        choice: WeightChoice | None = None,
        hooks: Sequence[Hook],
        final_evaluators: Sequence[Evaluator] = (),
        clustering: Clustering | None = None,
        resume: ResumePoint | None = None,
        settings: Mapping[str, Any] | None = None,
        readout: ReadoutStep | None = None,
        weights: Path | None = None,
    ) -> None:
        self.readout = readout
        self.device = device
        self.processes = Processes.current()
        self.console = console
        self._lock = lock
        self._resume_point = resume
        self.settings = settings
        self.changes: Changes = {}
        self.trains_now = False
        self.stop_signals = StopSignals()
        self._evaluation_dir = run_dir if weights is not None else None
        # nothing is written beside a checkpoint before there is something to keep
        self._scratch = mkdtemp(prefix="metricforge-") if weights is not None else None
        if self._scratch is not None:
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        self.run_dir = run_dir if run_dir is not None else (weights or Path()).parent
        self.num_classes = num_classes
        self.evaluators = evaluators
        self.final_evaluators = final_evaluators
        self.clustering = clustering
        saving = next((hook for hook in hooks if isinstance(hook, CheckpointHook)), CheckpointHook())
        self.writer = CheckpointWriter(
            background=saving.background,
            on_error=saving.on_error,
            say=self.say,
            save=self.processes.save_in_shards() if saving.sharded and self.processes.several else None,
        )
        self.history = History(self.run_dir, writes=self.processes.is_main, keeps_unwritten=saving.on_error == "warn")
        self.last_scores: dict[str, float] = {}
        self.choice = WeightChoice() if choice is None else choice
        self.has_trained = False
        self.baseline_scores: dict[str, dict[str, float]] = {}
        self.scored = ScoredWeights(self, weights)
        training = train_loader is not None
        model.eval()  # whoever takes it embeds with it; the training loop alone puts it into training mode
        super().__init__(
            model=model,
            work_dir=self._scratch or str(self.run_dir),
            train_dataloader=train_loader,
            train_cfg=dict(cfg.train_cfg) if training else None,
            optim_wrapper=cfg.get("optim_wrapper") if training else None,
            param_scheduler=cfg.get("param_scheduler") if training else None,
            val_dataloader=val_loader,
            val_cfg=None if val_loader is None else dict(cfg.get("test_cfg") or {}),
            val_evaluator=None if val_loader is None else [],
            test_dataloader=test_loader,
            test_cfg=dict(cfg.get("test_cfg") or {}),
            test_evaluator=[],
            # those that stay are the ones whose work is not done better by ours
            default_hooks=dict(runtime_info=None, timer=None, sampler_seed=None, logger=None, checkpoint=None)
            | (dict(param_scheduler=None) if any(isinstance(hook, TimeBudgetHook) for hook in hooks) else {}),
            custom_hooks=list(hooks),
            visualizer=_visualizer(cfg) if training else dict(type="Visualizer"),
            resume=resume is not None,
            randomness=dict(seed=seed),
            # two runs started in the same second would share their message hub
            experiment_name=f"{self.run_dir.name}_{time.time_ns()}",
            cfg=cfg,
        )
        # of sharded parameters each process knows its own rows; anything else is the same on all
        self._gather_rows = (self.processes if find_row_shards(self.model) else Processes()).gather_values
        self.losses = LossLedger(self._gather_rows)

    def train(self) -> torch.nn.Module:
        """Train to the end; no other training gets the run's folder meanwhile. ``trains_now`` is then True.

        Raises:
            RunFolderError: if another one has it.
            TrainingStopped: where SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP arrived; the run is saved after its last update.
            NonFiniteLossError: where a loss, gradient, weight or buffer is no longer finite; the batch is saved.
        """
        with ExitStack() as held:
            if self._lock is not None and self.processes.is_main:
                held.enter_context(self._lock.in_use())
            held.enter_context(self.stop_signals.listening())
            held.enter_context(deterministic_kernels(self.model, bool(self.cfg.get("deterministic", False))))
            self.trains_now = True
            for line in never_comes(self.cfg, len(self._train_dataloader)):
                self.warn(line)
            if self.settings is not None and self.settings[TRAIN_IMAGES] == self.settings[TEST_IMAGES]:
                self.warn("the test images are the training images: scores say nothing of classes not seen")
            self.stop_signals.ends_at_once = not self.processes.several  # until weights change
            try:
                if self.processes.is_main:
                    (self.run_dir / CHOSEN).unlink(missing_ok=True)  # of an earlier end of this run
                model = self._train_or_save()
            except TrainingStopped as stop:
                self._note_end("stopped", str(stop))
                raise
            except NonFiniteLossError as error:
                self._save_culprit(error)
                self._note_end("failed", str(error))
                raise
            except BaseException as fault:
                kind = type(fault).__name__
                self._note_end("failed", str(fault) if isinstance(fault, MetricForgeError) else f"{kind}: {fault}")
                if isinstance(fault, OSError):
                    self._refuse_folder(fault)
                raise
            else:
                self._note_end("finished", "")
                return model
            finally:
                self._finish_file()
                self.trains_now = False
                self.stop_signals.ends_at_once = False
                self.visualizer.close()  # a tracker would take what is trained next for the same run

    def _train_or_save(self) -> torch.nn.Module:
        """Train; where a signal ends it, save the run. What keeps it from being saved is an error like any other."""
        try:
            return super().train()
        except (TrainingStopped, StopsAtOnce) as end:
            stop = end if isinstance(end, TrainingStopped) else TrainingStopped(str(end))
            self._save_to_go_on(stop)
            raise stop from None

    def _refuse_folder(self, error: OSError) -> None:
        """Say in one line that the run's folder takes no file, if that is what ``error`` is about."""
        reason = disk_failure(error)
        own = error.filename is None or Path(str(error.filename)).absolute().is_relative_to(self.run_dir.absolute())
        if reason is not None and own:
            without = ', or train on without: checkpoint.on_error="warn"' if self.writer.on_error == "stop" else ""
            raise RunFolderError(
                f"{self.run_dir}: cannot be written: {reason}. Make room and go on with --resume{without}"
            ) from error

    def _finish_file(self) -> None:
        """Wait for the file that is being written; an error on the way out is not to hide another one."""
        if sys.exc_info()[0] is None:
            self.writer.finish()
            return
        with suppress(CheckpointError):
            self.writer.finish()

    def _save_culprit(self, error: NonFiniteLossError) -> None:
        error.ids = error.ids or self.train_loop.last_ids.tolist()
        if self.processes.is_main:
            batches, seeded = len(self.train_dataloader), self.train_dataloader.dataset
            error.saved = save_culprit(error, seeded, self.seed, batches, self.run_dir)

    def _note_end(self, how: str, why: str) -> None:
        if isinstance(self._train_loop, ResumableTrainLoop) and self.run_dir.is_dir():
            with suppress(OSError):  # a full disk has been said
                self.history.add_end(self.iter, self.iter / len(self.train_dataloader), how, why)

    def _save_to_go_on(self, stop: TrainingStopped) -> None:
        hook = next(hook for hook in self.hooks if isinstance(hook, CheckpointHook))
        stop.exit_code = hook.exit_code
        if not isinstance(self._train_loop, ResumableTrainLoop):
            return  # it was still being built
        stop.iteration = self.iter if stop.iteration is None else stop.iteration
        hook.save_once(self, stop.iteration)
        self.processes.wait()  # the first to leave makes torchrun end the others
        saved = self.processes.from_main(partial(checkpoint_files, self.run_dir))
        if stop.iteration and saved:  # with on_error="warn" perhaps only an earlier one
            stop.checkpoint = max(saved, key=lambda file: file.name == f"iter_{stop.iteration}.pth")
        self.say(str(stop))

    def scores_dir(self) -> Path:
        """Where the scores of the evaluation at hand go; only process 0 asks.

        Those of a training go into its folder. A test gets a folder of its own, with its config, and changes nothing
        that a training recorded.
        """
        if self.trains_now:
            return self.run_dir
        folder = self._evaluation_dir
        if folder is None or (folder / "scores.json").exists():
            folder = take_evaluation_folder(
                self.scored.named_file or self.run_dir / f"iter_{self.scored.iterations}.pth"
            )
        self._evaluation_dir = folder
        self._write_config(folder)
        return folder

    @property
    def evaluation_dir(self) -> Path:
        """The folder of the last evaluation."""
        return self.run_dir if self._evaluation_dir is None else self._evaluation_dir

    def dump_config(self) -> None:
        """Write the config into the run's folder; an evaluation writes it beside its scores."""
        if self._scratch is None and self.processes.is_main:
            self._write_config(self.run_dir)

    def _write_config(self, folder: Path) -> None:
        name = Path(self.cfg.filename).name if self.cfg.filename else "config.py"
        write_atomically(folder / name, self.cfg.dump())

    # ------------------------------------------------------------------ what a person sees

    def say(self, text: str) -> None:
        """Print a line and put it into the log file."""
        self.console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.logger.info(text)

    def warn(self, text: str) -> None:
        """Print a line as a warning, and put it into the log file as one."""
        self.console.print(text, style="yellow", highlight=False, markup=False, emoji=False, soft_wrap=True)
        record = self.logger.makeRecord(self.logger.name, logging.WARNING, __file__, 0, text, (), None)
        for handler in self.logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)

    def track(self, scalars: Mapping[str, float], step: int) -> None:
        """Hand ``scalars`` to the visualizer; where a full disk does not end training, it loses them."""
        try:
            self.visualizer.add_scalars(scalars, step=step)
        except OSError:
            if self.writer.on_error == "stop":
                raise

    def progress(self, task: str, total: int, done: int = 0) -> AbstractContextManager[Callable[[int], None]]:
        """Show a bar while it is open, on a terminal; yield the function that advances it."""
        return progress_bar(self.console, task, total, done)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """mmengine's logger, whose INFO lines (190 of them before the first step) go to the log file alone."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_holds_here)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
            elif isinstance(handler, logging.FileHandler):
                # a disk that is full is said by who saves, not by a traceback for each line of the log
                handler.handleError = lambda record: None  # type: ignore[method-assign]
        return logger

    def _repr_html_(self) -> str:
        rows = [[name, f"{100 * value:.1f}"] for name, value in self.last_scores.items()]
        scored = "scores in per cent" if rows else "not scored yet"
        return html_table(["score", "per cent"], rows, f"{type(self).__name__} of {self.run_dir}: {scored}")

    def describe(self) -> None:
        """Say in a few lines what is trained or evaluated, on what."""
        for line in opening_lines(self):
            self.say(line)

    # ------------------------------------------------------------------ what is built differently

    def wrap_model(self, model_wrapper_cfg: Any, model: MetricLearner) -> MetricLearner:
        """Move the model to this runner's device. (mmengine takes whatever accelerator it finds.)

        Where each of several processes is to hold a share of the backbone, it goes there block by block.
        """
        if self._shards_backbone:
            shard_backbone(model.backbone, self.device, self.processes)
        return model.to(self.device)

    @property
    def _shards_backbone(self) -> bool:
        training = self._train_dataloader is not None
        return training and self.processes.several and self.cfg.train_cfg.get("shard_backbone", False)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """mmengine's, whose optimizer also steps parameters with a sparse gradient, whatever it is."""
        if self._shards_backbone and isinstance(optim_wrapper, Mapping):
            faults = sharded_optimizer_faults(optim_wrapper["optimizer"], self.device, self.processes)
            if faults:
                raise ConfigError(faults)
        precision = self.cfg.train_cfg.get("precision", "fp32")
        if precision != "fp32" and isinstance(optim_wrapper, Mapping):
            optim_wrapper = {**optim_wrapper, "type": "AutocastOptimWrapper", "precision": precision}
        wrapper = super().build_optim_wrapper(optim_wrapper)
        shards = find_row_shards(self.model)
        if shards and wrapper.clip_grad_kwargs and wrapper.clip_func is torch.nn.utils.clip_grad_norm_:
            named = ", ".join(list(shards)[:3]) + (f" and {len(shards) - 3} more" if len(shards) > 3 else "")
            raise ConfigError(
                [
                    f"optim_wrapper.clip_grad: each process knows the norm of its rows of {named} only; "
                    "leave clip_grad out, clip by value (clip_grad=dict(type='value', clip_value=...)), or do not shard"
                ]
            )
        if shards and wrapper.clip_grad_kwargs:  # torch takes no sharded gradients together with complete ones
            wrapper.clip_grad_kwargs = {**wrapper.clip_grad_kwargs, "foreach": False}
        step_touched_rows(wrapper.optimizer)
        return wrapper

    def build_train_loop(self, loop: Any) -> ResumableTrainLoop:
        return (
            loop if isinstance(loop, ResumableTrainLoop) else ResumableTrainLoop(self, self._train_dataloader, **loop)
        )

    def build_val_loop(self, loop: Any) -> EvaluationLoop:
        return self._build_evaluation_loop(loop, "val")

    def build_test_loop(self, loop: Any) -> EvaluationLoop:
        return self._build_evaluation_loop(loop, "test")

    def _build_evaluation_loop(self, loop: Any, mode: str) -> EvaluationLoop:
        if isinstance(loop, EvaluationLoop):
            return loop
        loop = {**loop, "clustering": self.clustering}
        if mode == "test":
            return EvaluationLoop(self, self._test_dataloader, self.evaluators, self.final_evaluators, mode, **loop)
        can_find = len(self._val_dataloader.dataset) - 1
        beyond = list(cutoffs_beyond(self.evaluators, can_find))
        if beyond:
            self.say(f"validation leaves out {', '.join(beyond)}: a query can find {can_find} images")
        return EvaluationLoop(self, self._val_dataloader, cutoffs_within(self.evaluators, can_find), (), mode, **loop)

    # ------------------------------------------------------------------ checkpoints

    @property
    def validated_classes(self) -> str:
        """The classes that validations of this run score."""
        return "test classes" if self._val_dataloader is self._test_dataloader else "validation classes"

    def take_chosen_weights(self) -> None:
        """Put the chosen weights into the model once training has ended: the best ones, or those that it has.

        A readout then chooses among these and others, and the layer that is read.

        Raises:
            CheckpointError: if the best weights are no longer where they were written.
        """
        self.has_trained = True
        self.scored.take_chosen()
        if self.readout is not None:
            self.readout.run(self)
        if self.scored.calibration is not None:
            self.say(f"unknown  {Calibration.from_json(self.scored.calibration).describe()}")

    def write_checkpoint(
        self, name: str, iteration: int, *, best: bool = False, then: Callable[[], None] | None = None
    ) -> None:
        """Save everything that decides how training goes on after ``iteration`` updates, atomically.

        ``best`` says that these are the best weights so far; ``then`` is done once they are on the disk, which may be
        while training goes on.

        All processes call it, and process 0 writes; to be saved in shards, each writes its own rows. What is read
        from it does not depend on how many they are.

        Raises:
            NonFiniteLossError: if a loss or gradient since the last reading, a weight or a buffer is not finite: such
                weights are not worth keeping.
        """
        self.losses.check()
        watch = current_watch()
        if watch is not None:
            watch.update(iteration, None)  # a disk may take its time
        self.train_loop.settle()
        refuse_non_finite_state(self.model, (iteration - 1) // len(self.train_dataloader), iteration, self._gather_rows)
        checkpoint = checkpoint_content(self, iteration, best=best)
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        if self.writer.in_shards:
            rows = take_out_rows(checkpoint, self.model, self.optim_wrapper.optimizer)
            checkpoint = {"rows": rows, "rest": checkpoint if self.processes.is_main else {}}
        elif self.processes.several:
            make_whole(checkpoint, self.model, self.optim_wrapper.optimizer, self.processes)
        if self.processes.is_main or self.writer.in_shards:
            self.writer.write(checkpoint, self.run_dir / name, partial(self._note_saved, name, then))
        self.scored.note_saved(self.run_dir / name, iteration)

    def _note_saved(self, name: str, then: Callable[[], None] | None) -> None:
        self.logger.info(f"saved {self.run_dir / name}")
        if then is not None:
            then()

    def load_or_resume(self) -> None:
        """Restore what is resumed, or show hooks what is evaluated, once."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if self._resume:
            assert self._resume_point is not None
            restore_run(self, self._resume_point)
        else:
            self.scored.show_hooks()


def _holds_here(record: logging.LogRecord) -> bool:
    """Whether what mmengine logs is true of our runs."""
    return not record.getMessage().startswith(UNFOUNDED)


def _visualizer(cfg: Config) -> dict[str, Any]:
    return cfg.get("visualizer") or dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
