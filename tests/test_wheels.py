"""The wheels are what users get: built, installed outside the checkout, and used there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = [".", *(f"plugins/{folder.parent.name}" for folder in sorted(ROOT.glob("plugins/*/pyproject.toml")))]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
USER_FILE = """\
import metricforge
runner = metricforge.build_runner("normsoftmax_glyphs")
loss: metricforge.LossOutput | None = metricforge.LOSSES.build({"type": "TripletLoss", "margin": runner.seed})
"""


def tracked(folder: Path) -> list[str]:
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=folder
    )
    return [name for name in listed.decode().split("\0") if name and (folder / name).is_file()]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """The wheels of the core and of every plug-in, built from a copy, so that the checkout keeps no build folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in tracked(ROOT):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    build = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    subprocess.run([*build, *(str(source / folder) for folder in DISTRIBUTIONS)], check=True)
    return out


@pytest.fixture(scope="module")
def installed(wheels, tmp_path_factory) -> Path:
    """The programs of a fresh environment with the wheels in it, which borrows what they require from this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    programs = home / "bin"
    install = [*PIP, "--python", str(programs / "python"), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, *map(str, wheels.glob("*.whl"))], check=True)
    (site,) = home.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()]
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    return programs


def run(folder: Path, *command: str | Path) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {
        **kept,
        "PATH": f"{Path(command[0]).parent}:{kept['PATH']}",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([str(c) for c in command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names_in(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_the_core_s_wheel_holds_every_file_of_the_package_and_every_config(wheels):
    (held,) = (names for names in map(names_in, wheels.glob("*.whl")) if "metricforge/__init__.py" in names)
    wanted = {name for name in tracked(ROOT) if name.startswith("metricforge/")}
    wanted |= {f"metricforge/{name}" for name in tracked(ROOT) if name.startswith("configs/")}
    assert sorted(wanted - held) == []


@pytest.mark.slow
def test_installed_wheels_train_test_and_list_plug_ins_outside_the_checkout(installed, image_folder, tmp_path):
    command = installed / "metricforge"
    where = run(tmp_path, installed / "python", "-c", "import metricforge; print(metricforge.__file__)")
    assert str(installed.parent) in where
    plugins = run(tmp_path, command, "plugins")
    assert all(f"metricforge-{name}" in plugins for name in ("lifted", "normsoftmax", "pddm", "pml"))
    assert "normsoftmax_glyphs " in run(tmp_path, command, "configs")

    photos = tmp_path / "my photos"
    shutil.copytree(image_folder, photos)
    run(tmp_path, command, "configs", "copy", "normsoftmax_folder", "--out", "own configs")
    sampler = "train_dataloader.sampler=dict(classes_per_batch=2, samples_per_class=2)"
    options = ["data_root=my photos", 'model.backbone=dict(type="GlyphNet")', sampler, "train_cfg.max_epochs=1"]
    options += ["train_dataloader.num_workers=0", "test_dataloader.num_workers=0", "baselines=None"]
    options += ["train_cfg.warmup_epochs=0", "optim_wrapper.paramwise_cfg=None", "param_scheduler=None"]
    options += ['evaluators=[dict(type="RecallAtK", ks=[1])]']
    device = ["--device", "cpu", "--cfg-options", *options]
    for config in ("normsoftmax_folder", "configs/normsoftmax_folder.py", "own configs/normsoftmax_folder.py"):
        trained = run(tmp_path, command, "train", config, *device)
        assert "24 images of 4 classes" in trained
    typed = next(line for line in trained.splitlines() if line.startswith("  metricforge test "))
    assert "recall@1" in run(tmp_path, "/bin/sh", "-c", f"PATH={installed}:$PATH; {typed} --device cpu")


@pytest.mark.slow
def test_type_checkers_see_the_installed_package(installed, tmp_path):
    (tmp_path / "user.py").write_text(USER_FILE)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed / "python", "user.py"]
    assert "Success: no issues found in 1 source file" in run(tmp_path, *mypy)
