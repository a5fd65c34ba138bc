"""Trains a network by small weights beside its own (LoRA and others, by peft), which stay as they are."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metricforge.argument_types import is_number
from metricforge.errors import CheckpointError, ConfigError
from metricforge.spelling import nearest

# type -> peft's config, and the argument of its that ``rank`` is; None: it has none
KINDS: Mapping[str, tuple[str, str | None]] = {
    "LoRA": ("LoraConfig", "r"),
    "DoRA": ("LoraConfig", "r"),
    "LoHa": ("LoHaConfig", "r"),
    "LoKr": ("LoKrConfig", "r"),
    "IA3": ("IA3Config", None),
}
ATTENTION = ("*.attn.qkv", "*.attn.proj", "*.attn.q", "*.attn.kv", "*.attn.k", "*.attn.v")
HASH = "adapted_hash"  # the buffer of whoever holds the network, 16 bytes


class Adapter:
    """What ``adapter=dict(type="LoRA", rank=8)`` of a backbone says.

    Args:
        type: "LoRA" (Hu et al. 2021), "DoRA" (Liu et al. 2024), "LoHa", "LoKr" or "IA3" (Liu et al. 2022).
        rank: of the matrices that are trained, at least 1; not for IA3. None: 8.
        alpha: what is added is multiplied by alpha / rank; None: twice the rank. Not for IA3.
        dropout: of what goes into the added matrices, at least 0 and below 1; LoRA and DoRA alone.
        targets: patterns of the layers' names, such as "blocks.*.attn.qkv", of ``nn.Linear`` or ``nn.Conv2d``. None:
            the projections of the attention.

    Raises:
        ValueError: for a value outside these ranges, an argument that the type has not, or an unknown type.
    """

    def __init__(
        self,
        type: str,  # noqa: A002  # as in every component's config
        rank: int | None = None,
        alpha: float | None = None,
        dropout: float = 0.0,
        targets: Sequence[str] | None = None,
    ) -> None:
        if type not in KINDS:
            raise ValueError(
                f"adapter.type: {type!r} is not one of {', '.join(KINDS)}{nearest(str(type), list(KINDS))}"
            )
        self.kind = type
        if KINDS[type][1] is None and (rank is not None or alpha is not None):
            raise ValueError(f"adapter: {type} has no rank and no alpha; leave them out")
        if dropout and type not in ("LoRA", "DoRA"):
            raise ValueError(f"adapter.dropout: {type} has none; leave it out")
        if not is_number(dropout) or not 0 <= dropout < 1:
            raise ValueError(f"adapter.dropout must be at least 0 and below 1, got {dropout!r}")
        self.rank = 8 if rank is None else rank
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1:
            raise ValueError(f"adapter.rank must be a whole number >= 1, got {rank!r}")
        self.alpha = 2 * self.rank if alpha is None else alpha
        if not is_number(self.alpha) or not 0 < self.alpha < math.inf:
            raise ValueError(f"adapter.alpha must be a number above 0, got {alpha!r}")
        self.dropout = dropout
        if isinstance(targets, str) or (targets is not None and not targets):
            raise ValueError(f"adapter.targets must be a list of patterns, got {targets!r}")
        self.targets = None if targets is None else list(targets)

    def inject(self, model: nn.Module) -> None:
        """Put the adapter into ``model``, whose own weights no longer train, and give it its first values.

        Raises:
            ValueError: for a pattern that matches no layer.
            ConfigError: without peft, with the command that installs it.
        """
        peft = _peft()
        names = self._layers(model)
        arguments: dict[str, Any] = dict(target_modules=names)
        if self.kind == "IA3":
            arguments["feedforward_modules"] = [name for name in names if ".mlp." in name]
        else:
            arguments |= {str(KINDS[self.kind][1]): self.rank}
            arguments |= {"lora_alpha" if self.kind in ("LoRA", "DoRA") else "alpha": self.alpha}
        if self.kind in ("LoRA", "DoRA"):
            arguments |= dict(lora_dropout=self.dropout, use_dora=self.kind == "DoRA")
        model.requires_grad_(False)
        peft.inject_adapter_in_model(getattr(peft, KINDS[self.kind][0])(**arguments), model)

    def _layers(self, model: nn.Module) -> list[str]:
        layers = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
        if self.targets is None:
            found = [name for name in layers if any(fnmatch.fnmatchcase(f".{name}", p) for p in ATTENTION)]
            if not found:
                raise ValueError(
                    "adapter.targets: this network has no attention, whose layers are adapted by default; name layers, "
                    f'such as targets=["{layers[len(layers) // 2]}"], with * for any text'
                )
            return found
        for pattern in self.targets:
            if not any(fnmatch.fnmatchcase(name, pattern) for name in layers):
                close = difflib.get_close_matches(pattern, layers, n=3, cutoff=0) or layers[:3]
                raise ValueError(f'adapter.targets: "{pattern}" matches no layer; some are {", ".join(close)}')
        return [name for name in layers if any(fnmatch.fnmatchcase(name, p) for p in self.targets)]


def build_adapter(cfg: Mapping[str, Any]) -> Adapter:
    """The adapter that ``cfg`` says.

    Raises:
        ValueError: for anything that is wrong with it.
    """
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ValueError(f'adapter: {cfg!r} must be a dict with a type, such as dict(type="LoRA", rank=8)')
    known = list(inspect.signature(Adapter).parameters)
    unknown = [name for name in cfg if name not in known]
    if unknown:
        raise ValueError(f"adapter.{unknown[0]}: there is no such argument{nearest(unknown[0], known)}")
    return Adapter(**cfg)


def _peft() -> Any:
    try:
        import peft
    except ImportError as fault:
        raise ConfigError(['adapter: needs peft, which is not installed; pip install "metricforge[peft]"']) from fault
    return peft


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The layers of ``model`` that hold an adapter, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}


def merge(model: nn.Module) -> None:
    """Add the adapter to the weights of ``model`` and take it out: the network has its own layers again.

    Raises:
        ValueError: if a weight would not be finite.
    """
    for name, layer in adapted_layers(model).items():
        layer.merge(safe_merge=True)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer.get_base_layer())


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of an adapted ``model`` that are its own, by their names in it: all that does not train."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: value for name, value in model.state_dict(keep_vars=True).items() if name not in trained}


def hash_of(tensors: Mapping[str, Tensor]) -> Tensor:
    """16 bytes (16,) uint8 of the SHA-256 of ``tensors``, by their names without the adapter's part."""
    digest = hashlib.sha256()
    for name, tensor in sorted((name.replace("base_layer.", ""), tensor) for name, tensor in tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return torch.frombuffer(bytearray(digest.digest()[:16]), dtype=torch.uint8)


def keep_adapter_alone(holder: nn.Module, attribute: str) -> None:
    """Let ``holder.state_dict()`` have the adapter of its network ``attribute`` and the hash of what it adapts.

    Loading such a state leaves the network's own tensors as they are, once the hashes agree.
    """
    network = getattr(holder, attribute)
    tensors = own_tensors(network)
    holder.register_buffer(HASH, hash_of(tensors))
    own = list(tensors)

    def leave_out(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
        for name in own:
            state.pop(f"{prefix}{attribute}.{name}", None)

    def fill_in(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        theirs, ours = state.get(prefix + HASH), getattr(module, HASH)
        if theirs is not None and not torch.equal(theirs.cpu(), ours.cpu()):
            raise CheckpointError(
                f"its adapter belongs to other weights ({_shown(theirs)}) than those that the backbone has "
                f"({_shown(ours)}); give the weights that the run began from (backbone.weights or pretrained)"
            )
        mine = getattr(module, attribute).state_dict(keep_vars=True)
        state.update({f"{prefix}{attribute}.{name}": mine[name].detach() for name in own})

    saving = holder.register_state_dict_post_hook(leave_out)  # type: ignore[no-untyped-call]
    loading = holder.register_load_state_dict_pre_hook(fill_in)  # type: ignore[no-untyped-call]
    holder.__dict__["_adapter_hooks"] = saving, loading


def forget_adapter(holder: nn.Module) -> None:
    """Undo ``keep_adapter_alone``: its network is merged."""
    for handle in holder.__dict__.pop("_adapter_hooks"):
        handle.remove()
    delattr(holder, HASH)


def _shown(digest: Tensor) -> str:
    return bytes(digest.cpu().tolist()).hex()[:16]
