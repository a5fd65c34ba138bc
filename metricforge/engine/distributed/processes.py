"""The processes that train one model together: which one this is, and what they tell each other beside gradients."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from metricforge.engine.distributed.meeting import meet
from metricforge.engine.distributed.process_watch import begin_watch, end_watch, waiting
from metricforge.engine.records.save_in_shards import SaveInShards
from metricforge.errors import ConfigError, MainProcessError

Result = TypeVar("Result")
# While process 0 searches and scores, the others wait for it; torch's own limit would end a long evaluation.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Processes:
    """``world_size`` processes, of which this one is number ``rank``; number 0 prints, writes and scores."""

    rank: int = 0
    world_size: int = 1

    @classmethod
    def current(cls) -> Processes:
        """Those of torch's default process group; one alone without such a group."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there is any other."""
        return self.world_size > 1

    def wait(self) -> None:
        """Wait until every process is here."""
        if dist.is_available() and dist.is_initialized():
            with waiting():
                dist.barrier()

    def any_has(self, flag: bool) -> bool:
        """Whether ``flag`` is True on any process; all of them ask."""
        if not self.several:
            return flag
        told = torch.tensor([int(flag)])
        with waiting():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def from_main(self, compute: Callable[[], Result]) -> Result:
        """What ``compute`` gives on process 0, on every process; only process 0 calls it.

        Raises:
            MainProcessError: on the others, if it raises on process 0, so that none of them waits for ever.
        """
        if not self.several:
            return compute()
        told: list[Any] = [None]
        if not self.is_main:
            with waiting():
                dist.broadcast_object_list(told, src=0)
            result, failure = told[0]
            if failure is not None:
                raise MainProcessError(f"process 0 failed: {failure}")
            return result  # type: ignore[no-any-return]
        try:
            result = compute()
        except BaseException as error:
            dist.broadcast_object_list([(None, f"{type(error).__name__}: {error}")], src=0)
            raise
        dist.broadcast_object_list([(result, None)], src=0)
        return result

    def gather_values(self, value: Result) -> list[Result]:
        """The ``value`` of each process, in their order, on all of them; it goes through pickle."""
        if not self.several:
            return [value]
        told: list[Any] = [None] * self.world_size
        with waiting():
            dist.all_gather_object(told, value)
        return told

    def save_in_shards(self) -> SaveInShards:
        """What writes checkpoints of which each process writes its rows; all of them ask for it.

        It works beside training, in another thread, so the processes talk about it in a group of its own.
        """
        group = dist.new_group(backend="gloo", timeout=PATIENCE)
        assert isinstance(group, dist.ProcessGroup)

        def gather(value: Any) -> list[Any]:
            told: list[Any] = [None] * self.world_size
            dist.all_gather_object(told, value, group=group)
            return told

        return SaveInShards(self.rank, self.world_size, gather)

    def gather_columns(self, columns: Tensor) -> Tensor:
        """Columns (R, B) of every process, beside each other in the order of the processes: (R, world_size * B).

        On the host, because a GPU that is asked for sizes has to stop.

        Raises:
            ValueError: if the processes do not have as many columns each; says how many each has.
        """
        if not self.several:
            return columns
        sizes = [torch.empty(1, dtype=torch.int64) for _ in range(self.world_size)]
        with waiting():
            dist.all_gather(sizes, torch.tensor([columns.shape[1]]))
        if len({int(size) for size in sizes}) > 1:
            shares = ", ".join(f"process {rank} {int(size)}" for rank, size in enumerate(sizes))
            raise ValueError(
                f"every process must get as many images of a batch as any other, got {shares}; the sampler must split "
                "each global batch evenly, as ClassBalancedBatchSampler and RandomBatchSampler do"
            )
        gathered = [torch.empty_like(columns) for _ in range(self.world_size)]
        with waiting():
            dist.all_gather(gathered, columns.contiguous())
        return torch.cat(gathered, dim=1)  # (R, world_size * B)

    def collect(self, rows: Tensor) -> list[Tensor]:
        """On process 0 the ``rows`` (N, ...) of each process, in their order; an empty list on the others.

        They lie on the host; N may differ and be 0, and what follows it is the same on all processes that have rows and
        on process 0.
        """
        if not self.several:
            return [rows]
        counts = [torch.empty(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(counts, torch.tensor([len(rows)]))
        if not self.is_main:
            if len(rows):
                dist.send(rows.contiguous(), dst=0)
            return []
        collected = [rows]
        for rank in range(1, self.world_size):
            collected.append(rows.new_empty((int(counts[rank]), *rows.shape[1:])))
            if len(collected[-1]):
                dist.recv(collected[-1], src=rank)
        return collected

    def blocks_of_others(self, rows: Tensor, rows_at_once: int) -> Iterator[tuple[int, int, Tensor]]:
        """On process 0 the ``rows`` (N, ...) of each other process, block by block; nothing on the others.

        All go through it to its end. A block comes with the number of its process and the place of its first row there;
        the rest is as for ``collect``.
        """
        counts = [torch.empty(1, dtype=torch.int64) for _ in range(self.world_size)]
        dist.all_gather(counts, torch.tensor([len(rows)]))
        if not self.is_main:
            for block in rows.split(rows_at_once) if len(rows) else ():  # type: ignore[no-untyped-call]
                dist.send(block.contiguous(), dst=0)
            return
        for rank in range(1, self.world_size):
            for start in range(0, int(counts[rank]), rows_at_once):
                block = rows.new_empty((min(rows_at_once, int(counts[rank]) - start), *rows.shape[1:]))
                dist.recv(block, src=rank)
                yield rank, start, block


def join_processes(device: str | torch.device | None) -> str | torch.device | None:
    """Join the processes that ``torchrun`` started, if it started this one, and say which device is this one's.

    On the CPU they talk through gloo; on GPUs, one each, through NCCL, and through gloo about what lies on the host. A
    process group that is there already is used as it is, with ``device`` as given.

    Raises:
        ConfigError: if the environment is not one that ``torchrun`` makes, ``device`` names one GPU for all processes,
            or there are fewer GPUs than processes.
    """
    told = os.environ.get("WORLD_SIZE", "1")
    if told == "1" or Processes.current().several:
        return device
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing or not told.isdigit():
        reason = f"{', '.join(missing)} are not" if missing else "it must be a number"
        raise ConfigError(
            [
                f"WORLD_SIZE={told} is set in the environment, but {reason}; launch several processes with "
                "`torchrun --nproc-per-node 2 tools/train.py CONFIG`, or unset WORLD_SIZE to train with one"
            ],
            "the environment",
        )
    local_rank = int(os.environ["LOCAL_RANK"])
    on_gpus = torch.cuda.is_available() if device is None else torch.device(device).type == "cuda"
    if on_gpus:
        if device is not None and torch.device(device).index is not None:
            raise ConfigError(
                [f"--device {device}: is one GPU for {told} processes; use --device cuda, so that each gets its own"],
                "the command",
            )
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                [
                    f"--nproc-per-node: process {local_rank} has no GPU, this machine has {torch.cuda.device_count()}; "
                    "start at most as many processes, or say --device cpu"
                ],
                "the command",
            )
        torch.cuda.set_device(local_rank)
    store, rank, world_size = next(rendezvous("env://", timeout=PATIENCE))
    name = f"metricforge/{meet(store, rank, world_size, PATIENCE.total_seconds())}"
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    own = PrefixStore(name, store)
    begin_watch(name, rank, world_size)  # first, for a process or a machine may go while they are joining
    dist.init_process_group(backend, store=own, rank=rank, world_size=world_size, timeout=PATIENCE)
    return f"cuda:{local_rank}" if on_gpus else device


def leave_processes() -> None:
    """Leave the process group, if there is one, once all others are ready to leave."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        end_watch()
        dist.destroy_process_group()
