"""Runs the commands of a page in processes forked from one that has imported the libraries, which takes seconds.

Started as ``python command_server.py SOCKET``, it imports what commands import, says ``ready``, and forks for each
client a process that gets the client's arguments, folder, environment and open files, and is otherwise new: no plug-in
is loaded in it, and nothing was computed. A training that is not told when to end takes one epoch: what more of them
reach is README's to show. The server ends when its own input does. What a start itself does is tested elsewhere
(``tests/cli/test_start_up.py``), and README's commands start processes of their own.

``write_commands`` writes the clients: ``metricforge``, and a ``python`` that leaves all but ``-c`` and ``-m pytest`` to
the real one.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from importlib import import_module
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    "torch",
    "torchvision.transforms.v2",
    "timm",
    "mmengine",
    "sklearn.cluster",
    "pytorch_metric_learning.losses",
)
COMMANDS = ("train", "test", "embed", "export", "index", "search", "duplicates", "frontier", "report", "data_check")
MODULES = (*LIBRARIES, *(f"metricforge.cli.{name}" for name in COMMANDS), "metricforge.testing", "pytest", "hypothesis")
OPTIONS = "--cfg-options"
LENGTHS = ("train_cfg.max_epochs=", "train_cfg.max_minutes=", "--replay")
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
words = sys.argv[1:]
own = {own!r}
if not own and words[:1] != ["-c"] and words[:2] != ["-m", "pytest"]:
    os.execv({python!r}, [{python!r}, *words])
sys.stdout.flush()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    request = json.dumps([own + words, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    code = server.recv(1)
sys.exit(code[0] if code else 70)
"""


def write_commands(folder: Path, address: str) -> None:
    """Write the clients of the server at ``address`` into ``folder``, for a PATH."""
    for name, own in (("metricforge", ["metricforge"]), ("python", [])):
        (folder / name).write_text(CLIENT.format(python=sys.executable, own=own, address=address))
        (folder / name).chmod(0o755)


def serve(address: str) -> None:
    """Fork a process for each client until standard input ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        for module in MODULES:
            import_module(module)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that answer
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(client)
            client.close()


def _answer(client: socket.socket) -> NoReturn:
    """Run what ``client`` asks for in a process of its own, and tell it the exit code."""
    size, files, _, _ = socket.recv_fds(client, 8, 3)
    content = bytearray()
    while len(content) < int.from_bytes(size, "big"):
        content += client.recv(1 << 16)
    words, folder, environment = json.loads(content)
    process = os.fork()
    if process:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        client.sendall(bytes([code if code >= 0 else 128 - code]))
        os._exit(0)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code = _run(words)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


def _run(words: list[str]) -> int:
    """Run ``words`` as python or the command would, and return the exit code."""
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    try:
        if words[0] == "metricforge":
            sys.path[0], sys.argv = str(Path(sys.executable).parent), _short(words)
            import_module("metricforge.cli.main").main()
        elif words[0] == "-c":
            sys.path[0], sys.argv = "", ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.path[0], sys.argv = str(Path.cwd()), words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _short(words: list[str]) -> list[str]:
    """``words``, or a training of one epoch where they train and do not say how long."""
    if words[1:2] != ["train"] or any(word.startswith(LENGTHS) for word in words):
        return words
    options = words.index(OPTIONS) + 1 if OPTIONS in words else len(words)
    return [*words[:options], *([] if OPTIONS in words else [OPTIONS]), "train_cfg.max_epochs=1", *words[options:]]


if __name__ == "__main__":
    serve(sys.argv[1])
