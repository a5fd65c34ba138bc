"""The run behind a row of a table: its folder, its progress and its scores."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from metricforge.config import complete_config, override_config, read_config
from metricforge.config_check import check_config
from metricforge.errors import ConfigError
from metricforge.evaluation import read_scores
from metricforge.overrides import format_override, value_at
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history
from metricforge.spelling import nearest


class RowRun:
    """A config with options, in a folder named after both, so that rows that need the same run share it.

    Args:
        config: a config file.
        options: dotted config keys to values; those that the config has already are left out.
        work_dir: the folder of all runs.
        seed: replaces the config's.

    Raises:
        ConfigError: if the config cannot be read or is wrong, or the folder holds the run of another.
    """

    def __init__(self, config: Path, options: Mapping[str, Any], work_dir: Path, seed: int | None = None) -> None:
        self.config = config
        wanted = dict(options) if seed is None else {**options, "seed": seed}
        self.cfg = read_config(config)
        # one that changes nothing would give the same run another folder
        content = self.cfg.to_dict()
        self.options = {key: value for key, value in wanted.items() if value_at(content, key) != value}
        override_config(self.cfg, self.options)
        complete_config(self.cfg)
        faults = check_config(self.cfg)
        if faults:
            raise ConfigError(faults, self.command)
        self.folder = work_dir / _folder_name(config.stem, self.options)
        self._check_folder()

    @property
    def command(self) -> str:
        """The command that trains the same run by hand."""
        options = [format_override(key, value) for key, value in self.options.items()]
        words = ["metricforge", "train", str(self.config), *(["--cfg-options"] if options else []), *options]
        return shlex.join(words)

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end, which may come early, and the chosen weights scored the test."""
        trained = self.trained_epochs
        if trained is None or trained == self.cfg.train_cfg.max_epochs:
            return trained is not None
        history = read_history(self.folder)
        return bool(history) and history[-1].get("ended", {}).get("how") == "finished"

    @property
    def trained_epochs(self) -> int | None:
        """How many epochs there were to choose from when ``scores.json`` was written; None if there is none yet."""
        file = self.folder / "scores.json"
        choice = read_scores(file)[1].get("choice") if file.exists() else None
        return choice.get("trained_epochs") if isinstance(choice, dict) else None

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return bool(checkpoint_files(self.folder))

    @property
    def state(self) -> str:
        """``finished``, ``started``, with the newest checkpoint's name, or ``new``."""
        if self.finished:
            return "finished"
        return f"started: {checkpoint_files(self.folder)[0].stem}" if self.started else "new"

    def require_baseline(self, name: str) -> None:
        """Raise ConfigError if the config compares with no untrained model called ``name``; "" asks for none."""
        known = list(self.cfg.get("baselines") or {})
        if name and name not in known:
            raise ConfigError([f"baseline {name}: there is none of this name{nearest(name, known)}"], self.command)

    def scores(self, baseline: str = "") -> dict[str, float]:
        """The scores of a finished run, or of its untrained ``baseline``, in 0..1; empty for an unfinished one."""
        if not self.finished:
            return {}
        scores, protocol = read_scores(self.folder / "scores.json")
        baselines: Any = protocol.get("baselines")
        return dict(baselines[baseline]) if baseline else scores

    def _check_folder(self) -> None:
        """Refuse the folder of a run whose config has been edited since."""
        written = self.folder / self.config.name
        if not (self.started and written.exists()):
            return
        before, now = (_decisive(c) for c in (read_config(written), self.cfg))
        differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if differing:
            raise ConfigError(
                [
                    f"{self.folder}: holds the run of another config, which differs in {', '.join(differing)}; "
                    "name another --work-dir, or move that run away"
                ],
                self.command,
            )


def _decisive(config: Config) -> dict[str, Any]:
    """What decides a run's scores: without workers, a base's local names, and the plug-ins that a run notes."""
    content = {key: value for key, value in config.to_dict().items() if not key.startswith("_") and key != "plugins"}
    for loader in ("train_dataloader", "test_dataloader"):
        content[loader] = {key: value for key, value in content[loader].items() if key != "num_workers"}
    return content


def _folder_name(stem: str, options: Mapping[str, Any]) -> str:
    """``normsoftmax_cub,loss.temperature=0.1``: a folder that says what is in it."""
    parts = [f"{'.'.join(key.split('.')[-2:])}={_plain(value)}" for key, value in sorted(options.items())]
    return ",".join([stem, *(re.sub(r"[^\w.=+@-]+", "_", part).strip("_") for part in parts)])


def _plain(value: Any) -> str:
    return str(value).replace(" ", "")
