"""The checks for a GPU, run small on the processor."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "tools" / "gpu_checks.py"


@pytest.fixture
def checks(monkeypatch):
    found = runpy.run_path(str(FILE), run_name="gpu_checks")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gpu_checks.py", "--device", "cpu", *arguments])
        return found["main"]()

    run.table = found["CHECKS"]
    return run


def test_small_on_a_processor_they_hold_and_write_the_table_that_they_print(checks, tmp_path, capsys):
    assert (
        checks(
            "--only", "NCCL", "precision and compile", "nvJPEG", "search", "LoRA", "--out", str(tmp_path / "table.md")
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert (tmp_path / "table.md").read_text() == printed
    rows = {row.split(" | ")[0][2:]: row.split(" | ")[1] for row in printed.splitlines()[4:]}
    assert rows == {"NCCL": "held", "precision and compile": "not here", "nvJPEG": "held"} | dict.fromkeys(
        ("search", "LoRA"), "held"
    )


def test_one_that_fails_leaves_the_others_and_its_reason(checks, capsys):
    def fail(setting):
        raise RuntimeError("no | such\nkernel")

    checks.table["NCCL"] = fail
    assert checks("--only", "NCCL", "SyncBatchNorm") == 1
    failed, other = capsys.readouterr().out.splitlines()[4:]
    assert failed.startswith(r"| NCCL | **failed** | RuntimeError: no \| such kernel |")
    assert other.startswith("| SyncBatchNorm | not here |")


@pytest.mark.slow
def test_all_of_them_hold_on_a_processor(checks):
    assert checks() == 0


def test_without_a_gpu_they_say_how_to_run_small(monkeypatch, capsys):
    main = runpy.run_path(str(FILE), run_name="gpu_checks")["main"]
    monkeypatch.setattr(sys, "argv", ["gpu_checks.py"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        main()
    assert "torch sees no GPU here; --device cpu runs the checks small" in capsys.readouterr().err
