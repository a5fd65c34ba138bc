"""Where configs are: files of the user's own, and those that come with MetricForge and with plug-ins.

A package keeps its configs in its folder ``configs``. ``package::path`` names one of them, in ``_base_`` and on a
command line: ``metricforge::_base_/datasets/image_folder.py``. Nothing here imports a package to find its configs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from metricforge.errors import ConfigError
from metricforge.spelling import nearest

SUFFIX = ".py"
BASE_KEY = "_base_"
CORE = "metricforge"
PLUGIN_GROUP = "metricforge.plugins"
SHOWN = 6


@dataclass(frozen=True)
class InstalledConfig:
    """A config that comes with a package.

    Args:
        name: what a command takes for it: ``normsoftmax_glyphs``, or ``package::name`` of a plug-in's.
        file: where it is.
    """

    name: str
    file: Path

    @property
    def purpose(self) -> str:
        """The first line of the comment or docstring that it opens with, but for the line that launches it."""
        for line in self.file.read_text(encoding="utf-8", errors="replace").splitlines():
            text = line.strip("#\"' ")
            if text and not text.startswith(("metricforge train", "python")):
                return text if line.startswith(("#", '"', "'")) else ""
        return ""


def installed_configs() -> list[InstalledConfig]:
    """Every config that can be trained, those of the core first and then those of each installed plug-in, by name."""
    found = [InstalledConfig(file.stem, file) for file in _configs_in(core_configs())]
    for package in _plugin_packages():
        folder = _package_folder(package)
        if folder is not None:
            found += [InstalledConfig(f"{package}::{file.stem}", file) for file in _configs_in(folder / "configs")]
    return found


def core_configs() -> Path:
    """The folder of MetricForge's own configs: within the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def find_config(name: str | Path) -> Path:
    """The file of the config ``name``: a path, the name of an installed config, or ``package::path``.

    An existing file is taken as it is. ``normsoftmax_glyphs``, ``normsoftmax_glyphs.py`` and
    ``configs/normsoftmax_glyphs.py`` are otherwise the installed one, in whatever folder the command is typed.

    Raises:
        ConfigError: if there is none, or a name without an ending is that of an installed config and of another file
            in this folder.
    """
    text = str(name)
    if "::" in text:
        return find_packaged_config(text)
    path = Path(name)
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    known = {config.file.stem: config.file for config in installed_configs() if "::" not in config.name}
    installed = known.get(path.stem) if len(parts) == 1 and path.suffix in ("", SUFFIX) else None
    if path.is_file():
        return path
    here = path.with_name(path.name + SUFFIX) if path.name and not path.suffix else path
    if here.is_file() and installed is not None and here.read_bytes() != installed.read_bytes():
        raise ConfigError(
            [f'"{text}" is an installed config and {here} is another one; write {here}, or {CORE}::{text}'], text
        )
    if here.is_file() or installed is not None:
        return installed or here
    if text and path.is_dir():
        raise ConfigError([f"is a folder; name a file in it, such as {path / 'NAME.py'}"], text)
    beside = sorted(str(file) for file in path.parent.glob(f"*{SUFFIX}")) if path.parent.is_dir() else []
    near_file = get_close_matches(text, beside, n=1)
    guess = f'; did you mean "{near_file[0]}"?' if near_file else _nearest(path.stem, list(known))
    raise ConfigError([f"there is no such file, and no installed config of this name{guess}"], text or '""')


def find_packaged_config(reference: str) -> Path:
    """The file that ``package::path`` names: ``path`` in the package's folder ``configs``, or in the package itself.

    Raises:
        ConfigError: if the package is not installed, or has no such file.
    """
    package, _, path = reference.partition("::")
    folder = _package_folder(package)
    if folder is None:
        known = [CORE, *_plugin_packages()]
        raise ConfigError(
            [f"{reference}: there is no installed package {package}{_nearest(package, known)}"], reference
        )
    wanted = path if path.endswith((SUFFIX, ".yaml", ".yml", ".json")) else f"{path}{SUFFIX}"
    folders = [core_configs()] if package == CORE else [folder / "configs", folder]
    for candidate in (each / wanted for each in folders):
        if candidate.is_file():
            return candidate
    known = sorted(f"{package}::{file.relative_to(folders[0]).as_posix()}" for file in folders[0].rglob(f"*{SUFFIX}"))
    guess = _nearest(f"{package}::{wanted}", known)
    raise ConfigError([f"{reference}: {package} has no such config{guess}"], reference)


def find_base(base: object, file: str | Path) -> Path:
    """The file that the config ``file`` names as ``base`` in its ``_base_``.

    Raises:
        ConfigError: if there is none.
    """
    if not isinstance(base, str):
        raise ConfigError([f"{BASE_KEY}: {base!r} must be a file name, or a list of file names"], str(file))
    if "::" in base:
        try:
            return find_packaged_config(base)
        except ConfigError as error:
            raise ConfigError([f"{BASE_KEY}: {fault}" for fault in error.faults], str(file)) from None
    folder = Path(file).parent
    path = folder / base
    if not path.is_file():
        near = [each for each in path.parent.glob("*") if each.suffix == path.suffix] if path.parent.is_dir() else []
        known = sorted((Path(base).parent / each.name).as_posix() for each in near)
        raise ConfigError([f"{BASE_KEY}: {base} is not there{_nearest(base, known)}"], str(file))
    return path


def bases_of(file: Path) -> Iterator[tuple[str, Path]]:
    """What the config ``file`` names in its ``_base_``, and the files.

    Raises:
        ConfigError: if it is not Python, computes its ``_base_``, or names what is not there.
    """
    try:
        yield from ((base, find_base(base, file)) for base in _named_bases(file))
    except (SyntaxError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([f"{BASE_KEY}: cannot be read without running the config: {error}"], str(file)) from error


def _named_bases(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == BASE_KEY for t in node.targets):
            named = ast.literal_eval(node.value)
            return list(named) if isinstance(named, (list, tuple)) else [named]
    return []


def _configs_in(folder: Path) -> list[Path]:
    """The configs of ``folder``: each says what it trains, or builds on another that does."""
    files = [file for file in sorted(folder.glob(f"*{SUFFIX}")) if not file.name.startswith("_")]
    return [file for file in files if _trains(file)]


def _trains(file: Path) -> bool:
    text = file.read_text(encoding="utf-8", errors="replace")
    return any(line.startswith((f"{BASE_KEY} =", "model =")) for line in text.splitlines())


def _plugin_packages() -> list[str]:
    return sorted({entry.value.partition(":")[0].partition(".")[0] for entry in entry_points(group=PLUGIN_GROUP)})


def _package_folder(package: str) -> Path | None:
    """Where ``package`` is installed; None if it is not, or is a module without a folder of its own."""
    spec = find_spec(package) if package.isidentifier() else None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def _nearest(name: str, known: list[str]) -> str:
    return nearest(name, known, [*known[:SHOWN], "..."] if len(known) > SHOWN else known)
