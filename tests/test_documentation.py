"""The README and the documentation are true where no example runs: links, commands, languages, lengths."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

import metricforge
from metricforge import testing
from metricforge.cli.parser import build_parser
from metricforge.cli.parsers.index import with_verb
from metricforge.config_files import find_config

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
LANGUAGES = {"csv", "ini", "json", "python", "shell", "text", "toml", "yaml"}
SCRIPTS = {f"tools/{name}.py": name for name in ("train", "test", "reproduce")}


def shell_lines() -> list[tuple[str, str]]:
    """Every command line of every shell block, with its page; continued lines are joined."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"^```shell\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE):
            joined = block.replace("\\\n", " ")
            lines += [(str(page.relative_to(ROOT)), line.strip()) for line in joined.splitlines()]
    return lines


def commands() -> list[tuple[str, list[str]]]:
    """The arguments of every documented call of ``metricforge``, also by ``tools/*.py``, with its page."""
    calls = []
    for page, line in shell_lines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["metricforge"]:
            calls.append((page, words[1:]))
        for number, word in enumerate(words):
            if word in SCRIPTS:
                calls.append((page, [SCRIPTS[word], *words[number + 1 :]]))
    return calls


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fenced_block_names_a_language_so_that_none_escapes_the_tests(page: Path):
    fences = re.findall(r"^```(\w*)", page.read_text(), flags=re.MULTILINE)
    assert len(fences) % 2 == 0
    assert {language or "none" for language in fences[::2]} <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path):
    generated = {"commands.md", "components.md"}
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if not link.startswith("http") and Path(link).name not in generated]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_documented_command_has_arguments_that_the_command_accepts():
    whole = build_parser()
    documented = [(page, call) for page, call in commands() if not any("$" in word for word in call)]
    assert len(documented) > 15
    for page, call in documented:
        try:
            whole.parse_args(with_verb(call))
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"{page}: metricforge {shlex.join(call)}: {error}")


def test_every_config_that_a_command_names_is_found_by_its_name():
    named = [(page, call[1]) for page, call in commands() if call[0] in {"train", "test"} and call[1] != "CONFIG"]
    assert len(named) > 5
    for page, name in named:
        package = name.partition("::")[0]
        if "::" not in name or find_spec(package):  # else of a plug-in that the page has its reader write
            assert find_config(name).is_file(), page


def test_every_make_target_that_is_named_exists():
    named = {line.split()[1] for _, line in shell_lines() if line.startswith("make ")}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_the_readme_has_at_most_600_words():
    assert len((ROOT / "README.md").read_text().split()) <= 600


def test_ci_calls_the_readme_s_second_command():
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)


def test_the_python_reference_has_every_public_name():
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    names = [*metricforge.__all__, *testing.__all__]
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_every_public_name_has_an_example_in_its_docstring():
    documented = set(metricforge.__all__) - {"Tuples"}  # a union of three that have one
    assert [name for name in documented if ">>> " not in (getattr(metricforge, name).__doc__ or "")] == []


def test_the_citation_has_the_version_of_the_package():
    assert f"\nversion: {metricforge.__version__}\n" in (ROOT / "CITATION.cff").read_text()
