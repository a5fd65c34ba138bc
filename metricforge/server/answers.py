"""What the server answers, as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Refusal(BaseModel):
    """Why a request was not answered."""

    error: str


class Neighbour(BaseModel):
    """An image of the index."""

    id: int
    score: float = Field(description="the model's similarity: larger = more alike")
    name: str = Field(description="the file's name and that of its folder")
    label: Any = None
    probability: float | None = Field(default=None, description="that it is of the same class; null: not calibrated")
    metadata: dict[str, Any] = {}


class Neighbours(BaseModel):
    """What a search found, the best first."""

    hits: list[Neighbour]
    match: bool | None = Field(description="whether the best is likely the same; null: the index is not calibrated")


class Embeddings(BaseModel):
    """Embeddings of images, in their order."""

    vectors: list[list[float]]
    model: str = Field(description="which model they come from: vectors of another cannot be compared")


class Guess(BaseModel):
    """A training class, and how likely the image is of it."""

    name: str
    probability: float


class Guesses(BaseModel):
    """Training classes, the likeliest first."""

    classes: list[Guess]


class Added(BaseModel):
    """Ids of the images that were added, in their order."""

    ids: list[int]


class Removed(BaseModel):
    """How many images were removed."""

    removed: int


class Column(BaseModel):
    """A column that filters may name."""

    name: str
    type: str


class Health(BaseModel):
    """What is served."""

    status: str
    images: int
    dim: int
    model: str
    calibrated: bool
    classifies: bool
    changeable: bool = Field(description="whether images can be added and removed, with the token")
    columns: list[Column]
    most_k: int
    most_bytes: int
