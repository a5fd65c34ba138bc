"""Several small processes on this machine, so that a test can see what a component does among them."""

from __future__ import annotations

import inspect
import multiprocessing
import runpy
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

TIMEOUT = timedelta(minutes=2)
PRELOADED = ("testing", "backbones", "datasets", "evaluation", "transforms")


def run_in_processes(function: Callable[..., Any], count: int, *arguments: Any) -> list[Any]:
    """What ``function(*arguments)`` returns in each of ``count`` new processes, in their order.

    They are joined in torch's default process group, on the CPU (gloo), with one thread each.

    Args:
        function: a function at the top of a module's file; the file is run in each process, as a module that is not
            ``__main__``.
        count: how many, at least 1.
        *arguments: values that can be pickled.

    Returns:
        Tensors and values that ``torch.save`` takes.

    Raises:
        AssertionError: if one of them raises or dies, with its traceback.
    """
    file = inspect.getsourcefile(function)
    assert file is not None
    # forked from a server that has imported this and computed nothing: quick, and safe beside a used GPU
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"metricforge.{part}" for part in PRELOADED])
    with tempfile.TemporaryDirectory() as folder:
        started = [
            context.Process(target=_enter, args=(folder, file, function.__name__, rank, count, arguments), daemon=True)
            for rank in range(count)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(TIMEOUT.total_seconds())
            process.kill()
        failures = [path.read_text() for path in sorted(Path(folder).glob("*.failure"))]
        results = [Path(folder) / f"{rank}.result" for rank in range(count)]
        if failures or not all(path.exists() for path in results):
            exits = [process.exitcode for process in started]
            raise AssertionError("\n".join([f"of {count} processes, the exit codes are {exits}", *failures]))
        return [torch.load(path, weights_only=False) for path in results]


def _enter(folder: str, file: str, name: str, rank: int, count: int, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # what the function starts is not to be forked from the server
    try:
        dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=count, timeout=TIMEOUT)
        result = runpy.run_path(file, run_name=Path(file).stem)[name](*arguments)
        torch.save(result, f"{folder}/{rank}.unfinished")
        dist.barrier()
        dist.destroy_process_group()
        Path(f"{folder}/{rank}.unfinished").rename(f"{folder}/{rank}.result")
    except BaseException:
        Path(f"{folder}/{rank}.failure").write_text(f"process {rank}:\n{traceback.format_exc()}")
        raise SystemExit(1) from None
