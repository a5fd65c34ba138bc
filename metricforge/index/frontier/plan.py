"""Which spaces and kinds of index a frontier compares, as far as model and images allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metricforge.errors import EmbeddingsError
from metricforge.index.array_similarity import name_of
from metricforge.index.frontier.choice import ALL
from metricforge.index.kinds import CODED, KINDS, LEAST_TRAINING_ROWS, WITH_LISTS, efforts
from metricforge.spaces import Space

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity


def default_spaces(dim: int, images: int) -> list[str]:
    """All dimensions, and a half and a quarter of them: the first ones, and the principal components."""
    parts = [part for part in dict.fromkeys((dim // 2, dim // 4)) if 2 <= part < dim]
    return [ALL, *(f"pca:{part}" for part in parts if part <= images), *(f"first:{part}" for part in parts)]


@dataclass(frozen=True)
class FrontierPlan:
    """What is measured.

    Args:
        spaces: the forms that embeddings are brought into.
        kinds: of index.
        refines: whether stored vectors may put candidates in order.
        left_out: choices that the images do not allow, and why.
    """

    spaces: tuple[str, ...]
    kinds: tuple[str, ...]
    refines: bool
    left_out: tuple[str, ...]

    def ways(self, space: str) -> Iterator[tuple[str, bool]]:
        """Each kind, and those that compress also refined, which is how ``metricforge index`` has them."""
        for kind in self.kinds:
            yield kind, False
            if space == ALL and kind in CODED and self.refines:
                yield kind, True

    @property
    def choices(self) -> int:
        """How many choices there are."""
        return sum(1 for space in self.spaces for _ in self.ways(space))


def plan_frontier(
    dim: int,
    images: int,
    similarity: Similarity | ArraySimilarity,
    spaces: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    recall: float | None = None,
) -> FrontierPlan:
    """Plan what is measured of embeddings of ``dim`` dimensions; see ``measure_frontier``, which does so itself.

    Raises:
        EmbeddingsError: for a similarity that is learned, or a kind, space or recall that cannot take effect.
    """
    if similarity.search is None:
        raise EmbeddingsError(
            f"metricforge frontier needs a similarity without weights, and {name_of(similarity)} was trained on all "
            "dimensions; metricforge index measures how well a shortlist works for it"
        )
    chosen_spaces = default_spaces(dim, images) if spaces is None else list(dict.fromkeys(spaces))
    if not chosen_spaces:
        raise EmbeddingsError(f"--spaces is empty; name some, such as {','.join(default_spaces(dim, images))}")
    for name in chosen_spaces:
        _check_space(name, dim, images)
    chosen_kinds, left_out = _kinds(kinds, images, similarity)
    if recall is not None and not any(len(efforts(kind)) > 1 for kind in chosen_kinds):
        raise EmbeddingsError(
            f"--recall {recall} applies to hnsw, ivfint8 and ivfpq, but the kinds are {', '.join(chosen_kinds)}; leave "
            "--recall out"
        )
    return FrontierPlan(tuple(chosen_spaces), tuple(chosen_kinds), similarity.search != "hamming", tuple(left_out))


def _kinds(
    asked: Sequence[str] | None, images: int, similarity: Similarity | ArraySimilarity
) -> tuple[list[str], list[str]]:
    """The kinds to measure, and why others are left out."""
    if asked is not None and (not asked or set(asked) - set(KINDS)):
        wrong = next((repr(kind) for kind in asked if kind not in KINDS), "none")
        raise EmbeddingsError(f"--kinds must name some of {', '.join(KINDS)}, got {wrong}")
    if similarity.search == "hamming":
        others = [kind for kind in asked or () if kind != "binary"]
        if others:
            raise EmbeddingsError(
                f"--kinds {others[0]}: {name_of(similarity)} compares signs, which only binary searches; leave "
                "--kinds out"
            )
        return ["binary"], ["kinds other than binary: the model compares signs"]
    kinds = list(dict.fromkeys(asked or KINDS))
    if images >= LEAST_TRAINING_ROWS:
        return kinds, []
    left_out = [
        f"{kind}: it learns its codes from at least {LEAST_TRAINING_ROWS:,} images, and there are {images:,}"
        for kind in kinds
        if kind in WITH_LISTS
    ]
    if asked and left_out:
        raise EmbeddingsError(f"--kinds {left_out[0]}; leave it out")
    return [kind for kind in kinds if kind not in WITH_LISTS], left_out


def _check_space(name: str, dim: int, images: int) -> None:
    if name == ALL:
        return
    try:
        steps = Space(name).steps
    except ValueError as fault:
        raise EmbeddingsError(f'--spaces: {fault}; "all" keeps the embeddings as they are') from fault
    for step in steps:
        if step.dimensions is None:
            raise EmbeddingsError(f'--spaces: "{name}": int8 is one of --kinds here, not a space; leave it out')
        if step.dimensions > dim:
            raise EmbeddingsError(f'--spaces: "{name}" keeps {step.dimensions} dimensions of {dim}; take fewer')
        if step.kind == "pca" and step.dimensions > images:
            raise EmbeddingsError(
                f'--spaces: "{name}": PCA on {images:,} images has at most {images:,} dimensions; take fewer'
            )
        dim = step.dimensions
