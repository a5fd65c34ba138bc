"""One training step shared by several processes: the gradient is that of one process with all the images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metricforge.engine.distributed.gather_with_gradient import GatheredRows
from metricforge.engine.distributed.process_watch import waiting
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.loading.seeding import derive_seed, seed_all, seed_host
from metricforge.models import MetricLearner
from metricforge.models.generator_states import GeneratorStates


class SharedStep:
    """Embeds this process's images, gathers everyone's embeddings, and averages the gradients.

    Every process mines and computes the loss of the whole batch, for every loss and miner; each has the same total.
    ``GatheredRows`` hands an embedding the sum of its gradients on W processes, W times what one process would; the
    average over the processes of what follows from it is then the gradient of one process with all the images. The
    similarity's and the loss's own gradients are that on each process already, and the average keeps them so, bit for
    bit the same everywhere.

    Each parameter's gradient goes out as soon as it is there, while the backward pass goes on. torch's
    DistributedDataParallel does that too, but it takes no sparse gradients (subsampled proxies), stops at parameters
    that a batch does not use (warm-up of the new layers, a zero loss), and would average parameters that are different
    on purpose (sharded proxies).

    Args:
        learner: the model; its parameters and buffers become those of process 0, but for the ``sharded`` ones.
        processes: who takes part.
        sharded: names of the parameters that each process has other rows of; their gradients are left as they are.
    """

    def __init__(self, learner: MetricLearner, processes: Processes, sharded: Collection[str] = ()) -> None:
        self._learner = learner
        self._processes = processes
        self._moving: list[_BatchNorm] = []
        self._held: dict[int, Tensor] | None = None
        self._under_way: list[tuple[dist.Work, nn.Parameter, Tensor, Tensor]] = []
        self._hooks = []
        for name, parameter in learner.named_parameters():
            if name in sharded:
                continue
            dist.broadcast(parameter.detach(), src=0)
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(self._send)  # type: ignore[no-untyped-call]
                self._hooks.append(hook)
        for buffer in learner.buffers():
            dist.broadcast(buffer.view(torch.uint8) if buffer.dtype == torch.bool else buffer, src=0)

    def embed(self, images: Tensor) -> Tensor:
        """The embeddings (B, D) of the whole batch, of which ``images`` are this process's share.

        What the embedding draws at random, such as dropout, is its own on each process. The generators are then set
        back, so that miners and losses draw the same on all.
        """
        with self.drawing_apart(images.device):
            rows = self._learner.embed_in_training(images)  # (B / world_size, D)
        return self.gather(rows)

    @contextmanager
    def drawing_apart(self, device: torch.device) -> Iterator[None]:
        """While it is open each process draws numbers of its own; then all generators are where they were.

        However many numbers that takes, and from Python's, numpy's or torch's generator.
        """
        before = GeneratorStates.now(device)
        seed_own = seed_host if device.type == "cpu" else seed_all
        seed_own(derive_seed(torch.initial_seed(), self._processes.rank))
        try:
            yield
        finally:
            before.restore()

    def gather(self, rows: Tensor) -> Tensor:
        """The embeddings (B, D) of the whole batch, of which ``rows`` (B / world_size, D) are this process's share."""
        if not self._moving:
            self._moving = [m for m in self._learner.modules() if isinstance(m, _BatchNorm) and m.training]
        gathered: Tensor = GatheredRows.apply(rows)  # (B, D)
        return gathered

    @contextmanager
    def sending_at_the_end(self) -> Iterator[None]:
        """While it is open gradients of several backward passes add up; then they are on their way, all at once.

        A gradient is the same sum whether each pass's is averaged over the processes or their sum is.
        """
        self._held = {}
        try:
            yield
            # in one order on all processes, whichever pass reached a parameter last
            held, self._held = self._held, None
            for parameter in self._learner.parameters():
                if id(parameter) in held:
                    self._send(parameter)
        finally:
            self._held = None

    def finish(self) -> None:
        """Wait until the gradients of the backward pass that has ended are averaged."""
        for work, parameter, indices, values in self._under_way:
            with waiting():
                work.wait()
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = torch.sparse_coo_tensor(
                    indices, values, parameter.shape, is_coalesced=True, check_invariants=False
                )
        self._under_way.clear()

    def close(self) -> None:
        """Remove the hooks from the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _send(self, parameter: Tensor) -> None:
        if self._held is not None:
            self._held[id(parameter)] = parameter
            return
        gradient: Any = parameter.grad
        indices = torch.empty(0)
        if gradient.is_sparse:
            # the rows are those of the loss's draw or of the batch's labels, hence the same on all processes
            gradient = gradient.coalesce()
            indices, gradient = gradient.indices(), gradient.values()
        elif not gradient.is_contiguous():
            gradient = parameter.grad = gradient.contiguous()
        gradient /= self._processes.world_size  # before the sum, which might leave the range of half precision
        work = dist.all_reduce(gradient, async_op=True)
        assert isinstance(parameter, nn.Parameter)
        self._under_way.append((work, parameter, indices, gradient))

    def settle(self) -> None:
        """Average the running statistics of BatchNorm over the processes, before they are saved or used."""
        for module in self._moving:
            for statistics in (module.running_mean, module.running_var):
                if statistics is not None:
                    statistics /= self._processes.world_size
                    dist.all_reduce(statistics)
        self._moving.clear()
