"""The README is true: its commands, its table and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metricforge.config import complete_config, read_config
from metricforge.registry import FIRST_PARTY_TYPES, KINDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_link_leads_to_a_file():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_names_a_script_and_a_config_that_exist():
    commands = re.findall(r"python tools/(\w+\.py) (configs/\S+\.py)", README)
    assert len(commands) >= 4
    for script, config in commands:
        assert (ROOT / "tools" / script).is_file()
        assert (ROOT / config).is_file()


def test_the_table_lists_every_component_of_the_core_and_no_other():
    table = README.split("## What is inside")[1].split("Optimizers, schedulers")[0]
    listed = {name for line in table.splitlines() for name in re.findall(r"`([A-Za-z0-9]+)`", line.rsplit("|", 2)[0])}
    listed.discard("type")
    ours = {
        name
        for kind in set(KINDS) - {"transform"}
        for name in KINDS[kind].names()
        if KINDS[kind].get(name).__module__.startswith("metricforge.")
    }
    assert listed == ours | set(FIRST_PARTY_TYPES)


@pytest.mark.parametrize("target", ["demo", "test", "check", "setup"])
def test_every_make_target_that_is_named_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_ci_calls_the_readme_s_second_command():
    assert "make test" in README
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()


def test_the_options_of_the_commands_are_in_their_configs():
    config = read_config(ROOT / "configs" / "normsoftmax_folder.py", {"data_root": "photos"})
    complete_config(config)
    assert config.train_dataloader.dataset.root == config.test_dataloader.dataset.root == "photos"
