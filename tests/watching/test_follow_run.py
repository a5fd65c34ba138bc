"""A run is followed from before its first line to its end, in lines and as a picture."""

from __future__ import annotations

import io
import shutil

import pytest
from rich.console import Console

from metricforge.cli.main import main
from metricforge.errors import MetricForgeError
from metricforge.run_records.history import History
from metricforge.run_records.run_lock import RunLock
from metricforge.watching import read_state
from metricforge.watching.follow_run import follow_run
from metricforge.watching.terminal_picture import draw_state


def console_of(width: int = 120, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, height=50, force_terminal=terminal, markup=False, emoji=False)


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_is_followed_until_it_ends(terminal, tmp_path, finish):
    folder = tmp_path / "run"
    folder.mkdir()
    lock = RunLock(folder)
    lock.acquire()
    steps = iter(range(100))

    def train_on(seconds: float) -> None:
        step = next(steps)
        history = History(folder)
        if step in (1, 2, 3):
            history.add_losses(step, step / 3, [0.1], {"loss": 1 / step})
            history.add_scores(step, step / 3, {"recall@1": step / 10}, "validation classes")
        if step == 4:
            history.add_diagnosis(3, 1.0, "rate", "The weights hardly move.", [])
            finish(folder)
            lock.release()
        assert step < 5, "it has ended"

    console = console_of(terminal=terminal)
    state = follow_run(folder, console, wait=train_on)
    shown = console.file.getvalue()
    assert state.status == "finished"
    assert "run has not logged anything yet" in shown
    assert "run is training" in shown
    assert "The weights hardly move." in shown
    assert "75.0" in shown, "the score of the test"
    if not terminal:
        assert shown.count("epoch 0.33  validation classes  recall@1 0.1000") == 1
        assert shown.count("The weights hardly move.") == 1


def test_a_run_that_is_resumed_is_followed_on(run, finish):
    finish(run, "stopped", "stopped by SIGTERM")
    steps = iter(range(10))

    def resume(seconds: float) -> None:
        if next(steps) == 0:
            History(run).start(20)
            finish(run)
        else:
            raise KeyboardInterrupt

    console = console_of()
    with pytest.raises(KeyboardInterrupt):
        follow_run(run, console, keep=True, wait=resume)
    shown = console.file.getvalue()
    assert shown.index("was stopped: stopped by SIGTERM") < shown.index("triplet_birds has ended")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_that_is_deleted_while_it_is_watched_is_an_error_that_says_so(terminal, run):
    lock = RunLock(run)
    lock.acquire()

    def delete(seconds: float) -> None:
        shutil.rmtree(run)

    with pytest.raises(MetricForgeError, match=r"triplet_birds: is no longer there; it was deleted or moved"):
        follow_run(run, console_of(terminal=terminal), wait=delete)


@pytest.mark.parametrize(("kind", "encoding"), [("dumb", "utf-8"), ("xterm", "ascii")])
def test_a_terminal_that_cannot_draw_curves_gets_lines(kind, encoding, run, finish):
    finish(run)
    written = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=written, width=60, force_terminal=True, markup=False, _environ={"TERM": kind})
    follow_run(run, console)
    written.flush()
    shown = written.buffer.getvalue().decode(encoding)
    assert "epoch 1.00  validation classes  recall@1 0.4000" in shown
    assert "75.0" in shown


@pytest.mark.parametrize(("width", "height"), [(160, 60), (80, 24), (30, 10)])
def test_the_picture_fits_the_terminal_and_hostile_words_are_text(run, width, height):
    console = console_of(width, terminal=True)
    console.print(draw_state(read_state(run), width, height))
    lines = console.file.getvalue().splitlines()
    assert "[bold]<b>0.2</b>[/bold]" in "".join(lines).replace("\x1b[0m", "").replace("\x1b[33m", "") or width < 40
    assert any("Loss" in line for line in lines)


def test_the_command_exits_by_how_the_run_ended(run, finish, capsys):
    finish(run, "failed", "the loss became nan")
    with pytest.raises(SystemExit) as left:
        main(["watch", str(run)])
    assert left.value.code == 1
    assert "has failed: the loss became nan" in capsys.readouterr().out
    History(run).start(40)
    finish(run)
    main(["watch", str(run)])
    out = capsys.readouterr().out
    assert "triplet_birds has ended." in out
    assert "75.0" in out
    assert f"metricforge report {run}" in out.replace("\n", "")


def test_a_host_without_a_port_cannot_take_effect(run, capsys):
    with pytest.raises(SystemExit) as left:
        main(["watch", str(run), "--host", "0.0.0.0"])
    assert left.value.code != 0
    assert "add --port" in capsys.readouterr().err
