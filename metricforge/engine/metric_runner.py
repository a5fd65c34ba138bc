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
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from rich.console import Console
from torch.utils.data import DataLoader

from metricforge.atomic_write import write_atomically
from metricforge.backbones.pretraining import pretraining_of
from metricforge.engine.distributed.agreement import check_same
from metricforge.engine.distributed.process_watch import current_watch
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.sharded_parameters import find_row_shards, make_whole, take_own_rows
from metricforge.engine.hooks.checkpoint_hook import CheckpointHook
from metricforge.engine.hooks.time_budget_hook import TimeBudgetHook
from metricforge.engine.loops.calibrate_context import calibrate_context
from metricforge.engine.loops.cutoffs_within import cutoffs_beyond, cutoffs_within
from metricforge.engine.loops.deterministic_kernels import deterministic_kernels
from metricforge.engine.loops.evaluation_loop import EvaluationLoop
from metricforge.engine.loops.stop_signals import StopSignals
from metricforge.engine.loops.train_loop import ResumableTrainLoop
from metricforge.engine.opening_lines import opening_lines
from metricforge.engine.optim.changed_schedule import changes_optimizer, take_up_changed
from metricforge.engine.optim.sparse_rows_step import step_touched_rows
from metricforge.engine.readout.chosen_checkpoint import CHOSEN
from metricforge.engine.readout.readout_step import ReadoutStep
from metricforge.engine.records.checkpoint_writer import CheckpointWriter, disk_failure
from metricforge.engine.records.checkpoints import (
    BEST,
    FORMAT,
    checkpoint_files,
    file_hash,
    load_checkpoint,
    load_with_hash,
)
from metricforge.engine.records.config_changes import Changes, changes_scores, describe_changes
from metricforge.engine.records.culprit import save_culprit
from metricforge.engine.records.history import History
from metricforge.engine.records.load_weights import load_weights
from metricforge.engine.records.loss_ledger import LossLedger
from metricforge.engine.records.nan_guard import refuse_non_finite_state
from metricforge.engine.records.resume_point import ResumePoint
from metricforge.engine.records.run_folder import EVALUATIONS, take_evaluation_folder
from metricforge.engine.records.run_lock import RunLock
from metricforge.engine.records.weight_choice import WeightChoice
from metricforge.errors import (
    CheckpointError,
    ConfigError,
    EmbeddingsError,
    MetricForgeError,
    NonFiniteLossError,
    RunFolderError,
    TrainingStopped,
)
from metricforge.evaluation import read_scores
from metricforge.evaluation.calibration import Calibration
from metricforge.html_tables import html_table
from metricforge.interfaces import Clustering, Evaluator
from metricforge.models import MetricLearner
from metricforge.progress_bars import progress_bar
from metricforge.version import __version__


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
        self._settings = settings
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
        self.losses = LossLedger()
        saving = next((hook for hook in hooks if isinstance(hook, CheckpointHook)), CheckpointHook())
        self.writer = CheckpointWriter(background=saving.background, on_error=saving.on_error, say=self.say)
        self.history = History(self.run_dir, writes=self.processes.is_main, keeps_unwritten=saving.on_error == "warn")
        self.last_scores: dict[str, float] = {}
        self.choice = WeightChoice() if choice is None else choice
        self.has_trained = False
        self.baseline_scores: dict[str, dict[str, float]] = {}
        self._weights_file = weights
        self._hash_as_read: str | None = None
        self._weights_iteration: int | None = None
        self._loaded: dict[str, Any] | None = None  # the meta of the checkpoint whose weights were loaded to be scored
        self._read: dict[str, Any] | None = None  # a checkpoint that hooks have not seen yet
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
            self.stop_signals.ends_at_once = not self.processes.several  # until weights change
            if self.processes.is_main:
                (self.run_dir / CHOSEN).unlink(missing_ok=True)  # of an earlier end of this run
            try:
                model = super().train()
            except TrainingStopped as stop:
                self._save_to_go_on(stop)
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

    def _refuse_folder(self, error: OSError) -> None:
        """Say in one line that the run's folder takes no file, if that is what ``error`` is about."""
        reason = disk_failure(error)
        own = error.filename is None or Path(str(error.filename)).absolute().is_relative_to(self.run_dir.absolute())
        if reason is not None and own:
            raise RunFolderError(
                f"{self.run_dir}: cannot be written: {reason}. Make room and go on with --resume, or train on without: "
                'checkpoint.on_error="warn"'
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
        if stop.iteration:
            stop.checkpoint = self.run_dir / f"iter_{stop.iteration}.pth"
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
            folder = take_evaluation_folder(self._weights_file or self.run_dir / f"iter_{self.trained_iterations}.pth")
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
        """Move the model to this runner's device. (mmengine takes whatever accelerator it finds.)"""
        return model.to(self.device)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """mmengine's, whose optimizer also steps parameters with a sparse gradient, whatever it is."""
        precision = self.cfg.train_cfg.get("precision", "fp32")
        if precision != "fp32" and isinstance(optim_wrapper, Mapping):
            optim_wrapper = {**optim_wrapper, "type": "AutocastOptimWrapper", "precision": precision}
        wrapper = super().build_optim_wrapper(optim_wrapper)
        shards = find_row_shards(self.model)
        if shards and wrapper.clip_grad_kwargs and wrapper.clip_func is torch.nn.utils.clip_grad_norm_:
            raise ConfigError(
                [
                    f"optim_wrapper.clip_grad: each process knows the norm of its rows of {', '.join(shards)} only; "
                    "leave clip_grad out, clip by value (clip_grad=dict(type='value', clip_value=...)), or do not shard"
                ]
            )
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
    def trained_epochs(self) -> int:
        """Epochs that the present weights have seen."""
        return self.epoch if self._loaded is None else int(self._loaded["epoch"])

    @property
    def trained_iterations(self) -> int:
        """Updates that the present weights have seen."""
        return self.iter if self._loaded is None else int(self._loaded["iteration"])

    @property
    def validated_classes(self) -> str:
        """The classes that validations of this run score."""
        return "test classes" if self._val_dataloader is self._test_dataloader else "validation classes"

    def describe_weights(self) -> dict[str, str] | None:
        """File and hash of the checkpoint that holds the present weights; None if they were not saved."""
        self.writer.finish()
        if self._weights_file is None or (self._loaded is None and self._weights_iteration != self.iter):
            return None
        if self._hash_as_read is None and not self._weights_file.is_file():
            return None  # it could not be written
        return {"file": self._weights_file.name, "sha256": self._hash_as_read or file_hash(self._weights_file)}

    def describe_pretraining(self) -> dict[str, Any] | None:
        """Where the backbone's first weights came from; None if the checkpoint that is scored does not say."""
        return pretraining_of(self.cfg.model.backbone) if self._loaded is None else self._loaded.get("pretraining")

    def describe_choice(self) -> dict[str, object]:
        """How the present weights were chosen, and how often weights of this run scored the test, now included."""
        how = self.choice.of_last_epoch() if self._loaded is None else dict(self._loaded["choice"])
        if self.averaged_by is not None:
            how["averaged"] = True
        if self.has_trained:
            how["trained_epochs"] = self.epoch
        return how | {"test_looks": self.choice.test_looks}

    @property
    def averaged_by(self) -> str | None:
        """The hook that averaged the weights that are scored, here or when the checkpoint was written; None: none.

        It puts them in place of the trained ones before a validation or a test, and into the checkpoint.
        """
        if self._loaded is not None:
            return self._loaded["averaged"]  # type: ignore[no-any-return]
        return next((type(hook).__name__ for hook in self._hooks if isinstance(hook, EMAHook)), None)

    @property
    def weights_in_words(self) -> str:
        """The checkpoint that is scored, and by which hook its weights were averaged."""
        return f"{self._weights_file}{self._described_averaging}"

    @property
    def _described_averaging(self) -> str:
        return "" if self.averaged_by is None else f", averaged by {self.averaged_by}"

    def take_chosen_weights(self) -> None:
        """Put the chosen weights into the model once training has ended: the best ones, or those that it has.

        A readout then chooses among these and others, and the layer that is read.

        Raises:
            CheckpointError: if the best weights are no longer where they were written.
        """
        self.has_trained = True
        if self.choice.iteration is not None:
            path = self.run_dir / BEST
            self.writer.finish()
            self.processes.from_main(path.exists)  # by now process 0 has written it
            checkpoint = load_checkpoint(path)
            if checkpoint["meta"]["iteration"] != self.choice.iteration:
                raise CheckpointError(
                    f"{path}: holds the weights after {checkpoint['meta']['iteration']} updates, but those after "
                    f"{self.choice.iteration} were chosen; score those of the last epoch by tools/test.py with "
                    f"{self.run_dir / self.newest_checkpoint_name()}"
                )
            self._load_to_score(checkpoint, path)
            self._loaded = _meta_of(checkpoint) | {"choice": self.choice.of_best_epoch()}
            self._weights_file = path
        self.say(f"weights  {self.choice.conclude(self.trained_epochs)}{self._described_averaging}")
        if self.readout is not None:
            self.readout.run(self)
        calibration = (self._loaded or {}).get("calibration")
        if calibration is not None:
            self.say(f"unknown  {Calibration.from_json(calibration).describe()}")

    def take_readout(self, meta: Mapping[str, Any], path: Path) -> None:
        """Score what is in the model from now on as the checkpoint ``path``, which ``meta`` describes."""
        self._loaded, self._weights_file = dict(meta), path
        # EMAHook would swap its own weights in before the test; training, which it is for, has ended
        self._hooks[:] = [hook for hook in self.hooks if not isinstance(hook, EMAHook)]

    @property
    def chosen_readout(self) -> str | None:
        """What a readout chose, in words; None without one."""
        choice = (self._loaded or {}).get("choice") or {}
        return f"{choice['weights']}, {choice['layer']}" if "layer" in choice else None

    def write_checkpoint(
        self, name: str, iteration: int, *, best: bool = False, then: Callable[[], None] | None = None
    ) -> None:
        """Save everything that decides how training goes on after ``iteration`` updates, atomically.

        ``best`` says that these are the best weights so far; ``then`` is done once they are on the disk, which may be
        while training goes on.

        All processes call it, and process 0 writes. Nothing in the file depends on how many they are.

        Raises:
            NonFiniteLossError: if a loss or gradient since the last reading, a weight or a buffer is not finite: such
                weights are not worth keeping.
        """
        self.losses.check()
        watch = current_watch()
        if watch is not None:
            watch.update(iteration, None)  # a disk may take its time
        self.train_loop.settle()
        refuse_non_finite_state(self.model, (iteration - 1) // len(self.train_dataloader), iteration)
        checkpoint: dict[str, Any] = {
            "meta": {
                "format": FORMAT,
                "iteration": iteration,
                "epoch": iteration // len(self.train_dataloader),
                "batches_per_epoch": len(self.train_dataloader),
                "seed": self.seed,
                "num_classes": self.num_classes,
                "class_names": list(self.train_dataloader.dataset.dataset.class_names),
                "choice": self.choice.of_best_epoch() if best else self._choice_by_hand(iteration),
                "candidates": self.choice.state_dict(),
                "calibration": self._calibration() if best else None,
                "baselines": self.baseline_scores,
                "settings": self._settings,
                "config": self.cfg.pretty_text,
                "pretraining": pretraining_of(self.cfg.model.backbone),
                "metricforge": __version__,
                "torch": torch.__version__,
            },
            "state_dict": self.model.state_dict(),
            "optimizer": self.optim_wrapper.state_dict(),
            "param_schedulers": [scheduler.state_dict() for scheduler in self.param_schedulers or []],
        }
        if iteration % self.optim_wrapper._accumulative_counts:
            checkpoint["gradients"] = {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        if self.processes.several:
            make_whole(checkpoint, self.model, self.optim_wrapper.optimizer, self.processes)
        if self.processes.is_main:
            self.writer.write(checkpoint, self.run_dir / name, partial(self._note_saved, name, then))
        self._weights_file, self._weights_iteration = self.run_dir / name, iteration

    def _note_saved(self, name: str, then: Callable[[], None] | None) -> None:
        self.logger.info(f"saved {self.run_dir / name}")
        if then is not None:
            then()

    def _calibration(self) -> dict[str, Any] | None:
        """What the last validation tells of the similarities of unknown classes; None where it cannot."""
        context = self.val_loop.context
        if not self.processes.is_main or context is None or self.validated_classes == "test classes":
            return None
        try:
            return calibrate_context(context).to_json()
        except EmbeddingsError as fault:
            self.logger.info(f"not calibrated: {fault}")
            return None

    def read_weights(self) -> None:
        """Read the checkpoint that is evaluated, at once, and put its weights into the model.

        Hooks see it when the evaluation begins: until mmengine calls their ``before_run``, some cannot take one.
        """
        assert self._weights_file is not None
        # a training beside may replace or remove the file once it is read
        checkpoint, self._hash_as_read = load_with_hash(self._weights_file)
        take_own_rows(checkpoint, self.model)
        load_weights(self.model, checkpoint, self._weights_file)
        self._read = checkpoint
        self._loaded = _meta_of(checkpoint)
        self.baseline_scores = checkpoint["meta"]["baselines"]
        self.choice.test_looks = self._read_test_looks(self._weights_file.parent)

    def load_or_resume(self) -> None:
        """Restore what is resumed, or show hooks what is evaluated, once."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if self._resume:
            assert self._resume_point is not None
            self._restore(self._resume_point)
        elif self._read is not None and self._weights_file is not None:
            self.call_hook("after_load_checkpoint", checkpoint=self._read)
            load_weights(self.model, self._read, self._weights_file)
            self._read = None

    def _load_to_score(self, checkpoint: dict[str, Any], path: Path) -> None:
        take_own_rows(checkpoint, self.model)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.model, checkpoint, path)

    def _choice_by_hand(self, iteration: int) -> dict[str, object]:
        """How one comes to score the weights after ``iteration`` updates."""
        if iteration == self.train_loop.max_iters or self.train_loop.stop_training:
            return self.choice.of_last_epoch()
        return {"weights": f"epoch {iteration / len(self.train_dataloader):g}, by hand", "by": None}

    @property
    def weights_file(self) -> Path:
        """The checkpoint of the weights that scored the test, or the newest if nothing did."""
        scored = self._loaded is not None and self._weights_file is not None and self._weights_file.exists()
        return self._weights_file if scored else self.run_dir / self.newest_checkpoint_name()  # type: ignore[return-value]

    def newest_checkpoint_name(self) -> str:
        """The file name of the newest periodic checkpoint."""
        return checkpoint_files(self.run_dir)[0].name

    def _restore(self, point: ResumePoint) -> None:
        path = point.path
        for note in point.notes:
            self.say(note)
        checkpoint = self._load_like_others(path)
        meta = checkpoint["meta"]
        batches = len(self.train_dataloader)
        take_own_rows(checkpoint, self.model, self.optim_wrapper.optimizer)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.model, checkpoint, path)
        if changes_optimizer(point.changes):
            schedulers, done = self.param_schedulers or [], meta["iteration"]
            told = take_up_changed(
                self.optim_wrapper, schedulers, checkpoint["optimizer"], point.changes, done, batches
            )
            if told:
                self.say(told)
        else:
            self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
            for scheduler, state in zip(self.param_schedulers or [], checkpoint["param_schedulers"], strict=True):
                scheduler.load_state_dict(state)
        for name, parameter in self.model.named_parameters():
            if name in checkpoint.get("gradients", {}):
                parameter.grad = checkpoint["gradients"][name].to(parameter.device)
        # what scores mean may have changed: then neither would compare with what is scored from now on
        comparable = not changes_scores(point.changes)
        self._resume_choice(meta["candidates"], comparable=comparable)
        if comparable:
            changed = {name.split(".")[1] for name in point.changes if name.startswith("baselines.")}
            self.baseline_scores = {name: its for name, its in meta["baselines"].items() if name not in changed}
        self.changes = point.changes
        self._weights_file, self._weights_iteration = path, meta["iteration"]
        self.train_loop.set_position(meta["iteration"])
        for line in describe_changes(point.changes):
            self.say(f"changed  {line}")
        self.say(
            f"resumed from {path.name}: epoch {meta['iteration'] // batches + 1}, "
            f"iteration {meta['iteration'] % batches} of {batches}"
        )

    def _load_like_others(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint that every process reads, each perhaps from a disk of its own."""
        name = f"the checkpoint {path}"
        try:
            checkpoint, read = load_with_hash(path)
        except CheckpointError as error:
            check_same(self.processes, {name: str(error)})
            raise
        check_same(self.processes, {name: read})
        return checkpoint

    def _resume_choice(self, state: dict[str, Any], *, comparable: bool) -> None:
        """Go on choosing where the checkpoint left off, if the best weights until then are still there."""
        self.choice.load_state_dict(state)
        if not comparable:
            self.choice.forget()
        self.choice.test_looks = max(state["test_looks"], self._read_test_looks(self.run_dir))
        if self.choice.iteration is None:
            return
        path = self.run_dir / BEST
        try:
            kept = load_checkpoint(path)["meta"]["iteration"] >= self.choice.iteration
        except CheckpointError as error:
            kept = False
            self.say(str(error))
        if not kept:
            self.say(f"{path}: the best weights so far are not there; they are chosen among the epochs from here on")
            self.choice.forget()

    def _read_test_looks(self, folder: Path) -> int:
        """How often weights of the run in ``folder`` scored the test, by what its scores files say."""

        def read() -> int:
            looks = len(list(folder.glob(f"{EVALUATIONS}/*/scores.json")))
            if not (folder / "scores.json").exists():
                return looks
            choice = read_scores(folder / "scores.json")[1].get("choice")
            return looks + (int(choice["test_looks"]) if isinstance(choice, dict) else 1)

        return self.processes.from_main(read)


def _meta_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its weights, and which hook averaged them."""
    averaged = checkpoint.get("averaged_by", "EMAHook") if "ema_state_dict" in checkpoint else None
    return {"averaged": averaged} | checkpoint["meta"]


def _visualizer(cfg: Config) -> dict[str, Any]:
    return cfg.get("visualizer") or dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])
