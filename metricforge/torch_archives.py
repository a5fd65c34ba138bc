"""What torch.load does not ask of an archive before it reads it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO


def refuse_compressed(file: BinaryIO | Path) -> None:
    """Refuse an archive with compressed content, which torch.save never writes: a small file may then fill the memory.

    Raises:
        ValueError: names the content.
        zipfile.BadZipFile: if the archive is damaged.
    """
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        for content in archive.infolist():
            if content.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{content.filename} in it is compressed, which torch.save does not do")
