"""The one model: backbone -> head -> miner -> loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from metricforge.component_arguments import accepted_arguments
from metricforge.errors import ConfigError
from metricforge.interfaces import Backbone, Loss, Miner, Similarity
from metricforge.models.compatibility import compatibility_faults, list_compatibility_faults
from metricforge.models.evaluation_mode import evaluation_mode
from metricforge.models.freezing import freeze
from metricforge.models.gradient_cache import GradientCache
from metricforge.models.largest_gradient import largest_gradient
from metricforge.models.part_shapes import check_embeddings, check_features, check_size, check_tokens
from metricforge.models.weighted_losses import WeightedLosses, is_loss_list
from metricforge.registry import BACKBONES, HEADS, LOSSES, MINERS, SIMILARITIES
from metricforge.structures import LossOutput

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


class SharedEmbedding(Protocol):
    """How several processes embed one batch and share its gradients; ``metricforge.engine`` has the one there is."""

    def embed(self, images: Tensor) -> Tensor:
        """The embeddings of the whole batch, of which ``images`` are this process's share."""

    def drawing_apart(self, device: torch.device) -> AbstractContextManager[None]:
        """While it is open each process draws numbers of its own; then all go on alike."""

    def gather(self, rows: Tensor) -> Tensor:
        """The embeddings of the whole batch, of which ``rows`` are this process's share, with gradient."""

    def sending_at_the_end(self) -> AbstractContextManager[None]:
        """While it is open gradients only add up; then they are shared."""

    def finish(self) -> None:
        """To be called after each backward pass."""


