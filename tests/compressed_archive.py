"""A torch archive as nobody but an attacker writes it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

SEAL = b"metricforge sha256 "


def compress(path: Path) -> None:
    """Compress what the archive at ``path`` holds, and give it the checksum that training would."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            packed.writestr(name, content)
        packed.comment = SEAL + bytes(64)
    sealed = path.read_bytes()[:-64]
    path.write_bytes(sealed + hashlib.sha256(sealed).hexdigest().encode())
