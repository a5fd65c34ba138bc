"""A model card: what a bundle is, scored how, made of what, and how it is loaded, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metricforge.calibration import Calibration
from metricforge.deployment.loading_examples import (
    head_example,
    metricforge_example,
    onnx_example,
    timm_example,
    vectors_example,
)
from metricforge.deployment.markdown import as_code, as_text
from metricforge.deployment.model_description import ModelDescription
from metricforge.engine.readout.beginning import VECTORS
from metricforge.engine.readout.candidate import SAYS

UNKNOWN = "not stated"
LAYERS_OF_VECTORS = {
    SAYS["pooled"]: "vectors as they are",
    SAYS["whitened"]: "whitened vectors",
    SAYS["adapted"]: "linear layer on the vectors",
}


def model_card(
    description: ModelDescription,
    record: Mapping[str, Any],
    model_hash: str,
    *,
    folder: str,
    dim: int,
    normalisation: Mapping[str, Any],
    graphs: Mapping[str, Any],
    learned_similarity: bool = False,
    vectors: int | None = None,
    calibration: Calibration | None = None,
) -> str:
    """The card of a bundle.

    Args:
        description: of the model.
        record: what is known of its making, as ``training_record`` gives it; the card says of the rest that it is
            not known.
        model_hash: of the model.
        folder: the bundle's name, as the examples call it.
        dim: D, the numbers of an embedding.
        normalisation: ``mean`` and ``std`` of values in 0..1, by which pixels are normalised.
        graphs: what was exported beside the weights, by file, with how it was compared.
        learned_similarity: whether the similarity has weights, so that embeddings alone do not say what is alike.
        vectors: F, the numbers of a vector that the model takes; None: it takes images.
        calibration: the threshold below which a query counts as unknown; None: not measured.
    """
    sections = [
        _front_matter(record, vectors),
        f"# {as_text(folder)}\n\n{_purpose(description, dim, vectors)} Trained with MetricForge. "
        f"Model {as_code(model_hash)}.",
        f"## Load it\n\nWith MetricForge{_and_plugins(record, description)}:\n\n"
        + _fenced(metricforge_example(folder) if vectors is None else vectors_example(folder)),
        _plain_example(description, normalisation, folder, vectors, learned_similarity),
        _graphs(graphs, folder),
        "## Scores\n\n" + _scores(record.get("evaluation"), vectors),
        "## How its weights were chosen\n\n" + _choice(record),
        "" if calibration is None else f"## Same or unknown\n\n{_unknown(calibration)}",
        "## What it was trained on\n\n" + "\n".join(_training(record, description, vectors)),
        "" if vectors is not None else "## How an image is prepared\n\n" + _preprocessing(description, normalisation),
        "## Limits\n\n" + "\n".join(_limits(record, description, vectors, calibrated=calibration is not None)),
        "## Licence\n\n" + "\n".join(_licence(record, vectors)),
    ]
    return "\n\n".join(section.rstrip("\n") for section in sections if section) + "\n"


def _purpose(description: ModelDescription, dim: int, vectors: int | None) -> str:
    if vectors is not None:
        return (
            f"Maps vectors of {vectors} numbers, which another network made, to embeddings of {dim} numbers; similar "
            "things come close together. A vector is taken as it is."
        )
    backbone = description.architecture["backbone"]
    return (
        f"Maps images to embeddings of {dim} numbers; similar images come close together. Network: "
        f"{as_code(backbone.get('name', backbone['type']))}."
    )


def _unknown(calibration: Calibration) -> str:
    told = calibration.describe()
    return f"{told[0].upper()}{told[1:]}. Among more images calibrate again: `metricforge index calibrate`."


def _front_matter(record: Mapping[str, Any], vectors: int | None) -> str:
    licence = record.get("licence")
    task = "image-feature-extraction" if vectors is None else "feature-extraction"
    lines = ["---", "library_name: metricforge", f"pipeline_tag: {task}"]
    lines += [f"license: {json.dumps(licence)}"] if licence else []
    lines += ["tags:", "- metric-learning", *(["- image-retrieval", "- image-similarity"] if vectors is None else [])]
    return "\n".join([*lines, "---"])


def _and_plugins(record: Mapping[str, Any], description: ModelDescription) -> str:
    """The distributions that the model's components come from, beside MetricForge, as its making recorded them."""
    needed = set(_types([description.architecture, description.preprocessing]))
    plugins = {key: str(told) for key, told in dict(record.get("plugins") or {}).items() if key in needed}
    names = sorted({told.split()[0] for told in plugins.values() if told.strip()})
    return f" and its plug-ins (`pip install {' '.join(names)}`)" if names else ""


