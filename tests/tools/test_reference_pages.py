"""The generated pages of the documentation say what the parsers and the registries say."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import pytest

from metricforge.cli.parser import COMMANDS
from metricforge.registry import KINDS

SCRIPT = Path(__file__).parents[2] / "tools" / "reference_pages.py"
spec = importlib.util.spec_from_file_location("reference_pages", SCRIPT)
assert spec is not None
assert spec.loader is not None
reference_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference_pages)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["reference_pages.py", str(folder)])
        reference_pages.main()
    return folder


def test_every_command_and_subcommand_has_a_section(pages: Path):
    headings = [line.lstrip("# ") for line in (pages / "commands.md").read_text().splitlines() if line.startswith("#")]
    assert set(headings) >= {f"metricforge {name}" for name in COMMANDS}
    assert {"metricforge data prepare", "metricforge data check", "metricforge plot convergence"} <= set(headings)


def test_every_component_of_the_core_has_a_row(pages: Path):
    text = (pages / "components.md").read_text()
    for kind in set(KINDS) - {"transform"}:
        absent = [name for name in KINDS[kind].names() if f"| `{name}` |" not in text and not name.startswith("pml.")]
        assert absent == []


def test_a_row_has_the_help_with_its_default_and_no_bar_that_would_end_the_cell():
    parser = argparse.ArgumentParser(prog="metricforge fly")
    parser.add_argument("what", metavar="BIRD|PLANE", help="what flies")
    parser.add_argument("--height", type=int, default=3, metavar="M", help="how high (default: %(default)s)")
    rows = list(reference_pages.section(parser, level=2))
    assert "| `BIRD\\|PLANE` | what flies |" in rows
    assert "| `--height M` | how high (default: 3) |" in rows
