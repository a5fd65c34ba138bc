"""Chooses the folder of a run or an evaluation: never one that is taken, nor the same one twice at the same time."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Literal

from metricforge.engine.records.shard_files import forget_shards
from metricforge.errors import CheckpointError, ConfigError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.run_lock import LOCK_FILE, RunLock

RUNS, EVALUATIONS = Path("runs"), "evaluations"
# What training writes through a temporary file beside it; any other file in its folder belongs to others.
_WRITTEN = (
    r"(iter_[0-9]+|best|chosen)\.pth|not_finite_[0-9]+\.pt|(history\.jsonl|scores\.json|readout\.json)"
    r"|scores\.queries\.npz|unreadable_images\.txt|.+\.py|\.run\.lock\.json"
)
_FILE = re.compile(_WRITTEN)
_LEFTOVER = re.compile(rf"\.({_WRITTEN})(\..*)?\.tmp|\.(scores\.json|scores\.queries\.npz)\.[0-9]+")


def take_run_folder(name: str, work_dir: str | Path | None, *, resume: bool | Literal["auto"]) -> RunLock:
    """Take and lock the folder of a training run, and remove unfinished files of killed runs from it.

    Args:
        name: of the config; without a ``work_dir`` the folder is ``runs/<name>``, or ``runs/<name>-<number>`` where
            that is taken; a resume takes the one with the largest number, which "auto" makes if there is none.
        work_dir: the folder to use instead.
        resume: continue the run in it; "auto": if it has a checkpoint, otherwise begin one.

    Raises:
        RunFolderError: if another training is using it.
        ConfigError: if it holds another run that is not to be resumed, or a pipe or device by the name of a file of a
            run, or cannot be written.
        CheckpointError: if there is nothing to resume.
    """
    made = False
    try:
        if work_dir is not None:
            folder = Path(work_dir)
            if resume is not True:
                made = not folder.exists()
                folder.mkdir(parents=True, exist_ok=True)
        elif resume:
            folder = _newest(RUNS / name)
            if resume == "auto":
                made = not folder.exists()
                folder.mkdir(parents=True, exist_ok=True)
        else:
            folder, made = _new_folder(RUNS, name), True
        if resume and not folder.is_dir():
            raise CheckpointError(f"cannot resume {folder}: there is no such folder; train without --resume")
        _refuse_pipes(folder)
        lock = RunLock(folder)
        lock.acquire()
    except OSError as error:
        raise ConfigError([f"--work-dir {work_dir or RUNS}: {_why(work_dir or RUNS, error)}"], "the command") from error
    found = [] if resume is True or (resume and checkpoint_files(folder)) else _records(folder)
    if found:
        lock.release()
        raise ConfigError(
            [f"--work-dir {folder}: holds another run's {found[0]}; continue it with --resume, or name another folder"],
            "the command",
        )
    lock.made_folder = made
    for file in folder.iterdir():
        if _LEFTOVER.fullmatch(file.name):
            file.unlink(missing_ok=True)
    forget_shards(folder)
    return lock


def give_back_run_folder(lock: RunLock) -> None:
    """Release the folder of a run that could not start, and remove it if it was created for the run and is empty."""
    lock.release()
    if lock.made_folder:
        with suppress(OSError):
            (lock.folder / LOCK_FILE).unlink(missing_ok=True)
            lock.folder.rmdir()


def take_evaluation_folder(checkpoint: Path) -> Path:
    """Create the folder ``evaluations/<checkpoint>-<n>`` beside ``checkpoint``, with the smallest free n.

    Raises:
        ConfigError: if it cannot be created.
    """
    parent = checkpoint.parent / EVALUATIONS
    for number in count(1):
        folder = parent / f"{checkpoint.stem}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(
                [f"{parent}: {_why(parent, error)}; name another folder: --work-dir"], "the command"
            ) from error
        return folder
    raise AssertionError("some number is free")


def check_evaluation_folder(folder: Path) -> None:
    """Refuse to evaluate into a ``folder`` that holds the records of a run or of another evaluation.

    Raises:
        ConfigError: names one of them.
    """
    found = _records(folder)
    if found:
        raise ConfigError(
            [
                f"--work-dir {folder}: holds the {found[0]} of a run or an evaluation, which is never overwritten; "
                f"name another folder, or leave --work-dir out to get a numbered one in {EVALUATIONS}/ next to the "
                "checkpoint"
            ],
            "the command",
        )


def _why(folder: str | Path, error: OSError) -> str:
    """Why nothing can be written into ``folder``."""
    file = next((path for path in (Path(folder), *Path(folder).parents) if path.is_file()), None)
    return f"cannot be written ({error})" if file is None else f"{file} is a file, and a folder is needed"


def _records(folder: Path) -> list[str]:
    """Return the files of a run or an evaluation in ``folder``."""
    found = ["checkpoints"] if checkpoint_files(folder) else []
    return found + [name for name in ("best.pth", "chosen.pth", "scores.json") if (folder / name).exists()]


def _refuse_pipes(folder: Path) -> None:
    """Refuse a ``folder`` in which a pipe or a device, written to as it is, would keep a training waiting."""
    for path in folder.iterdir():
        if _FILE.fullmatch(path.name) and path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError(
                [f"--work-dir {folder}: {path.name} is a pipe or a device, and a training writes a file of that name"],
                "the command",
            )


def _new_folder(parent: Path, name: str) -> Path:
    """Create ``<name>`` in ``parent``, or ``<name>-<number>`` with a number above all existing ones."""
    parent.mkdir(parents=True, exist_ok=True)
    numbers = _numbers(parent, name)
    for number in count(max(numbers) + 1 if numbers else 1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):  # another process chose it at the same time
            folder.mkdir()
            return folder
    raise AssertionError("some number is free")


def _newest(base: Path) -> Path:
    numbers = _numbers(base.parent, base.name)
    number = max(numbers) if numbers else 1
    return base if number == 1 else base.with_name(f"{base.name}-{number}")


def _numbers(parent: Path, name: str) -> list[int]:
    """Return the numbers of the folders ``<name>`` (number 1) and ``<name>-<number>`` in ``parent``."""
    if not parent.is_dir():
        return []
    pattern = re.compile(re.escape(name) + r"(?:-([1-9][0-9]{0,8}))?")
    found = (pattern.fullmatch(path.name) for path in parent.iterdir())
    return [int(match[1] or 1) for match in found if match]
