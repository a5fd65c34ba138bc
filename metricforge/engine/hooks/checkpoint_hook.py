"""Decides when checkpoints are written and which are kept."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, get_args

from mmengine.hooks import Hook

from metricforge.engine.records.checkpoint_writer import OnError
from metricforge.engine.records.checkpoints import BEST
from metricforge.engine.records.shard_files import forget_shards
from metricforge.errors import STOPPED
from metricforge.run_records.checkpoint_files import checkpoint_files

SAVE_BEST = "recall@1"


class CheckpointHook(Hook):
    """Saves the run periodically and at the end, and the weights that validation scored best.

    The newest ``max_keep`` files are kept. An older one is removed only when a newer one is completely on disk, so that
    with at least two a crash at any moment leaves one that loads. (mmengine deletes first.)

    Args:
        interval: epochs between two checkpoints; there is one with the first best weights, too.
        interval_iterations: additionally, iterations between two; None: only after epochs.
        max_keep: number of periodic checkpoints to keep, at least 2.
        exit_code: exit status of `metricforge train` where SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP ended the training,
            which saved its state: a cluster's script that sees it may start the same command again (`--resume auto`).
        on_error: what happens where a checkpoint cannot be written (a full or read-only disk, a folder that vanished):
            "stop" ends training, "warn" says it, trains on and tries again with the next one.
        background: write while training goes on; it then waits only for a copy in memory.
        sharded: with several processes, whether each writes the rows that it holds (`train_cfg.shard_backbone`, `shard`
            of proxies) into a file of its own, in `shards/`, where no memory has room for all; any number reads them.
        save_best: the score whose best epoch is kept as ``best.pth`` and scored on the test classes, if the config has
            validation classes; None: the weights of the last epoch.

    Raises:
        ValueError: for another ``on_error``, an interval below 1, ``max_keep`` below 2, or an ``exit_code`` outside
            0..255.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int = 1,
        interval_iterations: int | None = None,
        max_keep: int = 2,
        save_best: str | None = SAVE_BEST,
        exit_code: int = STOPPED,
        on_error: OnError = "stop",
        background: bool = True,
        sharded: bool = False,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(f'on_error must be "stop" or "warn", got {on_error!r}')
        if interval < 1 or (interval_iterations is not None and interval_iterations < 1):
            raise ValueError(f"interval and interval_iterations must be >= 1, got {interval} and {interval_iterations}")
        if max_keep < 2:
            raise ValueError(f"max_keep must be >= 2, got {max_keep}: with one file, a crash while writing leaves none")
        if not 0 <= exit_code <= 255:
            raise ValueError(f"exit_code must be between 0 and 255, got {exit_code}")
        self.interval = interval
        self.interval_iterations = interval_iterations
        self.max_keep = max_keep
        self.exit_code = exit_code
        self.on_error: OnError = on_error
        self.background = background
        self.sharded = sharded
        self.save_best = save_best
        self._on_disk: dict[str, Any] = {}  # the choice whose weights best.pth holds

    def before_train(self, runner: Any) -> None:
        self._on_disk = runner.choice.best_so_far()

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        done = runner.iter + 1
        # at the end of an epoch its schedule has yet to move on: after_train_epoch saves that
        if self._is_due(done) and done % len(runner.train_dataloader):
            self.save(runner, done)

    def after_train_epoch(self, runner: Any) -> None:
        done = runner.epoch + 1
        ends = done == runner.max_epochs or runner.train_loop.stop_training
        if done % self.interval == 0 or ends or self._is_due(runner.iter):
            self.save(runner, runner.iter)

    def after_train(self, runner: Any) -> None:
        self.save_once(runner, runner.iter)  # early stopping may end a run between two intervals
        self._take_back_unwritten(runner)
        if runner.choice.among and runner.choice.score is not None and runner.choice.iteration is None:
            runner.choice.reason = f"the disk did not take {BEST}"

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        if not runner.trains_now:
            return
        self._take_back_unwritten(runner)
        # best.pth alone would be a run that is neither to be begun nor resumed
        saved = runner.processes.from_main(partial(checkpoint_files, runner.run_dir))
        if runner.choice.score is not None and not saved:
            self.save(runner, runner.iter)
        if runner.choice.consider(metrics or {}, runner.iter):
            then = partial(self._keep_best, runner.run_dir, runner.choice.best_so_far())
            runner.write_checkpoint(BEST, runner.iter, best=True, then=then)

    def _take_back_unwritten(self, runner: Any) -> None:
        """Go back to the best weights on the disk where it did not take better ones (``on_error="warn"``)."""

        def on_disk() -> dict[str, Any]:
            if self._on_disk != runner.choice.best_so_far():
                runner.writer.finish()
            return self._on_disk

        runner.choice.load_state_dict(runner.processes.from_main(on_disk))

    def _keep_best(self, folder: Path, choice: dict[str, Any]) -> None:
        self._on_disk = choice
        forget_shards(folder)

    def save_once(self, runner: Any, iteration: int) -> None:
        """Save the run after ``iteration`` updates unless that has been done, or there has been none.

        Once training has ended, the model holds the chosen weights, and nothing is saved.
        """
        runner.writer.finish()
        if runner.has_trained:
            return
        path = runner.run_dir / f"iter_{iteration}.pth"
        if iteration and not runner.processes.from_main(partial(runner.scored.are_saved, path, iteration)):
            self.save(runner, iteration)
            runner.writer.finish()

    def _is_due(self, iteration: int) -> bool:
        return self.interval_iterations is not None and iteration % self.interval_iterations == 0

    def save(self, runner: Any, iteration: int) -> None:
        """Save the run after ``iteration`` updates, and remove what is older than the files to keep."""
        path = runner.run_dir / f"iter_{iteration}.pth"
        runner.write_checkpoint(path.name, iteration, then=partial(self._forget_older, path))

    def _forget_older(self, path: Path) -> None:
        files = checkpoint_files(path.parent)
        # a resume that found newer ones damaged has left them there: they are no reason to remove a whole one
        for old in files[files.index(path) + self.max_keep :]:
            old.unlink(missing_ok=True)
        forget_shards(path.parent)
