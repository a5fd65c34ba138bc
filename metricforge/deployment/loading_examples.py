"""The lines of a model card that load its bundle: with MetricForge, with timm or torch alone, with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchvision.transforms import v2

from metricforge.backbones.pooling import POOLINGS
from metricforge.deployment.interpolation import interpolation_mode
from metricforge.deployment.model_description import ModelDescription

HEAD_DEFAULTS = {"layer_norm": False, "l2_normalize": True, "bias": False, "dim": None}


def metricforge_example(folder: str) -> str:
    """Embed two photos, in five lines."""
    return "\n".join(
        [
            "import metricforge",
            f"model = metricforge.load_model({folder!r})",
            'embeddings = model.embed(["photo.jpg", "other.jpg"])  # one row an image',
            'print(model.similarity("photo.jpg", "other.jpg"))  # larger = more alike',
        ]
    )


def vectors_example(folder: str) -> str:
    """Embed vectors that another network made, with MetricForge."""
    return "\n".join(
        [
            "import metricforge, numpy as np",
            f"model = metricforge.load_model({folder!r})",
            'embeddings = model.embed(np.load("vectors.npz")["embeddings"])  # one row a vector',
            "print(model.similarity(embeddings[:1], embeddings))  # larger = more alike",
        ]
    )


def head_example(description: ModelDescription, folder: str) -> str | None:
    """Embed vectors by torch alone; None for a head that this cannot say."""
    head = description.architecture["head"]
    if head["type"] != "EmbeddingHead" or description.architecture["backbone"]["type"] != "IdentityBackbone":
        return None
    lines = [
        "import numpy as np, torch",
        "from safetensors.torch import load_file",
        "",
        f"weights = load_file({f'{folder}/model.safetensors'!r})",
        'embedding = torch.from_numpy(np.load("vectors.npz")["embeddings"]).float()',
    ]
    return "\n".join([*lines, *_of_head(head)])


def timm_example(description: ModelDescription, normalisation: Mapping[str, Any], folder: str) -> str | None:
    """Embed a photo without MetricForge; None for a network or a head that this cannot say."""
    backbone, head = description.architecture["backbone"], description.architecture["head"]
    if backbone["type"] != "TimmBackbone" or head["type"] != "EmbeddingHead":
        return None
    if backbone.get("in_chans") == 1:  # of which the backbone takes a mean first
        return None
    if backbone.get("global_pool") in POOLINGS:
        return None
    if not all(hasattr(v2, step["type"]) for step in description.preprocessing):  # a plug-in's
        return None
    ours = {"type", "name", "frozen_batch_norm", "tokens"}
    chosen = {key: value for key, value in backbone.items() if key not in ours and value is not None}
    if chosen.get("global_pool") == "cls":
        chosen["global_pool"] = "token"  # timm's word
    arguments = [repr(backbone["name"]), "num_classes=0", *(f"{key}={value!r}" for key, value in chosen.items())]
    steps = [*(_transform(step) for step in description.preprocessing), "v2.ToDtype(torch.float32, scale=True)"]
    steps.append(f"v2.Normalize({list(normalisation['mean'])}, {list(normalisation['std'])})")
    lines = [
        "import timm, torch",
        "from PIL import Image, ImageOps",
        "from safetensors.torch import load_file",
        "from torchvision.transforms import v2",
        "",
        f"weights = load_file({f'{folder}/model.safetensors'!r})",
        f"network = timm.create_model({', '.join(arguments)}).eval()",
        'network.load_state_dict({name[15:]: each for name, each in weights.items() if name[:15] == "backbone.model."}'
        f"{', strict=False' if backbone.get('frozen_batch_norm') else ''})",
        f"prepare = v2.Compose([v2.PILToTensor(), {', '.join(steps)}])",
        'photo = prepare(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))[None]',
        "with torch.inference_mode():",
        "    embedding = network(photo)",
    ]
    return "\n".join([*lines, *(f"    {line}" for line in _of_head(head))])


def onnx_example(graphs: Mapping[str, Any], folder: str) -> str | None:
    """Embed a photo by the ONNX graph that has the preprocessing inside; None where there is no such graph."""
    graph = graphs.get("model.onnx")
    if graph is None or not graph.get("preprocessing_inside"):
        return None
    return "\n".join(
        [
            "import numpy as np, onnxruntime",
            "from PIL import Image, ImageOps",
            f"session = onnxruntime.InferenceSession({f'{folder}/model.onnx'!r})",
            'photo = np.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))',
            'embedding = session.run(None, {"images": photo[None]})[0]',
        ]
    )


def _of_head(head: Mapping[str, Any]) -> list[str]:
    """What an ``EmbeddingHead`` does to ``embedding``, in torch's words."""
    chosen = HEAD_DEFAULTS | {key: head[key] for key in HEAD_DEFAULTS if key in head}
    lines = []
    if chosen["layer_norm"]:
        lines.append("embedding = torch.nn.functional.layer_norm(embedding, embedding.shape[1:])")
    if chosen["dim"] is not None:
        bias = ', weights["head.linear.bias"]' if chosen["bias"] else ""
        lines.append(f'embedding = torch.nn.functional.linear(embedding, weights["head.linear.weight"]{bias})')
    if chosen["l2_normalize"]:
        lines.append("embedding = torch.nn.functional.normalize(embedding)")
    return lines


def _transform(step: Mapping[str, Any]) -> str:
    """``step`` of a preprocessing as a call of torchvision."""
    settings = {key: value for key, value in step.items() if key != "type"}
    if "interpolation" in settings:
        settings["interpolation"] = _Expression(
            f"v2.InterpolationMode.{interpolation_mode(settings['interpolation']).name}"
        )
    return f"v2.{step['type']}({', '.join(f'{key}={value!r}' for key, value in settings.items())})"


class _Expression(str):
    """Code that stands for itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
