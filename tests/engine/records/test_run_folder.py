"""Every run has a folder of its own, whatever stands beside it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from metricforge.engine.records.run_folder import (
    check_evaluation_folder,
    give_back_run_folder,
    take_evaluation_folder,
    take_run_folder,
)
from metricforge.errors import CheckpointError, ConfigError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def taken(name="tiny", resume=False):
    lock = take_run_folder(name, None, resume=resume)
    lock.release()
    return lock.folder.name


def test_runs_are_numbered_and_names_that_only_begin_alike_are_others(here):
    for name in ("tiny-old", "tiny-3-backup", "tiny-x-7", "tiny-007", "tiny-", "tinyfier"):
        (here / "runs" / name).mkdir(parents=True)
    assert [taken() for _ in range(3)] == ["tiny", "tiny-2", "tiny-3"]
    (here / "runs" / "tiny-12").mkdir()
    assert taken() == "tiny-13"
    assert taken(resume=True) == "tiny-13"


@pytest.mark.parametrize("name", ["a[/]b", "[bold]x", "[a-z]*", "$x^{$", "=cmd", "ü b"])
def test_a_name_may_hold_any_character(name):
    name = name.replace("/", "|")
    assert [taken(name) for _ in range(2)] == [name, f"{name}-2"]
    assert taken(name, resume=True) == f"{name}-2"


def test_folders_chosen_at_the_same_moment_are_different():
    with ThreadPoolExecutor(16) as pool:
        locks = list(pool.map(lambda _: take_run_folder("tiny", None, resume=False), range(16)))
    assert len({lock.folder for lock in locks}) == 16


def test_resuming_what_is_not_there_makes_no_folder(here):
    with pytest.raises(CheckpointError, match="runs/tiny: there is no such folder"):
        take_run_folder("tiny", None, resume=True)
    with pytest.raises(CheckpointError, match="nowhere: there is no such folder"):
        take_run_folder("tiny", "nowhere", resume=True)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("record", ["iter_3.pth", "best.pth", "scores.json"])
def test_what_a_run_left_is_not_written_over(here, record):
    (here / record).write_text("")
    with pytest.raises(ConfigError, match="holds another run's"):
        take_run_folder("tiny", here, resume=False)
    with pytest.raises(ConfigError, match="which is never overwritten"):
        check_evaluation_folder(here)
    take_run_folder("tiny", here, resume=True)


def test_what_dead_runs_left_unfinished_goes_and_what_others_write_stays(here):
    dead = [".iter_5.pth.x1.tmp", ".best.pth.77-78-ab.tmp", ".scores.json.4711", ".scores.queries.npz.4711"]
    dead += [".history.jsonl.tmp", ".scores.json.3-4-cd.tmp", ".tiny.py.3-4-cd.tmp"]
    dead += [".chosen.pth.3-4-cd.tmp", ".readout.json.3-4-cd.tmp", ".not_finite_7.pt.3-4-cd.tmp"]
    dead += ["..run.lock.json.3-4-cd.tmp"]
    others = [".neighbours.png.5-5-ee.tmp", ".hidden", "notes.tmp", ".iter_5.pth"]
    for name in dead + others:
        (here / name).write_text("")
    take_run_folder("tiny", here, resume=False)
    left = {path.name for path in here.iterdir()} - {".run.lock", ".run.lock.json"}
    assert left == set(others)


def test_a_folder_that_a_failed_build_made_goes_again_but_none_that_was_there(here):
    give_back_run_folder(take_run_folder("tiny", None, resume=False))
    assert not (here / "runs" / "tiny").exists()
    (here / "mine").mkdir()
    give_back_run_folder(take_run_folder("tiny", here / "mine", resume=False))
    assert (here / "mine").is_dir()


def test_evaluations_are_numbered_by_checkpoint(here):
    names = [take_evaluation_folder(here / name).relative_to(here).as_posix() for name in ("best.pth",) * 2]
    names.append(take_evaluation_folder(here / "iter_5.pth").relative_to(here).as_posix())
    assert names == ["evaluations/best-1", "evaluations/best-2", "evaluations/iter_5-1"]


def test_a_place_that_cannot_hold_a_folder_is_said_with_the_way_out(here):
    (here / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--work-dir .*file/run: .*file is a file, and a folder is needed"):
        take_run_folder("tiny", here / "file" / "run", resume=False)
    (here / "evaluations").write_text("")
    with pytest.raises(
        ConfigError, match=r"evaluations is a file, and a folder is needed; name another folder: --work-dir"
    ):
        take_evaluation_folder(here / "best.pth")


@pytest.mark.parametrize("resume", [False, "auto"])
def test_a_file_where_the_folder_is_to_be_is_named(here, resume):
    Path("file").write_text("")
    for folder in ("file", "file/run"):
        with pytest.raises(ConfigError, match=f"--work-dir {folder}: file is a file, and a folder is needed"):
            take_run_folder("config", folder, resume=resume)


@pytest.mark.parametrize("name", ["best.pth", "iter_7.pth", "scores.json", ".run.lock.json", "tiny.py"])
def test_a_pipe_that_would_keep_a_training_waiting_is_named(here, name):
    (here / "iter_6.pth").write_text("")
    os.mkfifo(here / name)
    with pytest.raises(ConfigError, match=f"{name} is a pipe or a device"):
        take_run_folder("tiny", here, resume=True)
    (here / name).rename(here / "mine")
    take_run_folder("tiny", here, resume=True)
