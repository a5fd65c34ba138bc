"""Gradient caching: the gradient of a large batch in the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from metricforge.errors import MetricForgeError
from metricforge.models.generator_states import GeneratorStates

Embed = Callable[[Tensor], Tensor]


class GradientCache:
    """Embeds images chunk by chunk, twice: once for the loss, and once more to differentiate each chunk by itself.

    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021). The loss sees the
    embeddings of all chunks as a leaf; what it sends back to them is then sent on through each chunk's own graph, of
    which there is one at a time. By the chain rule that is the gradient of the batch in one piece, for every loss and
    miner, as long as each image is embedded by itself.

    Before a chunk is embedded again the generators of Python, numpy and torch are put where they were the first time,
    so that dropout and whatever else the network draws repeat themselves. Running statistics of normalisation layers
    move in the first pass alone; a layer that normalises by the batch does so by the chunk.

    Args:
        network: whose modules ``embed`` calls.
        embed: images (b, 3, H, W), on the device, to embeddings (b, D), in training mode.
        context: what a forward pass runs in, such as autocast. One for each chunk, because autocast keeps weights it
            has cast until it ends, with the graph that they came from.
        device: where images are embedded; they may lie elsewhere, and only a chunk of them is there at a time.
        chunk: images that are embedded at once, at least 1.
    """

    def __init__(
        self,
        network: nn.Module,
        embed: Embed,
        context: Callable[[], AbstractContextManager[object]],
        device: torch.device,
        chunk: int,
    ) -> None:
        self._network = network
        self._embed = embed
        self._context = context
        self._device = device
        self._chunk = chunk
        self._states: list[GeneratorStates] = []

    def embed(self, images: Tensor) -> Tensor:
        """The embeddings (B, D) of ``images`` (B, 3, H, W), a leaf that wants a gradient."""
        rows = []
        for piece in images.split(self._chunk):  # type: ignore[no-untyped-call]
            self._states.append(GeneratorStates.now(self._device))
            # with a graph, which is dropped at once: the same operations as the second time, compiled ones too
            rows.append(self._embed_piece(piece).detach())
        return torch.cat(rows).requires_grad_()

    def backward(self, images: Tensor, embeddings: Tensor, *, check: bool = False) -> None:
        """Send the gradient of ``embeddings``, which ``embed`` gave for ``images``, on into the network's weights.

        Raises:
            MetricForgeError: with ``check``, if a chunk does not give the same embeddings again.
        """
        if embeddings.grad is None:  # the loss does not depend on them
            return
        afterwards = GeneratorStates.now(self._device)
        pieces = zip(
            images.split(self._chunk),  # type: ignore[no-untyped-call]
            embeddings.detach().split(self._chunk),  # type: ignore[no-untyped-call]
            embeddings.grad.split(self._chunk),  # type: ignore[no-untyped-call]
            self._states,
            strict=True,
        )
        with _statistics_at_rest(self._network):
            for piece, before, gradient, state in pieces:
                state.restore()
                rows = self._embed_piece(piece)
                if check:
                    _check_repeats(before, rows.detach())
                if rows.requires_grad:
                    torch.autograd.backward(rows, gradient)
        afterwards.restore()

    def _embed_piece(self, piece: Tensor) -> Tensor:
        with self._context():
            return self._embed(piece.to(self._device, non_blocking=True))


@contextmanager
def _statistics_at_rest(network: nn.Module) -> Iterator[None]:
    """Keep the running statistics of normalisation layers as they are; they normalise as before."""
    moving = [
        module
        for module in network.modules()
        if isinstance(module, _NormBase) and module.training and module.track_running_stats
    ]
    for module in moving:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in moving:
            module.track_running_stats = True


def _check_repeats(before: Tensor, again: Tensor) -> None:
    largest = float(before.abs().max()) if before.numel() else 0.0
    apart = float((before - again).abs().max()) if before.numel() else 0.0
    if apart > 1e-2 * largest:
        raise MetricForgeError(
            f"train_cfg.chunk: embedding the same images again gave embeddings that are up to {apart:.3g} apart, of "
            f"{largest:.3g} at most, so their gradient would be wrong. Something in backbone or head remembers the "
            "last images, or draws from a generator of its own; leave chunk out"
        )
