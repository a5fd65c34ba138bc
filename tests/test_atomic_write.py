import ast
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import metricforge
from metricforge.atomic_write import atomic_write, check_writable, write_atomically

PACKAGE = Path(metricforge.__file__).parent
OLD = b"old content"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file.json"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def names(path):
    return [entry.name for entry in path.parent.iterdir()]


def test_what_is_written_takes_the_place_of_what_was_there(path):
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path) == ["file.json"]


def test_text_is_utf_8_and_its_line_ends_stay(path):
    write_atomically(path, "é\r\n…\n")
    assert path.read_bytes() == b"\xc3\xa9\r\n\xe2\x80\xa6\n"


def test_missing_folders_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "file", b"x")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"x"


def test_until_the_block_ends_the_old_content_is_read(path):
    with atomic_write(path) as file:
        file.write(b"half of the ")
        file.flush()
        assert path.read_bytes() == OLD
        file.write(b"new content")
    assert path.read_bytes() == b"half of the new content"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_writer_that_fails_midway_leaves_the_old_content_and_no_other_file(path, error):
    def write():
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == OLD
    assert names(path) == ["file.json"]


def test_a_writer_that_is_killed_midway_leaves_the_old_content(path):
    script = (
        "import os, signal, sys\n"
        "from metricforge.atomic_write import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD


def test_a_full_disk_leaves_the_old_content_and_no_other_file(path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == OLD
    assert names(path) == ["file.json"]


def test_content_is_on_the_disk_before_it_gets_its_name(path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_size, path.read_bytes())))
    write_atomically(path, b"new")
    assert seen == [(3, OLD)]
    write_atomically(path, b"newer", durable=False)
    assert len(seen) == 1


def test_a_reader_sees_whole_contents_only(path):
    contents = [bytes([letter]) * 300_000 for letter in b"ab"]
    write_atomically(path, contents[0])
    done = threading.Event()

    def write():
        for turn in range(60):
            write_atomically(path, contents[turn % 2], durable=False)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in contents
    writer.join()


def test_threads_that_write_one_file_do_not_meet_in_an_unfinished_one(path):
    contents = [bytes([letter]) * 50_000 for letter in b"abcdefgh"]
    start = threading.Barrier(len(contents))
    faults = []

    def write(content):
        start.wait()
        try:
            for _ in range(10):
                write_atomically(path, content, durable=False)
        except OSError as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert path.read_bytes() in contents
    assert names(path) == ["file.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_link_keeps_pointing_to_the_file_that_is_written(path, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"through it")
    reader.join()
    assert read == [b"through it"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_an_error_and_stays(path):
    with pytest.raises(IsADirectoryError):
        write_atomically(path.parent, b"x")
    assert names(path) == ["file.json"]


def test_what_cannot_be_written_is_said_before(path, tmp_path):
    check_writable(path)
    check_writable(tmp_path / "new" / "folder" / "file")
    os.mkfifo(tmp_path / "pipe")
    check_writable(tmp_path / "pipe")
    assert names(path) == ["file.json"]
    with pytest.raises(IsADirectoryError):
        check_writable(path.parent)
    with pytest.raises(NotADirectoryError):
        check_writable(path / "below")


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path):
    path = tmp_path / ("é" * 127)
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


def test_an_error_names_the_file_and_not_the_unfinished_one(tmp_path, monkeypatch):
    def refuse(self, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"/file\.json'$"):
        write_atomically(tmp_path / "file.json", b"x")


# Where another way is right: a log that is appended to, files in a folder that gets its name when all of them are in
# it, a segment of an index, whose files nobody reads before the manifest names it, a temporary file that is mapped
# into memory, and what the processes of a test tell each other.
OTHER_WRITERS = {
    "atomic_write.py",
    "deployment/bundle.py",
    "run_records/history.py",
    "index/databases/pgvector_target.py",
    "index/segment.py",
    "large_arrays.py",
    "preparation/unpack.py",
    "testing/run_in_processes.py",
}
WRITING_CALLS = {"write_text", "write_bytes", "NamedTemporaryFile", "TemporaryFile", "mkstemp", "copyfile"}
WRITING_CALLS |= {"OSFile", "open_memmap", "write_index", "write_index_binary", "save_file"}
# These take a path or an open file.
SAVING_CALLS = {"save", "savez", "savez_compressed", "savefig", "write_table", "write_csv", "tofile"}
SAVERS = {"np", "torch", "parquet", "csv", "figure", "image", "array"}


def opened_to_write(call):
    values = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return any(len(mode) <= 3 and set(mode) & set("wxa") for mode in modes)


def name_of(call):
    function = getattr(call, "func", None)
    return getattr(function, "attr", getattr(function, "id", ""))


def opened_by_it(tree):
    """The names of files in ``with atomic_write(...) as name``."""
    items = [item for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items]
    return {item.optional_vars.id for item in items if name_of(item.context_expr) == "atomic_write"}


def writes_a_file(call, files):
    name = name_of(call)
    if name in SAVING_CALLS and getattr(getattr(call.func, "value", None), "id", "") in SAVERS:
        return not any(isinstance(value, ast.Name) and value.id in files for value in call.args)
    return name in WRITING_CALLS or (name in ("open", "fdopen", "memmap") and opened_to_write(call))


def writes_otherwise(source):
    tree = ast.parse(source)
    files = opened_by_it(tree)
    return any(writes_a_file(node, files) for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_everything_in_the_package_is_written_by_it():
    files = PACKAGE.rglob("*.py")
    writers = {file.relative_to(PACKAGE).as_posix() for file in files if writes_otherwise(file.read_text())}
    assert writers == OTHER_WRITERS


@pytest.mark.parametrize(
    "line",
    [
        "Path(name).write_text('x')",
        "open(name, 'wb')",
        "np.savez(name, a=a)",
        "figure.savefig(name)",
        "pa.OSFile(name, 'wb')",
        "np.lib.format.open_memmap(name, mode='w+')",
        "faiss.write_index(index, name)",
        "np.memmap(name, float, 'w+')",
    ],
)
def test_another_way_to_write_a_file_is_seen(line):
    assert writes_otherwise(line)
    assert not writes_otherwise("with atomic_write(name) as out:\n    np.savez(out, a=a)")