class MetricLearner(nn.Module):
    """Images (B, 3, H, W) uint8 to embeddings (B, D), and with labels (B,) to a loss.

    The backbone prepares its input on the device: it normalises images with its own mean and standard deviation. While
    ``train_backbone`` is False the backbone receives no gradient (warm-up of the new layers). ``last_embeddings`` are
    those (B, D) of the latest batch that gave a loss, without gradient, for whoever follows the training;
    ``largest_gradient`` is the largest magnitude in the gradients of the latest update, NaN if one of them is;
    ``on_gradient``, if it is set, is called with the gradient (B, D) that the loss sends into the embeddings.

    Args:
        backbone: images to features (B, F).
        head: features to embeddings (B, D); has an attribute ``dim``.
        similarity: between embeddings; what neighbours are searched by.
        loss: of embeddings, labels and mined tuples; None in a model that is only evaluated.
        miner: chooses the tuples; None lets the loss see the whole batch.

    Raises:
        ConfigError: if the loss does not accept what the miner yields.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        similarity: Similarity,
        loss: Loss | None = None,
        miner: Miner | None = None,
    ) -> None:
        super().__init__()
        miner_type = type(miner) if miner else None
        if isinstance(loss, WeightedLosses):
            faults = list_compatibility_faults(miner_type, loss.types_with_miners())
        else:
            faults = compatibility_faults(miner_type, type(loss) if loss else None)
        if faults:
            raise ConfigError(faults, "the model")
        self.backbone = backbone
        self.head = head
        self.similarity = similarity
        self.miner = miner
        self.loss = loss
        self.train_backbone = True
        self.last_embeddings: Tensor | None = None
        self.largest_gradient: Tensor | None = None
        self.on_gradient: Callable[[Tensor], None] | None = None
        self._cached_steps = 0
        self._resting: list[nn.Module] = []
        self._compiled: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def from_config(
        cls, cfg: Mapping[str, Any], num_classes: int | None, path: str = "model", *, for_checkpoint: bool = False
    ) -> MetricLearner:
        """Build the model that ``cfg`` describes, passing ``num_classes`` and the sizes to the parts that need them.

        ``cfg`` has the keys ``backbone``, and optionally ``head`` (default: the features themselves), ``similarity``
        (default: Euclidean), ``train_similarity`` (False: its weights stay as they are), ``miner`` and ``loss``; and
        ``freeze``, names of parts that stay as they are, and ``freeze_stages``, how many of the backbone's. A loss
        that needs ``num_classes`` needs a training set; a list of losses is their weighted sum (``WeightedLosses``).
        With ``for_checkpoint`` the backbone's pretrained weights are left out: a checkpoint's will take their place,
        but for a backbone with an adapter, whose checkpoints hold the adapter alone; and nothing is frozen, for such a
        model is not trained, and what a readout chose may lack the parts that were.
        """
        backbone_cfg = _without_weights(cfg["backbone"]) if for_checkpoint else cfg["backbone"]
        backbone = BACKBONES.build(backbone_cfg, path=f"{path}.backbone")
        feature_dim = check_size(backbone, "feature_dim", f"{path}.backbone", "the length of its features")
        head_cfg = cfg.get("head") or dict(type="EmbeddingHead", l2_normalize=False)
        head = HEADS.build(head_cfg, path=f"{path}.head", feature_dim=feature_dim)
        dim = check_size(head, "dim", f"{path}.head", "the length of its embeddings")
        derived = {"dim": dim} | ({"num_classes": num_classes} if num_classes is not None else {})
        parts: dict[str, Any] = {}
        for kind, registry in (("similarity", SIMILARITIES), ("miner", MINERS), ("loss", LOSSES)):
            if kind == "loss" and is_loss_list(cfg.get(kind)):
                parts[kind] = WeightedLosses.from_config(cfg[kind], path=f"{path}.{kind}", **derived)
            elif cfg.get(kind):
                parts[kind] = registry.build(cfg[kind], path=f"{path}.{kind}", **derived)
        if "similarity" in parts and not cfg.get("train_similarity", True):
            parts["similarity"].requires_grad_(False)
        parts.setdefault("similarity", SIMILARITIES.build(dict(type="EuclideanSimilarity")))
        check_tokens(backbone, head, path)
        model = cls(backbone, head, **parts)
        if not for_checkpoint:
            patterns = [cfg["freeze"]] if isinstance(cfg.get("freeze"), str) else list(cfg.get("freeze") or [])
            model._resting = freeze(model, backbone, patterns, cfg.get("freeze_stages") or 0, path)
        return model

    def train(self, mode: bool = True) -> MetricLearner:
        """Set the mode of all parts; frozen BatchNorm layers stay in evaluation mode."""
        super().train(mode)
        for module in self._resting:
            module.eval()
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) float32 of ``images`` (B, 3, H, W) uint8, each as if it were alone, in evaluation mode."""
        with evaluation_mode(self):
            return self.embed_in_training(images)

    def compile_updates(self, compiled: bool) -> None:
        """Embed by a compiled backbone (``torch.compile``) in training mode, or no longer; evaluation never does."""
        self._compiled = torch.compile(self.backbone.forward) if compiled else None

    def embed_in_training(self, images: Tensor) -> Tensor:
        """What ``embed`` gives, but in the mode the model is in: in training mode BatchNorm's statistics move."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_backbone):
            backbone = self._compiled if self._compiled is not None and self.training else self.backbone
            features = backbone(self.backbone.prepare(images))  # (B, F)
        check_features(features, self.backbone)
        embeddings: Tensor = self.head(features)  # (B, D)
        check_embeddings(embeddings, self.head)
        return embeddings.float()

    def forward(self, images: Tensor, labels: Tensor, shared: SharedEmbedding | None = None) -> LossOutput:
        """The loss of a batch; mining sees the same embeddings, without gradient.

        With ``shared``, ``images`` are this process's share of the batch and ``labels`` are of all its images.
        """
        assert self.loss is not None, "a model without a loss is only evaluated"
        embeddings = self.embed_in_training(images) if shared is None else shared.embed(images)  # (B, D)
        return self._compare(embeddings, labels)

    def _compare(self, embeddings: Tensor, labels: Tensor) -> LossOutput:
        """The loss of the embeddings (B, D) of a batch."""
        assert self.loss is not None, "a model without a loss is only evaluated"
        self.last_embeddings = embeddings.detach()
        if self.on_gradient is not None and embeddings.requires_grad:
            embeddings.register_hook(self.on_gradient)  # type: ignore[no-untyped-call]
        # pair maths cancels catastrophically in half precision: losses work in float32, a third party's too
        with torch.autocast(embeddings.device.type, enabled=False):
            tuples = None
            if self.miner is not None:
                with torch.no_grad():
                    tuples = self.miner(embeddings.detach(), labels, self.similarity)
            return self.loss(embeddings, labels, tuples, self.similarity)

    def train_step(
        self,
        batch: Mapping[str, Tensor],
        optim_wrapper: OptimWrapper,
        shared: SharedEmbedding | None = None,
        chunk: int | None = None,
    ) -> dict[str, Tensor]:
        """One update; returns the detached total as ``loss`` and the loss's parts, still on the device.

        Only ``LossOutput.total`` is differentiated. (mmengine's own sums every key with "loss" in its name.) With
        ``chunk`` this process's images, which may be on another device than the labels, are embedded so many at once
        (``GradientCache``).
        """
        self.largest_gradient = None
        if self.loss is not None:
            self.loss.batch_ids = batch.get("id")
        if chunk is not None and len(batch["image"]) > chunk:
            output = self._differentiate_in_chunks(batch, optim_wrapper, shared, chunk)
        else:
            with optim_wrapper.optim_context(self):
                output = self(batch["image"].to(batch["label"].device), batch["label"], shared)
            # what optim_wrapper.update_params does, with the other processes' gradients in between
            optim_wrapper.backward(optim_wrapper.scale_loss(output.total))
            if shared is not None:
                shared.finish()
        if optim_wrapper.should_update():
            # a scaled loss may overflow: its scaler leaves such an update out
            scaled = any(getattr(optim_wrapper, name, None) is not None for name in ("scaler", "loss_scaler"))
            self.largest_gradient = None if scaled else largest_gradient(self)
            optim_wrapper.step()
            optim_wrapper.zero_grad()
        parts = {f"loss/{name}": part.detach() for name, part in output.parts.items()}
        return {"loss": output.total.detach(), **parts}

    def _differentiate_in_chunks(
        self,
        batch: Mapping[str, Tensor],
        optim_wrapper: OptimWrapper,
        shared: SharedEmbedding | None,
        chunk: int,
    ) -> LossOutput:
        """The loss of a batch, and the gradients of all weights in their ``grad``, in the memory of a chunk."""
        images, device = batch["image"], batch["label"].device
        context = partial(optim_wrapper.optim_context, self)
        cache = GradientCache(self, self.embed_in_training, context, device, chunk)
        with nullcontext() if shared is None else shared.drawing_apart(device):
            rows = cache.embed(images)  # this process's share
        with context():
            output = self._compare(rows if shared is None else shared.gather(rows), batch["label"])
        optim_wrapper.backward(optim_wrapper.scale_loss(output.total))
        if shared is not None:
            shared.finish()  # the gradients of the loss's and the similarity's weights
        # a check makes a GPU wait, and what is wrong in a later step is wrong in the first
        check, self._cached_steps = self._cached_steps == 0, self._cached_steps + 1
        with nullcontext() if shared is None else shared.sending_at_the_end():
            cache.backward(images, rows, check=check)
        if shared is not None:
            shared.finish()
        return output

    def val_step(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Embeddings of a batch: the counterpart of ``train_step`` that mmengine's runner asks a model for."""
        return self.embed(batch["image"])

    test_step = val_step


def _without_weights(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a ``backbone`` without what says where its first weights come from, where it can do without."""
    if backbone.get("adapter") is not None:
        return dict(backbone)
    accepted = accepted_arguments(BACKBONES.get(backbone["type"])) or {}
    optional = [name for name in ("pretrained", "weights") if name in accepted and not accepted[name].default]
    return {key: value for key, value in backbone.items() if key not in optional}
