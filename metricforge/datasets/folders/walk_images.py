"""Finds the images below a folder, and tells what else lies there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from metricforge.datasets.tables.left_out import LeftOut, shown_name
from metricforge.errors import DatasetError

# What images are called, of the formats that Pillow reads; AVIF needs a Pillow that was built with it.
_WANTED = [
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".tga", ".avif",
]  # fmt: skip
_KNOWN = Image.registered_extensions()
# An MPO is several JPEGs in one file, of which Pillow's reader of JPEGs opens the first.
SUFFIXES = (*(suffix for suffix in _WANTED if _KNOWN.get(suffix) in Image.OPEN), ".mpo")
_OTHER_IMAGES = {
    *_WANTED, ".heic", ".heif", ".hif", ".jxl", ".psd", ".svg", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf",
    ".rw2", ".exr", ".hdr", ".ico", ".eps", ".jxr", ".pcx", ".xcf", ".j2c", ".avifs", ".pfm", ".sgi", ".dds",
}  # fmt: skip
# What file managers, storage boxes and archivers leave behind.
_SYSTEM = {
    "@eadir", "__macosx", "lost+found", "$recycle.bin", "system volume information", "#recycle", "@recycle",
    "#snapshot",
}  # fmt: skip


@dataclass
class WalkedFolder:
    """The images ``files`` below a folder, relative to it, sorted; and what is left out: reason -> names."""

    files: list[str] = field(default_factory=list)
    reasons: dict[str, list[str]] = field(default_factory=dict)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is left out, for reports."""
        return tuple(LeftOut(reason, sorted(names)) for reason, names in sorted(self.reasons.items()))

    def leave_out(self, reason: str, name: str) -> None:
        """Tell that the file or folder ``name`` is left out."""
        self.reasons.setdefault(reason, []).append(shown_name(name))


def walk_images(folder: Path) -> WalkedFolder:
    """Find the images below ``folder``, however deep; links are followed, but never in a circle.

    Raises:
        DatasetError: for a folder that may not be read.
    """
    walked = WalkedFolder()
    _walk(folder, "", walked, (_identity(folder),))
    walked.files.sort()
    return walked


def _walk(folder: Path, below: str, walked: WalkedFolder, above: tuple[tuple[int, int], ...]) -> int:
    """Note everything in ``folder``/``below``; ``above`` are the folders it lies in. The number of images found."""
    before = len(walked.files)
    try:
        with os.scandir(folder / below) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as fault:
        raise DatasetError(
            f"{folder / below} cannot be listed ({fault.strerror}); make it readable, or move it"
        ) from fault
    for entry in entries:
        name = f"{below}{entry.name}"
        if not _is_utf8(entry.name):
            walked.leave_out("names that are not UTF-8", name)
        elif entry.name.startswith("."):
            walked.leave_out("hidden files and folders", name)
        elif entry.name.casefold() in _SYSTEM:
            walked.leave_out("folders of the operating system", name)
        elif _is_folder(entry):
            identity = _identity(Path(entry.path)) if entry.is_symlink() else None
            if identity in above:
                walked.leave_out("links to a folder that they lie in", name)
            elif not _walk(folder, f"{name}/", walked, (*above, identity or _identity(Path(entry.path)))):
                _leave_out_empty(walked, name)
        else:
            _note_file(entry, name, walked)
    return len(walked.files) - before


def _leave_out_empty(walked: WalkedFolder, name: str) -> None:
    """Tell of a folder without an image, but not of those in it."""
    reason = "folders without an image"
    inside = [each for each in walked.reasons.get(reason, []) if each.startswith(f"{shown_name(name)}/")]
    for each in inside:
        walked.reasons[reason].remove(each)
    walked.leave_out(reason, name)


def _note_file(entry: os.DirEntry[str], name: str, walked: WalkedFolder) -> None:
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    if suffix not in SUFFIXES:
        known = suffix in _OTHER_IMAGES
        walked.leave_out(
            "images of formats that are not read" if known else "files whose extension is not that of an image", name
        )
    elif not _is_regular(entry):
        walked.leave_out("pipes, devices and links to nothing called like images", name)
    else:
        walked.files.append(name)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_regular(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino
