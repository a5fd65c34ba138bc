"""What holds for all tests: the same every time, unless asked otherwise; and every documented example is a test.

Sybil runs them: alone among such libraries it takes Markdown and docstrings, blocks in any language, blocks of one page
that build on each other, and a reason for each that is skipped. (pytest-markdown-docs and mktestdocs run no docstrings,
pytest's own doctests run no Markdown.)

- A Python block runs in the page's namespace, a shell block in bash, both in a folder of the page's own that looks like
  a checkout. README's commands run as they stand; a recipe that another page trains to its end is trained for an epoch.
- A block with ``title="FILE"`` is written to that file; if it is a test module, its tests run.
- ``<!-- skip: next "why" -->`` before a block skips it, ``<!-- slow -->`` marks it slow.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from doctest import ELLIPSIS
from functools import cache
from pathlib import Path
from typing import Any
from unittest import SkipTest

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import torch
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.doctest import NUMBER
from sybil.integration.pytest import SybilItem
from sybil.parsers.doctest import DocTestParser
from sybil.parsers.markdown import SkipParser

torch.set_num_threads(1)

# "repeatable" tries the same inputs every time. "fuzz" (make fuzz) draws new ones and keeps those that failed in
# .hypothesis, from where they are tried first; one that showed a fault stays for good as an @example of its test.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # it goes by the clock, and a machine may be busy
)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=500, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).parent
COMMAND_SERVER = ROOT / "tests" / "command_server.py"
FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<source>.*?)^```$', re.DOTALL | re.MULTILINE
)
SLOW = re.compile(r"<!-- slow -->\n(?:<!--(?: skip.*?-->)?\n)?$")
RUN = {"python", "shell"}
FILLED_IN = ("num_classes", "dim", "feature_dim", "labels", "groups", "seed", "rank", "world_size")
CHECKOUT = ("configs", "tools", "plugins", "examples", "benchmarks")


def blocks(document: Document) -> list[Region]:
    """The fenced blocks of a page that run or are written to a file."""
    return [
        Region(match.start(), match.end(), match, evaluate_block)
        for match in FENCE.finditer(document.text)
        if match["language"] in RUN or match["title"]
    ]


def evaluate_block(example: Example) -> None:
    """Write the block to its file, or run it."""
    block = example.parsed
    if block["title"]:
        file = example.namespace["folder"] / block["title"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block["source"])
        if file.name.startswith("test_"):
            run_test_module(file)
    elif block["language"] == "shell":
        run_shell(block["source"], example.namespace["folder"], quick=Path(example.path) != ROOT / "README.md")
    else:
        before = dict(example.namespace)
        code = compile("\n" * example.line + block["source"], example.path, "exec", dont_inherit=True)
        exec(code, example.namespace)
        check_components({name: value for name, value in example.namespace.items() if before.get(name) is not value})


def run_test_module(file: Path) -> None:
    """Run the tests of a module that a page shows."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert tests, f"{file.name} has no test"
    for test in tests:
        test()


@cache
def quick_commands() -> str:
    """The folder of a ``metricforge`` and a ``python`` that start in no time, for a PATH; ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="metricforge-commands-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = subprocess.Popen(
        [sys.executable, COMMAND_SERVER, folder / "socket"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    runpy.run_path(str(COMMAND_SERVER))["write_commands"](folder, str(folder / "socket"))
    return str(folder)


def run_shell(source: str, folder: Path, quick: bool = True) -> None:
    """Run shell commands in ``folder``; what pip installs goes into a folder that only these commands see."""
    installed = folder / ".installed"
    commands = [quick_commands()] if quick else []
    environment = os.environ | {
        "PATH": ":".join([*commands, str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(installed),
        "PIP_TARGET": str(installed),
        "PIP_UPGRADE": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads a negative option's 0 as set
        "HF_HUB_OFFLINE": "1",
    }
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", source],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )
    assert run.returncode == 0, f"exit status {run.returncode} of\n{source}\n{run.stdout}"


def _alone(path: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """``config`` without what a list of losses adds to each of them."""
    in_list = re.search(r"loss\[\d+\]$", path)
    return {key: value for key, value in config.items() if not (in_list and key in ("weight", "miner"))}


def check_components(values: Mapping[str, Any]) -> None:
    """Compare each component that a block's config names with its registry: type and arguments exist."""
    from metricforge.backbones.adapters.adapter import KINDS as ADAPTERS
    from metricforge.registry import KINDS

    found = [
        (path, _alone(path, config), [registry for registry in KINDS.values() if config["type"] in registry.names()])
        for path, config in components("", values)
    ]
    faults = [
        fault
        for path, config, kinds in found
        for kind in kinds
        for fault in kind.faults(config, path, {name: 8 for name in FILLED_IN if name not in config})
    ]
    known = {config["type"] for _, config, kinds in found if kinds or is_mmengines(config["type"])} | set(ADAPTERS)
    unknown = [config["type"] for _, config, _ in found if config["type"] not in known]
    assert (faults, unknown) == ([], [])


