"""Folders and files that others may not read or write: one line names the place, and nothing there changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from metricforge.cli.main import main

# every command in one process, without the right of root to pass every check
CHILD = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
import torch
torch.set_num_threads(1)
from metricforge.cli.main import main

found = []
for words in json.load(sys.stdin):
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        try:
            main(words)
            status = 0
        except SystemExit as end:
            status = end.code
    found.append([status, said.getvalue()])
print(json.dumps(found))
"""
READ_ONLY, SHUT = 0o555, 0o000


@pytest.fixture
def closed():
    """Takes rights from files and folders until the test has ended."""
    before = {}

    def close(path, mode):
        before[path] = path.stat().st_mode
        path.chmod(mode)

    yield close
    for path, mode in reversed(before.items()):
        path.chmod(mode)


def tried(commands):
    rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*rights, sys.executable, "-c", CHILD],
        input=json.dumps([[str(word) for word in words] for words in commands]),
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root passes every check")
def test_what_may_not_be_read_or_written_is_one_line_that_names_it(tiny_config, image_folder, tmp_path, closed):
    images = tmp_path / "images"
    shutil.copytree(image_folder, images)
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    run, index = tmp_path / "run", tmp_path / "index"
    main(["train", str(script), "--device", "cpu", "--work-dir", str(run)])
    main(["index", str(run), str(images), "--out", str(index), "--device", "cpu"])
    locked = tmp_path / "locked"
    shutil.copytree(run, locked)
    (locked / ".run.lock").touch()
    cache, shut = tmp_path / "cache", tmp_path / "shut"
    cache.mkdir()
    shut.mkdir()
    best = next(run.glob("iter_18.pth"))
    copied = tmp_path / "copied.pth"
    shutil.copy2(best, copied)
    others = tmp_path / "other_index"
    shutil.copytree(index, others)
    hidden = next((others / "segments").glob("*/vectors.npy"))
    table = tmp_path / "e.npz"
    table.write_bytes(b"")
    for folder in (run, index, cache):
        closed(folder, READ_ONLY)
    for path in (locked / ".run.lock", shut, images / "class_3", copied, hidden, table):
        closed(path, SHUT)
    train = ["train", script, "--device", "cpu", "--work-dir"]
    resized = "train_dataloader.dataset.transform=[dict(type='CenterCrop',size=16)]"
    good = ["--cfg-options", "train_cfg.max_epochs=1", resized]
    own = [f"{part}_dataloader.dataset.root='{images}'" for part in ("train", "test")]
    cases = [
        ([*train, run, "--resume"], f"--work-dir {run}: cannot be written"),
        ([*train, run / "below"], f"--work-dir {run / 'below'}: cannot be written"),
        ([*train, shut / "below"], f"{shut / 'below'}: Permission denied"),
        ([*train, locked, "--resume"], ".run.lock'"),
        ([*train, tmp_path / "new", *good, f"train_dataloader.cache='{cache}'"], f"cache: {cache}"),
        ([*train, tmp_path / "new", *good, *own], f"{images / 'class_3'} cannot be listed (Permission denied)"),
        (["test", script, copied, "--device", "cpu"], f"{copied}: cannot be read"),
        (["test", script, best, "--device", "cpu"], f"{run / 'evaluations'}: cannot be written"),
        (["report", run, "--map", "none", "--device", "cpu"], f"{run / 'report.html'}: Permission denied"),
        (
            ["embed", run, image_folder, "--out", run / "parts", "--device", "cpu"],
            f"{run}/parts: Permission denied",
        ),
        (["export", run, "--out", run / "bundle"], f"{run / 'bundle'}: no folder can be made here (Permission denied)"),
        (["index", "add", index, image_folder], f"{index} cannot be changed and is as before (Permission denied)"),
        (["search", others, image_folder / "class_0" / "0.png"], f"{hidden} cannot be read (Permission denied)"),
        (["evaluate", table], f"{table} cannot be read"),
        (["data", "check", images], f"{images / 'class_3'} cannot be listed (Permission denied)"),
    ]
    before = sorted(path for folder in (run, index) for path in folder.rglob("*"))
    for (words, says), (status, said) in zip(cases, tried([words for words, _ in cases]), strict=True):
        assert status == 1, (words, said)
        assert says in said, (words, said)
        assert len(said.splitlines()) <= 2, (words, said)
        assert "Traceback" not in said, (words, said)
    assert sorted(path for folder in (run, index) for path in folder.rglob("*")) == before
