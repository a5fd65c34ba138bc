"""The files of a bundle: its sealed description, and what was written beside it, verified before anything is used."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metricforge.errors import CheckpointError, MetricForgeError

FORMAT = 1
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
MOST_DESCRIPTION_BYTES = 64 * 2**20


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is a folder that holds a model's description."""
    return (path / DESCRIPTION).is_file()


def seal(described: Mapping[str, Any]) -> bytes:
    """Return ``described`` as JSON that carries its own hash.

    Raises:
        MetricForgeError: for a value that JSON cannot hold; it names where that stands.
    """
    try:
        plain = json.dumps(described, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as fault:
        where = _unfit(described) or str(fault)
        raise MetricForgeError(f"the model's description has a value that does not fit into JSON ({where})") from fault
    values = json.loads(plain)
    values["sha256"] = hashlib.sha256(plain.encode()).hexdigest()
    return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_description(bundle: Path) -> dict[str, Any]:
    """What ``seal`` wrote into the description of ``bundle``.

    Raises:
        CheckpointError: for a file that is too large, damaged, changed, or of another format.
    """
    file = bundle / DESCRIPTION
    try:
        size = file.stat().st_size
        if size > MOST_DESCRIPTION_BYTES:
            raise CheckpointError(f"{file} has {size:,} bytes, too many for a description; export the model again")
        content = file.read_bytes()
    except OSError as fault:
        raise CheckpointError(f"{file} cannot be read ({fault})") from fault
    try:
        values = json.loads(content)
        unsealed = {key: value for key, value in values.items() if key != "sha256"}
        whole = seal(unsealed) == content
    except (ValueError, AttributeError, RecursionError, MetricForgeError) as fault:
        raise CheckpointError(f"{file} is damaged ({type(fault).__name__}: {fault}); export the model again") from fault
    if not whole:
        raise CheckpointError(f"{file} was changed after the export; export the model again")
    if unsealed.get("format") != FORMAT:
        raise CheckpointError(f"{bundle} has format {unsealed.get('format')!r}; this version reads format {FORMAT}")
    return dict(unsealed)


def described_file(file: Path) -> dict[str, Any]:
    """What a description says of ``file``: its name, size and hash."""
    return {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256_of(file)}


def verified_file(bundle: Path, entry: Any) -> Path:
    """The file of ``bundle`` that ``entry`` of its description is about, as it was written.

    Raises:
        CheckpointError: if ``entry`` describes no file, or the file is missing or was changed.
    """
    try:
        name, size, digest = str(entry["file"]), int(entry["bytes"]), str(entry["sha256"])
    except (KeyError, TypeError, ValueError, OverflowError) as fault:
        raise CheckpointError(f"{bundle / DESCRIPTION} does not describe a file ({fault!r})") from fault
    if Path(name).name != name or "\0" in name:
        raise CheckpointError(f"{bundle / DESCRIPTION} names a file outside the bundle ({name!r})")
    file = bundle / name
    try:
        if not file.is_file():
            raise CheckpointError(f"{file} is missing; export the model again")
        whole = file.stat().st_size == size and sha256_of(file) == digest
    except OSError as fault:
        raise CheckpointError(f"{bundle / DESCRIPTION} names a file that cannot be read ({fault})") from fault
    if not whole:
        raise CheckpointError(f"{file} was changed or damaged after the export; export the model again")
    return file


def copy_bundle(bundle: Path, target: Path) -> Path:
    """Copy a bundle that was read, with its graphs, to the new folder ``target``, which appears whole or not at all.

    Raises:
        MetricForgeError: if ``target`` exists and is not an empty folder.
    """
    with whole_folder(target) as folder:
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
    return target


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to write into, which becomes ``target`` at the end, and never a part of it.

    Raises:
        MetricForgeError: if ``target`` exists and is not an empty folder, or nothing can be made where it is to be.
    """
    check_is_new(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise MetricForgeError(
            f"{target}: no folder can be made here ({error.strerror}); name another place"
        ) from error
    with temporary as parent:
        folder = Path(parent) / target.name
        folder.mkdir()  # not the temporary folder itself, which only its owner may read
        yield folder
        if target.exists():
            target.rmdir()
        folder.rename(target)


def check_is_new(bundle: Path) -> None:
    """Refuse to write over what is there.

    Raises:
        MetricForgeError: if ``bundle`` exists and is not an empty folder, or is the present one.
    """
    if bundle.is_symlink() or (bundle.exists() and (not bundle.is_dir() or any(bundle.iterdir()))):
        raise MetricForgeError(f"{bundle} already exists; name a new folder, or remove it first")
    if bundle.absolute() == Path.cwd():
        raise MetricForgeError(f"{bundle} is the folder that you are in; name a new one")


def sha256_of(file: Path) -> str:
    """The SHA-256 of ``file``, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _unfit(value: Any, path: str = "", depth: int = 0) -> str | None:
    """Where in ``value`` something stands that does not fit into JSON, and what."""
    if depth > 100:
        return f"{path.lstrip('.')[:60]}... is nested too deeply"
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, (str, int, float, bool, type(None)))), None)
        if wrong is not None:
            return f"{path.lstrip('.')} has the key {wrong!r}, a {type(wrong).__name__}"
        found = (_unfit(each, f"{path}.{key}", depth + 1) for key, each in value.items())
    elif isinstance(value, (list, tuple)):
        found = (_unfit(each, f"{path}[{number}]", depth + 1) for number, each in enumerate(value))
    else:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            return f"{path.lstrip('.')} is {value!r:.60}, a {type(value).__name__}"
        return None
    return next((each for each in found if each is not None), None)
