"""Knows which weights a run's model holds: where they are stored, how they were trained, and how they were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import EMAHook

from metricforge.backbones.pretraining import pretraining_of
from metricforge.engine.distributed.sharded_parameters import take_own_rows
from metricforge.engine.records.checkpoints import (
    BEST,
    file_hash,
    open_checkpoint,
)
from metricforge.engine.records.load_weights import load_weights
from metricforge.engine.records.run_folder import EVALUATIONS
from metricforge.errors import CheckpointError
from metricforge.evaluation import read_scores
from metricforge.run_records.checkpoint_files import checkpoint_files


class ScoredWeights:
    """The weights in a runner's model: those that it has just trained, or those of a checkpoint.

    Args:
        runner: the ``MetricRunner`` whose model holds them.
        file: the checkpoint that is evaluated; None in a training.
    """

    def __init__(self, runner: Any, file: Path | None) -> None:
        self._runner = runner
        self._file = file
        self._hash_as_read: str | None = None
        self._saved_after: int | None = None  # updates; of a checkpoint that this training wrote or resumed
        self._meta: dict[str, Any] | None = None  # of the checkpoint whose weights were loaded to be scored
        self._unseen: dict[str, Any] | None = None  # a checkpoint that hooks have not seen yet

    # ------------------------------------------------------------------ what is told of them

    @property
    def epochs(self) -> int:
        """Epochs that they have seen."""
        return int(self._runner.epoch if self._meta is None else self._meta["epoch"])

    @property
    def iterations(self) -> int:
        """Updates that they have seen."""
        return int(self._runner.iter if self._meta is None else self._meta["iteration"])

    @property
    def averaged_by(self) -> str | None:
        """The hook that averaged them, here or when the checkpoint was written; None: none.

        It puts them in place of the trained ones before a validation or a test, and into the checkpoint.
        """
        if self._meta is not None:
            return self._meta["averaged"]  # type: ignore[no-any-return]
        return next((type(hook).__name__ for hook in self._runner.hooks if isinstance(hook, EMAHook)), None)

    @property
    def file(self) -> Path:
        """The checkpoint of the weights that scored the test, or the newest if nothing did.

        Raises:
            CheckpointError: if the disk took none.
        """
        if self._meta is not None and self._file is not None and self._file.exists():
            return self._file
        saved = checkpoint_files(self._runner.run_dir)
        if not saved:
            raise CheckpointError(f"{self._runner.run_dir}: holds no weights, because the disk took no checkpoint")
        return saved[0]

    @property
    def named_file(self) -> Path | None:
        """The checkpoint that is evaluated, or that these weights were written to last; None: not written yet."""
        return self._file

    def are_saved(self, file: Path, iteration: int) -> bool:
        """Whether those after ``iteration`` updates are in ``file``: one that lies there may be damaged or older."""
        return self._saved_after == iteration and file.is_file()

    @property
    def layer(self) -> str | None:
        """Weights and layer that a readout chose, in words; None without one."""
        choice = (self._meta or {}).get("choice") or {}
        return f"{choice['weights']}, {choice['layer']}" if "layer" in choice else None

    def __str__(self) -> str:
        return f"{self._file}{self._averaging}"

    def describe_file(self) -> dict[str, str] | None:
        """File and hash of the checkpoint that holds them; None if they were not saved."""
        self._runner.writer.finish()
        if self._file is None or (self._meta is None and self._saved_after != self._runner.iter):
            return None
        if self._hash_as_read is None and not self._file.is_file():
            return None  # it could not be written
        return {"file": self._file.name, "sha256": self._hash_as_read or file_hash(self._file)}

    def describe_pretraining(self) -> dict[str, Any] | None:
        """Where the backbone's first weights came from; None if the checkpoint that is scored does not say."""
        return pretraining_of(self._runner.cfg.model.backbone) if self._meta is None else self._meta.get("pretraining")

    def describe_choice(self) -> dict[str, object]:
        """How they were chosen, and how often weights of this run scored the test, now included."""
        how = self._runner.choice.of_last_epoch() if self._meta is None else dict(self._meta["choice"])
        if self.averaged_by is not None:
            how["averaged"] = True
        if self._runner.has_trained:
            how["trained_epochs"] = self._runner.epoch
        return how | {"test_looks": self._runner.choice.test_looks}

    @property
    def calibration(self) -> dict[str, Any] | None:
        """What validation classes tell of the similarities of unknown ones, as the checkpoint has it."""
        return (self._meta or {}).get("calibration")

    @property
    def _averaging(self) -> str:
        return "" if self.averaged_by is None else f", averaged by {self.averaged_by}"

    # ------------------------------------------------------------------ how they change

    def note_saved(self, file: Path, iteration: int) -> None:
        """Note that this training's weights after ``iteration`` updates are in ``file``."""
        self._file, self._saved_after = file, iteration

    def read(self) -> None:
        """Read the checkpoint that is evaluated, at once, and put its weights into the model.

        Hooks see it when the evaluation begins: until mmengine calls their ``before_run``, some cannot take one.
        """
        assert self._file is not None
        # a training beside may replace or remove the file once it is read
        checkpoint, self._hash_as_read = open_checkpoint(self._file)
        take_own_rows(checkpoint, self._runner.model)
        load_weights(self._runner.model, checkpoint, self._file)
        self._unseen = checkpoint
        self._meta = _meta_of(checkpoint)
        self._runner.baseline_scores = checkpoint["meta"]["baselines"]
        self._runner.choice.test_looks = self.read_test_looks(self._file.parent)

    def show_hooks(self) -> None:
        """Show hooks what has been read, once."""
        if self._unseen is None or self._file is None:
            return
        self._runner.call_hook("after_load_checkpoint", checkpoint=self._unseen)
        load_weights(self._runner.model, self._unseen, self._file)
        self._unseen = None

    def take_chosen(self) -> None:
        """Put the weights that validation chose into the model: the best ones, or those that it has.

        Raises:
            CheckpointError: if the best weights are no longer where they were written.
        """
        runner = self._runner
        if runner.choice.iteration is not None:
            path = runner.run_dir / BEST
            runner.writer.finish()
            runner.processes.from_main(path.exists)  # by now process 0 has written it
            checkpoint, _ = open_checkpoint(path)
            if checkpoint["meta"]["iteration"] != runner.choice.iteration:
                raise CheckpointError(
                    f"{path}: holds the weights after {checkpoint['meta']['iteration']} updates, but those after "
                    f"{runner.choice.iteration} were chosen; score those of the last epoch by tools/test.py with "
                    f"{checkpoint_files(runner.run_dir)[0]}"
                )
            take_own_rows(checkpoint, runner.model)
            runner.call_hook("after_load_checkpoint", checkpoint=checkpoint)
            load_weights(runner.model, checkpoint, path)
            self._meta = _meta_of(checkpoint) | {"choice": runner.choice.of_best_epoch()}
            self._file = path
        runner.say(f"weights  {runner.choice.conclude(self.epochs)}{self._averaging}")

    def take_readout(self, meta: Mapping[str, Any], file: Path) -> None:
        """Score what is in the model from now on as the checkpoint ``file``, which ``meta`` describes."""
        self._meta, self._file = dict(meta), file
        # EMAHook would swap its own weights in before the test; training, which it is for, has ended
        self._runner.hooks[:] = [hook for hook in self._runner.hooks if not isinstance(hook, EMAHook)]

    def read_test_looks(self, folder: Path) -> int:
        """How often weights of the run in ``folder`` scored the test, by what its scores files say."""

        def read() -> int:
            looks = len(list(folder.glob(f"{EVALUATIONS}/*/scores.json")))
            if not (folder / "scores.json").exists():
                return looks
            choice = read_scores(folder / "scores.json")[1].get("choice")
            return looks + (int(choice["test_looks"]) if isinstance(choice, dict) else 1)

        return self._runner.processes.from_main(read)  # type: ignore[no-any-return]


def _meta_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its weights, and which hook averaged them."""
    averaged = checkpoint.get("averaged_by", "EMAHook") if "ema_state_dict" in checkpoint else None
    return {"averaged": averaged} | checkpoint["meta"]
