"""What asks for no work loads nothing slow; how much faster that is, benchmarks/startup.py measures."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from metricforge.cli.parser import COMMANDS, build_parser
from metricforge.cli.parsers.data import BENCHMARK_NAMES
from metricforge.cli.parsers.evaluate import DEFAULT_SCORES
from metricforge.run_records.history import History

SLOW = ("torch", "torchvision", "timm", "sklearn", "scipy", "mmengine", "matplotlib", "faiss", "pyarrow", "numpy")
NO_WORK = [
    (["--help"], 0),
    (["--version"], 0),
    (["trian"], 2),
    ([], 2),
    *(([name, "--help"], 0) for name in COMMANDS),
    (["data", "check", "--help"], 0),
    (["train"], 2),
    (["train", "x.py", "--cfg-options", "no-value"], 2),
    (["configs"], 0),
]


@pytest.mark.parametrize(("arguments", "status"), NO_WORK, ids=str)
def test_what_does_no_work_imports_nothing_slow(arguments, status):
    code = (
        "import sys\nfrom metricforge.__main__ import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as leaving: status = leaving.code or 0\n"
        "else: status = 0\n"
        f"print('loaded', [name for name in {SLOW!r} if name in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"loaded [] {status}", done.stderr


def test_a_run_is_watched_without_pytorch_in_the_terminal_and_as_a_page(tmp_path):
    history = History(tmp_path)
    history.add_losses(20, 1.0, [0.001], {"loss": 0.5})
    history.add_end(20, 1.0, "finished", "")
    code = (
        "import sys, metricforge.watching.live_page\nfrom metricforge.__main__ import main\n"
        f"main(['watch', {str(tmp_path)!r}])\n"
        f"print('loaded', [name for name in {SLOW!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "has ended" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded ['numpy']"


def test_importing_the_package_loads_nothing_slow():
    code = f"import sys, metricforge; print([name for name in {SLOW!r} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


@pytest.mark.skipif(find_spec("transformers") is None, reason="peft brings it")
@pytest.mark.parametrize("module", ["runner", "cli.train", "testing"])
def test_training_and_plug_in_checks_import_no_transformers(module):
    code = f"import sys, metricforge.{module}; print('transformers' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="peft brings it")
def test_the_optimizer_that_transformers_has_is_found_by_name():
    code = (
        "from metricforge.config import complete_config, read_config\n"
        "from metricforge.config_check import check_config\n"
        "config = read_config('normsoftmax_glyphs', {'optim_wrapper.optimizer.type': 'Adafactor'})\n"
        "complete_config(config)\n"
        "print(check_config(config))"
    )
    # mmengine prints a line of its own before
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "[]"


def test_python_m_metricforge_is_the_command():
    done = subprocess.run([sys.executable, "-m", "metricforge", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: metricforge")


def test_a_wrong_command_names_the_right_ones():
    done = subprocess.run([sys.executable, "-m", "metricforge", "trian"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "'trian'" in done.stderr
    assert "train" in done.stderr


def test_what_the_parsers_say_of_slow_modules_is_true():
    from metricforge.measurement import DEFAULT_SCORES as MEASURED
    from metricforge.preparation import BENCHMARKS

    assert DEFAULT_SCORES.split(",") == list(MEASURED)
    assert sorted(BENCHMARKS) == sorted(BENCHMARK_NAMES)


def test_every_command_leads_to_a_function():
    from pkgutil import resolve_name

    for name in COMMANDS:
        arguments = build_parser().parse_args(LINES[name])
        assert callable(resolve_name(arguments.run))


LINES = {
    "train": ["train", "a.py"],
    "submit": ["submit", "c.py"],
    "test": ["test", "a.py", "a.pth"],
    "embed": ["embed", "run", "photos", "--out", "out"],
    "export": ["export", "run", "--out", "bundle"],
    "evaluate": ["evaluate", "a.npz"],
    "index": ["index", "build", "run", "photos", "--out", "out"],
    "serve": ["serve", "index"],
    "search": ["search", "index", "photo.jpg"],
    "duplicates": ["duplicates", "index"],
    "frontier": ["frontier", "run", "photos"],
    "compare": ["compare", "a", "b"],
    "classes": ["classes", "a"],
    "plot": ["plot", "convergence", "a", "--out", "a.png"],
    "data": ["data", "list"],
    "configs": ["configs", "copy", "a"],
    "reproduce": ["reproduce"],
    "report": ["report", "a"],
    "watch": ["watch", "a"],
    "plugin": ["plugin", "check", "a"],
    "plugins": ["plugins"],
}
