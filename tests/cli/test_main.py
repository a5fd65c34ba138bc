"""The command as a person types it: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch._utils import ExceptionWrapper

from metricforge.cli.main import main
from metricforge.cli.run_command import run_command
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.loading.data_loading import build_test_loader
from metricforge.errors import DatasetError
from metricforge.losses import TripletLoss
from metricforge.plugins import Plugin


@pytest.fixture
def config_file(tiny_config, tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    return path


def run(*arguments) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_training_says_what_is_trained_the_scores_and_what_to_try_next(config_file, tmp_path, capsys):
    assert run("train", config_file, "--device", "cpu", "--work-dir", tmp_path / "run") == 0
    out = capsys.readouterr().out
    for words in ("GlyphNet + RandomTripletMiner + TripletLoss", "24 images of 4 classes", "epoch 3/3", "recall@1"):
        assert words in out
    run_dir = tmp_path / "run"
    assert f"metricforge test {run_dir / 'tiny.py'} {run_dir / 'iter_18.pth'} --picture" in out


def test_the_run_s_own_config_holds_the_overrides_and_tests_the_run(config_file, tmp_path, capsys):
    folder = tmp_path / "run"
    run("train", config_file, "--device", "cpu", "--work-dir", folder, "--cfg-options", "model.head.dim=5")
    assert run("test", folder / "tiny.py", folder / "iter_18.pth", "--device", "cpu") == 0
    assert "embeddings of 5" in capsys.readouterr().out


def test_testing_prints_and_writes_the_scores_and_draws_them(config_file, tmp_path, capsys):
    run("train", config_file, "--device", "cpu", "--work-dir", tmp_path / "run")
    trained = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    picture = tmp_path / "found.png"
    checkpoint = tmp_path / "run" / "iter_18.pth"
    assert (
        run("test", config_file, checkpoint, "--device", "cpu", "--work-dir", tmp_path / "t", "--picture", picture) == 0
    )
    tested = json.loads((tmp_path / "t" / "scores.json").read_text())
    assert tested["protocol"]["checkpoint"]["file"] == "iter_18.pth"
    assert tested["scores"].keys() == trained.keys()
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert "recall@1" in capsys.readouterr().out


def test_a_config_s_faults_are_printed_without_a_traceback(config_file, tmp_path, capsys):
    options = ["--cfg-options", "model.loss.marjin=1", "modle.x=2"]
    assert run("train", config_file, "--work-dir", tmp_path / "run", *options) == 1
    printed = capsys.readouterr()
    assert "error: 2 faults in" in printed.err
    assert 'model.loss.marjin: TripletLoss has no such argument; did you mean "margin"?' in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "run").exists()


def test_what_a_worker_of_a_data_loader_raised_is_printed_without_its_traceback(capsys):
    try:
        raise DatasetError("a.jpg cannot be read:\n  it is cut short")
    except DatasetError:
        wrapped = ExceptionWrapper(sys.exc_info(), where="in DataLoader worker process 0")
    with pytest.raises(SystemExit):
        run_command(wrapped.reraise)
    assert capsys.readouterr().err == "error: a.jpg cannot be read:\n  it is cut short\n"


def _exits(image):
    sys.exit(0)


def _is_killed(image):
    os.kill(os.getpid(), signal.SIGKILL)


def _leaves(image):
    os._exit(3)


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        (_exits, r"\S*test_main\.py, line \d+, in _exits: ends the process \(SystemExit: 0\) .*"),
        # which of the two depends on whether torch hears of the signal before it misses the worker
        (_is_killed, r"a data worker \(pid \d+\) (was killed by the system \(Killed\)|ended without a word): .*"),
        (_leaves, r"a data worker \(pid \d+\) ended without a word: memory .*"),
    ],
)
def test_why_a_worker_of_a_data_loader_ended_is_one_line(image_folder, capsys, transform, says):
    dataset = ImageFolderDataset(image_folder, split="test", transform=[transform])
    loader = build_test_loader(dataset, batch_size=4, num_workers=1, device=torch.device("cpu"))
    with pytest.raises(SystemExit, match="1"):
        run_command(lambda: list(loader))
    assert re.fullmatch(f"error: {says}\n", capsys.readouterr().err)


@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_a_component_that_exits_is_named_instead_of_ending_the_command_as_if_it_were_done(
    config_file, tmp_path, monkeypatch, capsys, method
):
    def leaves(self, *args, **kwargs):
        sys.exit(0)

    monkeypatch.setattr(TripletLoss, method, leaves)
    assert run("train", config_file, "--device", "cpu", "--work-dir", tmp_path / "run") == 1
    assert re.search(r"error: .*test_main\.py, line \d+, in leaves: ends the process", capsys.readouterr().err)


def test_a_warning_of_ours_has_no_code_in_it():
    show = warnings.formatwarning
    run_command(lambda: None)
    try:
        ours, other = (
            warnings.formatwarning("slow", UserWarning, f"/x/{name}/a.py", 7) for name in ("metricforge", "y")
        )
    finally:
        warnings.formatwarning = show
    assert ours == "warning: slow\n"
    assert other.startswith("/x/y/a.py:7: UserWarning: slow")


def test_an_override_without_a_value_is_refused(config_file, capsys):
    assert run("train", config_file, "--cfg-options", "model.loss.margin") == 2
    assert "must be KEY=VALUE" in capsys.readouterr().err


def test_another_type_drops_the_arguments_of_the_one_before(config_file, tmp_path, capsys):
    options = ["--cfg-options", "model.loss.type=ContrastiveLoss", "model.miner.type=HardPairMiner"]
    assert run("train", config_file, "--device", "cpu", "--work-dir", tmp_path / "run", *options) == 0
    assert "HardPairMiner + ContrastiveLoss" in capsys.readouterr().out


def test_the_default_folder_is_numbered_and_resume_takes_the_last(config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run("train", config_file, "--device", "cpu") == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["tiny", "tiny-2"]
    assert run("train", config_file, "--device", "cpu", "--resume") == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["tiny", "tiny-2"]
    assert "resumed from iter_18.pth" in capsys.readouterr().out


def test_an_absent_checkpoint_is_said(config_file, tmp_path, capsys):
    assert run("test", config_file, tmp_path / "none.pth") == 1
    assert "none.pth: there is no such checkpoint" in capsys.readouterr().err


@pytest.fixture
def installed(monkeypatch):
    """Three plug-ins: one of one loss, one of many, one that fails."""
    many = (*(("loss", f"big.Loss{number}") for number in range(40)), ("miner", "big.Miner"))
    plugins = (
        Plugin("small", "small-dist", "1.0", "small_module", (("loss", "SmallLoss"),)),
        Plugin("big", "big-dist", "2.0", "big_module", many),
        Plugin("bad", "bad-dist", "3.0", "bad_module", (), "ImportError: no module [nonsense]"),
    )
    monkeypatch.setattr("metricforge.cli.plugins.load_plugins", lambda: plugins)


def test_plugins_lists_distributions_and_what_they_register(installed, capsys):
    assert run("plugins") == 0
    out = capsys.readouterr().out
    for words in ("small-dist", "loss SmallLoss", "loss: 40 names, see --all", "miner big.Miner", "3.0"):
        assert words in out
    assert "failed to load" in out
    assert "[nonsense]" in out  # no markup
    assert len(out.splitlines()) < 15


def test_plugins_all_has_a_line_for_every_component(installed, capsys):
    assert run("plugins", "--all") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small loss SmallLoss"
    assert lines[1:41] == [f"big loss big.Loss{number}" for number in range(40)]
    assert lines[41:] == ["big miner big.Miner", "bad failed to load: ImportError: no module [nonsense]"]


def test_other_processes_let_process_0_say_what_all_of_them_find_out(config_file, monkeypatch, capsys):
    waited = []
    monkeypatch.setattr("metricforge.cli.run_command.time.sleep", waited.append)
    for rank, quiet_seconds in (("0", []), ("1", [30])):
        waited.clear()
        monkeypatch.setenv("RANK", rank)
        with warnings.catch_warnings():  # the others repeat none of process 0's
            assert run("train", config_file, "--device", "cpu", "--cfg-options", "model.loss.type=Nothing") == 1
        assert waited == quiet_seconds
        assert "Nothing" in capsys.readouterr().err, "if process 0 did not, it says so itself"


def test_distributions_and_convergence_of_a_run_are_drawn(config_file, tmp_path, capsys):
    folder = tmp_path / "run"
    run("train", config_file, "--device", "cpu", "--work-dir", folder)
    capsys.readouterr()
    picture = tmp_path / "pairs.png"
    arguments = ["distributions", config_file, folder / "iter_18.pth", "--device", "cpu", "--pairs", "30"]
    assert run("plot", *arguments, "--out", picture) == 0
    assert "EuclideanSimilarity" in capsys.readouterr().out
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert run("plot", "convergence", folder, "--out", tmp_path / "curves.png") == 0
    assert "loss and recall@1 drawn into" in capsys.readouterr().out
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_curve_of_scores_that_do_not_compare_says_so(config_file, tmp_path):
    for dim, ks in ((5, [1, 2]), (6, [1, 2]), (7, [1])):
        options = [f"model.head.dim={dim}", f"evaluators.0.ks={ks}", "train_cfg.max_epochs=1"]
        options += ["test_dataloader.dataset.transform.0.size=20"] if dim == 7 else []
        run("train", config_file, "--device", "cpu", "--work-dir", tmp_path / str(dim), "--cfg-options", *options)
    command = ["plot", "curve", "--against", "model.head.dim", "--out", tmp_path / "c.png"]
    assert run(*command, tmp_path / "5", tmp_path / "6") == 0
    with pytest.warns(UserWarning, match=r"recall@1 was not measured in the same way .* differ in preprocessing"):
        assert run(*command, tmp_path / "5", tmp_path / "7") == 0


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_loaded(config_file, tmp_path, capsys):
    assert run("plot", "distributions", config_file, "no.pth", "--out", "picture.doc") == 2
    assert "picture.doc: must end in one of" in capsys.readouterr().err
    assert run("plot", "distributions", config_file, "no.pth", "--out", "a.png", "--pairs", "0") == 2
    assert "0: must be a whole number >= 1" in capsys.readouterr().err
    assert run("plot", "convergence", tmp_path, "--out", tmp_path / "a.png") == 1
    assert "holds no history.jsonl" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("command", [["plugins"], ["classes", "absent"], ["configs", "list"]])
def test_an_output_that_takes_no_more_is_an_error_in_one_line(command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "metricforge", *command], stdout=full, stderr=-1, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("line", "command", "says"),
    [
        ("train tiny --seeed=3", "train", '--seeed=3; did you mean "--seed"?'),
        ("index run photos --out x --knd flat", "index build", '--knd flat; did you mean "--kind"?'),
        ("index status x --xyz", "index status", "--xyz\n"),
    ],
)
def test_an_unknown_option_is_refused_by_its_command_with_the_nearest_one(line, command, says, capsys):
    assert run(*line.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"usage: metricforge {command} ")
    assert f"metricforge {command}: error: unrecognized arguments: {says}" in told
