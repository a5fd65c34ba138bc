"""Unpack an archive into a folder, never outside it."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from rich.console import Console

from metricforge.errors import DatasetError
from metricforge.progress_bars import progress_bar, read_with_bar

_BLOCK = 2**20


def unpack(archive: Path, folder: Path, console: Console) -> None:
    """Unpack a tar (of any compression) or zip ``archive`` into ``folder``; copy any other file there.

    Raises:
        DatasetError: for an archive that is damaged, encrypted, or would write outside ``folder``.
        OSError: if the disk is full.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder, console)
        elif tarfile.is_tarfile(archive):
            _unpack_tar(archive, folder, console)
        elif _looks_packed(archive):
            raise DatasetError(f"{archive} is not an archive, or is damaged; download it again")
        else:
            shutil.copyfile(archive, folder / archive.name)
    except tarfile.FilterError as fault:
        raise DatasetError(f"{archive} is refused because it reaches outside its folder: {fault}") from fault
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as fault:
        raise _damaged(archive, fault) from fault
    except OSError as fault:
        if fault.errno is not None:
            raise
        raise _damaged(archive, fault) from fault  # gzip and bzip2 say so of their data; a disk gives a number
    except NotImplementedError as fault:
        raise DatasetError(
            f"{archive} is compressed in a way that cannot be read here ({fault}); unpack it otherwise, pack the "
            "folder into a tar, and name that: --from FILE --unofficial"
        ) from fault


def _damaged(archive: Path, fault: Exception) -> DatasetError:
    return DatasetError(f"{archive} is damaged or was cut off ({type(fault).__name__}: {fault}); fetch it again")


def _looks_packed(archive: Path) -> bool:
    return archive.suffix.lower() in (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".tbz2", ".txz")


def _unpack_tar(archive: Path, folder: Path, console: Console) -> None:
    with (
        read_with_bar(console, f"unpacking {archive.name}", archive) as content,
        tarfile.open(fileobj=content, mode="r:*") as tar,
    ):
        unpacked = tar.fileobj
        assert unpacked is not None
        for member in tar:
            tar.extract(member, folder, filter="data")
        while unpacked.read(_BLOCK):  # the checksum follows what tarfile reads
            pass


def _unpack_zip(archive: Path, folder: Path, console: Console) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        for member in members:
            _refuse_unsafe(archive, member)
        with progress_bar(console, f"unpacking {archive.name}", len(members)) as advance:
            for member in members:
                content.extract(member, folder)
                advance(1)


def _refuse_unsafe(archive: Path, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise DatasetError(f"{archive} is refused because it would write outside its folder: it contains {name!r}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DatasetError(
            f"{archive} is refused because it contains a link ({name!r}), which may lead outside its folder"
        )
    if member.flag_bits & 1:
        raise DatasetError(
            f"{archive} is encrypted; unpack it with the password that its authors give, pack the folder into a tar or "
            "zip without one, and name that: --from FILE --unofficial"
        )