def _types(config: Any) -> Iterator[str]:
    """The types that ``config`` names, at any depth."""
    if isinstance(config, Mapping):
        if isinstance(config.get("type"), str):
            yield config["type"]
        config = config.values()
    elif not isinstance(config, (list, tuple)):
        return
    for each in config:
        yield from _types(each)


def _plain_example(
    description: ModelDescription, normalisation: Mapping[str, Any], folder: str, vectors: int | None, learned: bool
) -> str:
    similarity = as_code(description.architecture["similarity"]["type"])
    lacking = f" (the embedding, but not {similarity}, a similarity that was learned)" if learned else ""
    if vectors is not None:
        code = head_example(description, folder)
        return "" if code is None else f"With torch and safetensors alone{lacking}:\n\n" + _fenced(code)
    code = timm_example(description, normalisation, folder)
    if code is None:
        return (
            "It has parts that timm does not, so it takes MetricForge, or a graph: `metricforge export --format onnx`."
        )
    return f"With timm, torchvision and safetensors alone{lacking}:\n\n" + _fenced(code)


def _graphs(graphs: Mapping[str, Any], folder: str) -> str:
    lines = []
    for file, graph in graphs.items():
        compared = graph.get("compared") or {}
        told = f"- {as_code(file)}: {as_text(graph['says'])}"
        if compared:
            told += (
                f" Compared with the model on {compared['images']} images"
                + (f" in batches of {_listed(compared['batches'])}" if "batches" in compared else "")
                + f": numbers differ by at most {compared['largest_difference']:.2g}"
            )
            told += (
                f", Recall@1 {compared['recall_at_1']:.4f} against {compared['recall_at_1_of_model']:.4f}."
                if compared.get("recall_at_1") is not None
                else "."
            )
        lines.append(told)
    if not lines:
        return ""
    example = onnx_example(graphs, folder)
    shown = "\n\n" + _fenced(example) if example else ""
    return "The same model as graphs, which need none of that:\n\n" + "\n".join(lines) + shown


def _scores(evaluation: Any, vectors: int | None) -> str:
    if not evaluation:
        return "Not known: no evaluation of these weights lay beside the checkpoint."
    level = round(100 * evaluation["level"])
    rows = [f"| Score | Value | {level} % interval |", "|-|-|-|"]
    for name, value in evaluation["scores"].items():
        ends = evaluation["intervals"].get(name)
        rows.append(f"| {as_text(name)} | {value:.4f} | {f'{ends[0]:.4f} to {ends[1]:.4f}' if ends else ''} |")
    return "\n".join(rows) + "\n\n" + _protocol(evaluation["protocol"], level, vectors)


def _protocol(protocol: Mapping[str, Any], level: int, vectors: int | None) -> str:
    data = protocol.get("dataset") or {}
    facts = [
        f"Measured on {as_text(data.get('name', 'images that are not named'))}"
        + (f", fingerprint {as_code(data['fingerprint'])}." if data.get("fingerprint") else "."),
        f"{protocol.get('queries', '?')} queries search {protocol.get('gallery', '?')} {_things(vectors)} of "
        f"{protocol.get('classes', '?')} classes; self-exclusion {as_text(protocol.get('self_exclusion', UNKNOWN))}; "
        f"{protocol.get('queries_without_match', '?')} queries without a match count for no score.",
        f"Similarity: {as_code((protocol.get('similarity') or {}).get('type', UNKNOWN))}. Intervals draw classes with "
        f"replacement ({level} %); scores that are not means over queries have none.",
    ]
    return "\n".join(facts) + "\n\nThe whole protocol is in `model.json`."


