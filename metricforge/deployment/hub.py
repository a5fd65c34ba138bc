"""Bundles on the Hugging Face hub, whose layout is a bundle's: the card, ``model.json`` and ``model.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metricforge.bundle_files import CARD, DESCRIPTION, WEIGHTS, is_bundle
from metricforge.errors import CheckpointError, MetricForgeError

FILES = [CARD, DESCRIPTION, WEIGHTS, "*.onnx", "*.onnx.data", "*.pt", "*.pt2"]
INSTALL = 'install it with: pip install "metricforge[hub]"'


def bundle_from_hub(name: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """Return the folder of a bundle: ``name`` itself if it is one, otherwise what the hub has by that name.

    Args:
        name: a bundle's folder, or a repository of the hub such as "someone/shoes".
        revision: of the repository: a branch, a tag or a commit.
        token: for a private repository; None: the one that ``hf auth login`` stored.

    Raises:
        CheckpointError: if neither is there, or the repository holds no bundle.
        MetricForgeError: if huggingface_hub is not installed.
    """
    if is_bundle(Path(name)):
        return Path(name)
    if Path(name).exists():
        raise CheckpointError(f"{name} is not a bundle: it has no {DESCRIPTION}; `metricforge export` writes one")
    hub = _hub()
    try:
        folder = Path(hub.snapshot_download(str(name), revision=revision, token=token, allow_patterns=FILES))
    except Exception as fault:  # the hub's client, its HTTP client and the network have no common error
        raise CheckpointError(
            f"{name} is not a folder, and could not be downloaded from the hub ({_reason(fault)})"
        ) from fault
    if not is_bundle(folder):
        raise CheckpointError(f"{name}: the repository is not a bundle of MetricForge: it has no {DESCRIPTION}")
    return folder


def bundle_to_hub(
    bundle: Path, repository: str, *, private: bool | None = None, revision: str | None = None, token: str | None = None
) -> str:
    """Upload ``bundle`` into ``repository`` of the hub, which is made if it is not there; return its address.

    Raises:
        MetricForgeError: if huggingface_hub is not installed, or the hub refuses.
    """
    hub = _hub()
    try:
        api = hub.HfApi(token=token)
        address = api.create_repo(repository, private=private, repo_type="model", exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=str(bundle), revision=revision, commit_message="Upload a MetricForge bundle"
        )
    except Exception as fault:  # as above
        raise MetricForgeError(
            f"{repository} could not be pushed to the hub ({_reason(fault)}); log in with: hf auth login"
        ) from fault
    return str(address)


def _reason(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0]}" if lines else type(fault).__name__


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as fault:
        raise MetricForgeError(f"the hub needs the package huggingface_hub ({fault}); {INSTALL}") from fault
    return huggingface_hub
