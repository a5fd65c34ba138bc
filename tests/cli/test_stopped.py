"""A signal ends a command with one line and its status: what was there before is whole, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from metricforge import build_runner
from metricforge.cli.main import main

STATUSES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140}

# a command in a process of its own, which gets a signal while it writes the first file of that name
CHILD = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where nohup has started these tests,
signal.signal(signal.SIGINT, signal.default_int_handler)  # or a shell behind "&"
import torch
torch.set_num_threads(1)
from metricforge import atomic_write
from metricforge.__main__ import main

number, name, fast, told = getattr(signal, sys.argv[1]), sys.argv[2], atomic_write._create, []

def create(unfinished, target):
    file = fast(unfinished, target)
    if target.name == name and not told:
        told.append(name)
        file.write(b"half of ")
        file.flush()
        os.kill(os.getpid(), number)
    return file

atomic_write._create = create
main(sys.argv[3:])
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, image_folder):
    """A run and its config."""
    folder = tmp_path_factory.mktemp("stopped")
    images = dict(type="ImageFolderDataset", root=str(image_folder), transform=[dict(type="CenterCrop", size=16)])
    config = dict(
        model=dict(backbone=dict(type="GlyphNet"), loss=dict(type="TripletLoss")),
        train_dataloader=dict(
            dataset=images | dict(split="train"),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2),
        ),
        test_dataloader=dict(dataset=images | dict(split="test")),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        train_cfg=dict(max_epochs=1),
    )
    script = folder / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()))
    build_runner(str(script), work_dir=folder / "run", device="cpu").train()
    return script, folder / "run"


def command(name, trained, folder, image_folder):
    script, run = trained
    checkpoint = next(run.glob("iter_*.pth"))
    return {
        "test": ["test", script, checkpoint, "--save-embeddings", folder / "e.npz"],
        "report": ["report", run, "--out", folder / "report.html", "--map", "none"],
        "embed": ["embed", run, image_folder, "--out", folder / "parts", "--workers", 0],
        "index": ["index", run, image_folder, "--out", folder / "index"],
    }[name]


def stopped(told, file, words, temporary):
    code = [sys.executable, "-c", CHILD, told, file, *map(str, words), "--device", "cpu"]
    places = {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(code, env=os.environ | places, capture_output=True, text=True, check=False)


@pytest.fixture
def short_folder():
    """For temporary files: workers have sockets there, whose paths may have 107 characters."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "told"),
    [
        ("test", "e.npz", "SIGTERM"),
        ("test", "scores.json", "SIGINT"),
        ("report", "report.html", "SIGHUP"),
        ("embed", "part-000000.parquet", "SIGUSR1"),
        ("index", "index.json", "SIGUSR2"),
    ],
)
def test_a_signal_while_a_file_is_written_leaves_the_one_before_and_says_so(
    name, file, told, trained, image_folder, tmp_path, short_folder
):
    temporary = short_folder
    for before in ("e.npz", "report.html"):
        (tmp_path / before).write_bytes(b"the one before")
    words = command(name, trained, tmp_path, image_folder)
    done = stopped(told, file, words, temporary)
    line = "interrupted" if told == "SIGINT" else f"stopped by {told}"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (STATUSES[told], line), done.stderr
    assert "Traceback" not in done.stderr
    for before in ("e.npz", "report.html"):
        assert (tmp_path / before).read_bytes() == b"the one before"
    assert [path for folder in (tmp_path, trained[1]) for path in folder.rglob("*.tmp")] == []
    assert list(temporary.glob("metricforge*")) == []
    assert stopped("SIGTERM", "nothing of this name", words, temporary).returncode == 0, "the same command goes on"


def in_child(body: str) -> subprocess.CompletedProcess[str]:
    code = "import os, signal, time\nfrom metricforge.cli.run_command import run_command\n" + textwrap.dedent(body)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_library_that_takes_the_interruption_for_an_error_of_its_own_does_not_hide_it():
    done = in_child(
        """
        def command():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(30)
            except:
                raise SyntaxError("Failed to format the config file")
        run_command(command)
        """
    )
    assert (done.returncode, done.stderr) == (143, "stopped by SIGTERM\n")


def test_a_command_that_computes_on_in_a_library_ends_some_seconds_later():
    done = in_child(
        """
        import threading
        from metricforge.cli import stopped
        stopped.PATIENCE_SECONDS = 0.2
        def command():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
            import ctypes
            ctypes.CDLL(None).sleep(30)  # outside of Python, which is told when it returns
            ctypes.CDLL(None).sleep(30)
        signal.siginterrupt(signal.SIGTERM, False)
        run_command(command)
        """
    )
    assert (done.returncode, done.stderr) == (143, "stopped by SIGTERM\n")


def test_a_process_that_goes_on_after_a_command_was_stopped_is_left_alone():
    done = in_child(
        """
        from metricforge.cli import stopped
        stopped.PATIENCE_SECONDS = 0.2
        try:
            run_command(lambda: os.kill(os.getpid(), signal.SIGTERM))
        except SystemExit as end:
            time.sleep(1)
            print(end.code)
        """
    )
    assert (done.returncode, done.stdout) == (0, "143\n")


def test_a_process_that_a_command_forked_ends_of_the_signal_itself():
    done = in_child(
        """
        def command():
            child = os.fork()
            if not child:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(30)
            assert os.waitpid(child, 0)[1] == signal.SIGTERM
        run_command(command)
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_hangup_that_nohup_ignores_stays_ignored():
    done = in_child(
        """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run_command(lambda: os.kill(os.getpid(), signal.SIGHUP))
        """
    )
    assert done.returncode == 0


@pytest.mark.parametrize("within", ["cli.main.resolve_name", "cli.train.build_runner"], ids=["imports", "building"])
def test_a_training_that_is_stopped_before_it_trains_asks_to_be_queued_again(within, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(f"metricforge.{within}", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        main(["train", "normsoftmax_glyphs", "--work-dir", str(tmp_path / "run")])
    assert end.value.code == 75
    assert "stopped by SIGTERM before it trained; the same command begins it, or goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