def components(path: str, value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """Where in ``value`` configs of components stand, with each of them."""
    if isinstance(value, Mapping):
        own = [(path, value)] if isinstance(value.get("type"), str) else []
        return own + [found for key, item in value.items() for found in components(f"{path}.{key}", item)]
    if isinstance(value, (list, tuple)):
        return [found for number, item in enumerate(value) for found in components(f"{path}[{number}]", item)]
    return []


def is_mmengines(name: str) -> bool:
    """Whether MMEngine has an optimizer, a scheduler or a hook of that name."""
    import mmengine.hooks
    import mmengine.optim  # noqa: F401  (registers what torch has, too)
    from mmengine.registry import HOOKS, OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS

    return any(name in registry.module_dict for registry in (OPTIMIZERS, OPTIM_WRAPPERS, PARAM_SCHEDULERS, HOOKS))


def open_folder(namespace: dict[str, Any]) -> None:
    """Begin a page: a new folder with a checkout's folders, which is the working directory and importable."""
    from mmengine.registry import HOOKS

    import metricforge.config_check  # noqa: F401  # registers the hooks, once: the page's own are forgotten after it
    from metricforge.registry import KINDS

    namespace["owner"] = owner = tempfile.TemporaryDirectory(prefix="metricforge-page-")
    namespace["folder"] = folder = Path(owner.name)
    for name in CHECKOUT:
        (folder / name).symlink_to(ROOT / name)
    for registry in KINDS.values():
        registry.names()  # imports what registers, so that close_folder forgets nothing but the page's own
    registered = [(registry, dict(registry.module_dict)) for registry in (*KINDS.values(), HOOKS)]
    namespace["restore"] = (Path.cwd(), list(sys.path), registered, set(sys.modules))
    os.chdir(folder)
    sys.path.insert(0, str(folder))


def close_folder(namespace: dict[str, Any]) -> None:
    """End a page: what it imported, registered and wrote is gone."""
    directory, path, registered, modules = namespace["restore"]
    os.chdir(directory)
    sys.path[:] = path
    for registry, known in registered:
        registry.module_dict.clear()
        registry.module_dict.update(known)
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(namespace["owner"].name):
            del sys.modules[name]
    namespace["owner"].cleanup()


pages = Sybil(
    parsers=[blocks, SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md", "plugins/*/README.md", "examples/*/README.md"],
    setup=open_folder,
    teardown=close_folder,
)
docstrings = Sybil(
    parsers=[DocTestParser(optionflags=NUMBER | ELLIPSIS)],
    patterns=[f"{package}/{depth}*.py" for package in ("metricforge", "metricforge_*") for depth in ("", "*/", "*/*/")],
)
pytest_collect_file = (pages + docstrings).pytest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the blocks that a page calls slow."""
    for item in items:
        if isinstance(item, SybilItem) and SLOW.search(item.example.document.text[: item.example.region.start]):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a slow block run what stands above it on the page and was not selected: it may build on that."""
    if not isinstance(item, SybilItem) or item.example.path.endswith(".py"):
        return
    done = item.example.namespace.setdefault("done", set())
    if item.get_closest_marker("slow"):
        for earlier in item.example.document.examples():
            if earlier.region.start < item.example.region.start and earlier.region.start not in done:
                done.add(earlier.region.start)
                with suppress(SkipTest):
                    earlier.evaluate()
    done.add(item.example.region.start)
