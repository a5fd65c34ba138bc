"""Download an archive: try one mirror after another, resume partial downloads, verify the checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gdown
import requests
from gdown.exceptions import DownloadError, FileURLRetrievalError
from rich.console import Console

from metricforge.disk_errors import FULL
from metricforge.errors import DatasetError
from metricforge.preparation.benchmarks import Archive
from metricforge.progress_bars import download_bar

SECONDS_OF_SILENCE = 60.0
RETRIES = 3


def fetch_archive(archive: Archive, folder: Path, console: Console, retries: int = RETRIES) -> Path:
    """Download ``archive`` into ``folder`` unless it is there, and return the file, whose checksum is verified.

    An interrupted download is resumed.

    Args:
        archive: with at least one URL.
        folder: created if it does not exist.
        console: shows the progress.
        retries: after a network failure, of the same mirror.

    Raises:
        DatasetError: if no mirror has the file, with the reason for each and what to do.
    """
    assert archive.urls
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / archive.name
    if file.is_file():
        if archive.md5 in (None, file_md5(file)):
            return file
        file.unlink()  # left by something else than this function, which leaves no wrong file
    reasons = []
    for url in archive.urls:
        reason = _download(url, archive, file, console, retries)
        if reason is None:
            return file
        reasons.append(f"{url}: {reason}")
        if url != archive.urls[-1]:
            console.print(f"{url} failed; trying the next mirror", highlight=False, markup=False, soft_wrap=True)
    raise DatasetError(
        f"{archive.name} could not be downloaded:\n"
        + "".join(f"  - {reason}\n" for reason in reasons)
        + f"the partial download is kept in {folder}; the same command resumes it. If you have the file: "
        f"--from {archive.name}"
    )


def _download(url: str, archive: Archive, file: Path, console: Console, retries: int) -> str | None:
    """Download ``file``; return why that failed, or None. A wrong file is removed, an unfinished one kept."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with download_bar(console, archive.name) as update:
            gdown.download(
                url,
                output=str(file),
                quiet=True,
                use_cookies=False,
                resume=True,
                progress=update,
                hasher=digest,
                timeout=SECONDS_OF_SILENCE,
                retries=retries,
            )
    except OSError as fault:
        if fault.errno in FULL:
            raise DatasetError(
                f"the disk of {file.parent} is full; free some space, or name another disk: --data-dir FOLDER. "
                "The partial download is kept, and the same command resumes it"
            ) from fault
        # requests' errors are OSErrors too
        return _first_line(fault)
    except (requests.RequestException, DownloadError, FileURLRetrievalError) as fault:
        return _first_line(fault)
    if archive.md5 not in (None, digest.hexdigest()):
        file.unlink()
        return f"sent a file that is not the official one (MD5 {digest.hexdigest()}, not {archive.md5}); removed"
    return None


def file_md5(file: Path) -> str:
    """The MD5 of ``file`` in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _first_line(fault: Exception) -> str:
    return f"{type(fault).__name__}: {str(fault).strip().splitlines()[0] if str(fault).strip() else 'no reason given'}"