def _choice(record: Mapping[str, Any]) -> str:
    measured = (record.get("evaluation") or {}).get("protocol") or {}
    choice = measured.get("choice") or record.get("choice")
    if not choice:
        return f"Not known. Epoch {as_text(record.get('epoch', '?'))}."
    by = str(choice.get("by", UNKNOWN))
    told = as_text(str(choice.get("weights", "weights"))).capitalize()
    if choice.get("layer"):  # of a readout
        layer, weights = str(choice["layer"]), str(choice["weights"])
        told = f"The {as_text(layer)} (weights: {as_text(weights)})"
        if weights == VECTORS.weights and layer in LAYERS_OF_VECTORS:
            told = f"The {LAYERS_OF_VECTORS[layer]}"
    elif choice.get("trained_epochs"):
        told += f" of {choice['trained_epochs']}"
    if choice.get("score"):
        told += f", by {as_text(choice['score'])} on {as_text(by)}, among {choice.get('among', '?')}"
    epoch = record.get("epoch", "?")
    if epoch != 0:
        told += f"; the weights are those of epoch {as_text(epoch)}."
    else:
        told += "." if choice.get("weights") == VECTORS.weights else "; the backbone is as before the first epoch."
    looks = choice.get("test_looks")
    if looks:
        told += f" The test classes were looked at {'once' if looks == 1 else f'{as_text(looks)} times'}."
    if by.startswith("test"):
        told += " **The test classes chose these weights, so scores on them are too high.**"
    return told


def _things(vectors: int | None) -> str:
    return "images" if vectors is None else "vectors"


def _training(record: Mapping[str, Any], description: ModelDescription, vectors: int | None) -> Iterator[str]:
    training = record.get("training") or {}
    yield f"- {_things(vectors).capitalize()}: {as_text(training.get('dataset') or UNKNOWN)}" + (
        f", fingerprint {as_code(training['fingerprint'])}" if training.get("fingerprint") else ""
    )
    yield f"- Classes: {training.get('classes') or description.num_classes or UNKNOWN}"
    yield f"- Loss: {as_code(training['loss']) if training.get('loss') else UNKNOWN}"
    if training.get("miner"):
        yield f"- Miner: {as_code(training['miner'])}"
    if vectors is None:
        pretraining = record.get("pretraining")
        source = (pretraining or {}).get("source")
        begun = "random weights, no pretraining" if pretraining is not None and not source else source or UNKNOWN
        yield f"- The backbone began with: {as_text(begun)}"
    else:
        yield "- The network that made the vectors: not known to MetricForge; look where they came from"
    versions = record.get("versions") or {}
    if versions:
        yield "- With: " + ", ".join(f"{as_text(name)} {as_text(version)}" for name, version in versions.items())


def _preprocessing(description: ModelDescription, normalisation: Mapping[str, Any]) -> str:
    lines = ["An image is turned upright by its EXIF orientation and converted to RGB. Then, in this order:", ""]
    for step in description.preprocessing:
        lines.append(f"- {as_code(json.dumps(step, default=str))} (torchvision.transforms.v2, on uint8)")
    mean, std = (", ".join(f"{value:g}" for value in normalisation[key]) for key in ("mean", "std"))
    lines.append(f"- values divided by 255, less {mean}, divided by {std} (red, green, blue)")
    if description.decode == "fast":
        lines.append("- JPEGs are decoded at a fraction of their size, so other decoders give slightly other numbers")
    return "\n".join(lines)


def _limits(
    record: Mapping[str, Any], description: ModelDescription, vectors: int | None, *, calibrated: bool
) -> Iterator[str]:
    if vectors is None:
        own = "Measure it on your own images: `metricforge embed`, then `metricforge evaluate`."
    else:
        own = "Vectors of another network, or of another version of it, mean nothing to it."
    yield (
        f"- Similarity means what the training classes made it mean; {_things(vectors)} of another kind may be ranked "
        f"in an order that means nothing. {own}"
    )
    if not calibrated:
        yield (
            f"- An embedding tells how alike {'images' if vectors is None else 'things'} are, and not whether they are "
            "the same: for that a threshold has to be found on labelled ones."
        )
    if not record.get("evaluation"):
        yield "- Its scores are not known."
    if not description.class_names and "loss" in description.architecture:
        yield "- The names of its training classes are not known; `classify` gives their numbers."
    begun = "its pretraining have" if vectors is None else "the network that made them have"
    yield f"- Whatever bias its training {_things(vectors)} and {begun}, it has."


def _licence(record: Mapping[str, Any], vectors: int | None) -> Iterator[str]:
    pretraining = record.get("pretraining") or {}
    yield f"- These weights: {as_text(record.get('licence') or UNKNOWN)}"
    if pretraining.get("source"):
        yield f"- The weights the backbone began with: {as_text(pretraining.get('licence') or UNKNOWN)}"
    yield f"- The training {_things(vectors)}: not known to MetricForge; look where they came from"
    yield "- MetricForge, which loads them: Apache-2.0"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"
