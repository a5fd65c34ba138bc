"""Copies of installed configs, to edit: the file and every base that it names by a path."""

from __future__ import annotations

from pathlib import Path

from metricforge.atomic_write import write_atomically
from metricforge.config_files import bases_of, find_config
from metricforge.errors import ConfigError


def copy_config(name: str, folder: Path, *, overwrite: bool = False) -> tuple[Path, list[Path]]:
    """Copy the config ``name`` and its bases into ``folder``; bases keep their paths relative to it.

    A base named as ``package::path`` stays where it is: the copy goes on using the installed one.

    Args:
        name: as ``find_config`` takes it.
        folder: made if it is not there.
        overwrite: whether other files may be replaced that are in the way.

    Returns:
        The copy, and every file that was written; files that were there already, the same byte for byte, are not.

    Raises:
        ConfigError: if there is no such config, or a file that differs is in the way; nothing is written then.
    """
    source = find_config(name)
    contents = _with_bases(source, source.parent)
    differing = [
        folder / path
        for path, content in contents.items()
        if (folder / path).exists() and _content_of(folder / path) != content
    ]
    if differing and not overwrite:
        raise ConfigError(
            [f"{path}: exists and differs; use --out FOLDER, or --force to overwrite it" for path in differing],
            f"the copy of {name}",
        )
    written = []
    for path, content in contents.items():
        target = folder / path
        if _content_of(target) != content:
            write_atomically(target, content)
            written.append(target)
    return folder / source.name, written


def _with_bases(file: Path, root: Path) -> dict[Path, bytes]:
    """The content of ``file`` and of its bases, by path relative to ``root``."""
    contents: dict[Path, bytes] = {}
    pending = [file.resolve()]
    while pending:
        path = pending.pop()
        if not path.is_relative_to(root.resolve()):
            raise ConfigError([f"{path}: is a base outside the config's folder {root}; copy it by hand"], str(file))
        if path.relative_to(root.resolve()) not in contents:
            contents[path.relative_to(root.resolve())] = path.read_bytes()
            pending += [each.resolve() for base, each in bases_of(path) if "::" not in base]
    return contents


def _content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
