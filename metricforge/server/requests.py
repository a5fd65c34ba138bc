"""What clients send: forms with images, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from metricforge.server.limits import LONGEST_FILTER, Limits
from metricforge.server.refused_error import RefusedError
from metricforge.server.uploaded_image import ALLOWED

FORM, JSON = "multipart/form-data", "application/json"
LARGEST_ID = 2**63 - 1
MOST_JSON_BYTES = 2**20
MOST_FIELDS = 16

Id = Annotated[int, Field(ge=0, le=LARGEST_ID, strict=True)]
Number = Annotated[float, Field(strict=True)]  # neither true nor "1"
_K = Field(default=10, ge=1, description="neighbours to find")
_FILTER = Field(
    default=None,
    max_length=LONGEST_FILTER,
    description="an SQL condition that compares columns with constants: label in ('shoe', 'boot') and price < 50",
)
_CROP = Field(default=None, description="left,top,right,bottom of a part of the image, as shares of its size")
_IMAGE = Field(description=f"the file; {ALLOWED}", json_schema_extra={"type": "string", "format": "binary"})
_FILES: dict[str, Any] = {"items": {"type": "string", "format": "binary"}, "minItems": 1}


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchByImage(_Fields):
    """Search with an image."""

    image: Any = _IMAGE
    k: int = _K
    filter: str | None = _FILTER
    crop: str | None = _CROP


class SearchByIdOrVector(_Fields):
    """Search with an image of the index (id) or with an embedding (vector); one of them."""

    id: Id | None = Field(default=None, description="of an image of the index, which is left out")
    vector: list[Number] | None = Field(default=None, description="an embedding, as /embed gives it")
    k: Annotated[int, Field(strict=True)] = _K
    filter: str | None = _FILTER


class ImagesToEmbed(_Fields):
    """Images to embed."""

    image: list[Any] = Field(description="one file or several", json_schema_extra=_FILES)
    crop: str | None = _CROP


class ImageToClassify(_Fields):
    """An image to classify."""

    image: Any = _IMAGE
    k: int = Field(default=5, ge=1, description="classes to name")
    crop: str | None = _CROP


class ImagesToAdd(_Fields):
    """Images to add."""

    image: list[Any] = Field(description="one file or several", json_schema_extra=_FILES)
    label: str | None = Field(default=None, pattern=r"\S", max_length=200, description="of all of them")


class ImagesToRemove(_Fields):
    """Images to remove."""

    ids: list[Id] = Field(min_length=1, max_length=1000)


Read = TypeVar("Read", bound=_Fields)


def media_type(request: Request) -> str:
    """The media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, kind: type[Read]) -> Read:
    """The JSON body as ``kind``.

    Raises:
        RefusedError: if it is none.
    """
    _expect(request, JSON)
    content = bytearray()
    async for block in request.stream():
        content += block
        if len(content) > MOST_JSON_BYTES:
            raise RefusedError(413, f"a JSON body may have {MOST_JSON_BYTES:,} bytes at most")
    try:
        values = json.loads(bytes(content))
    except (ValueError, RecursionError) as fault:
        raise RefusedError(400, "the body is no JSON") from fault
    return _validated(values, kind)


async def read_form(request: Request, kind: type[Read], limits: Limits) -> tuple[Read, list[UploadFile]]:
    """The fields of a form as ``kind``, and the files called ``image``, at least one.

    Raises:
        RefusedError: if it is none, or a field stands twice.
    """
    _expect(request, FORM)
    try:
        form: FormData = await request.form(max_files=limits.images, max_fields=MOST_FIELDS)
    except RefusedError:
        raise
    except HTTPException as fault:
        raise RefusedError(400, f"the form cannot be read: {fault.detail}") from fault
    except Exception as fault:  # parsers' errors of any type
        raise RefusedError(400, "the form cannot be read") from fault
    files = [value for name, value in form.multi_items() if name == "image" and isinstance(value, UploadFile)]
    rest = [(name, value) for name, value in form.multi_items() if not (name == "image" and value in files)]
    names = [name for name, _ in rest]
    wrong = [name for name, value in rest if not isinstance(value, str) or names.count(name) > 1 or name == "image"]
    if wrong:
        raise RefusedError(422, f"field {wrong[0]!r}: files are called image, and any other field stands once")
    if not files:
        raise RefusedError(422, "the form has no file called image")
    single = not str(kind.model_fields["image"].annotation).startswith("list")
    if single and len(files) > 1:
        raise RefusedError(422, f"one image is expected, and {len(files)} are here")
    return _validated({**dict(rest), "image": files[0] if single else files}, kind), files


def _expect(request: Request, wanted: str) -> None:
    if media_type(request) != wanted:
        raise RefusedError(415, f"Content-Type must be {wanted}, not {media_type(request) or 'absent'!r}")


def _validated(values: Any, kind: type[Read]) -> Read:
    try:
        return kind.model_validate(values)
    except ValidationError as fault:
        raise RefusedError(422, reason_of(fault.errors(include_url=False, include_input=False))) from fault


def reason_of(faults: Any) -> str:
    """What pydantic found, in one line."""
    told = [f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}" for each in faults[:3]]
    return "; ".join(told)


def body_of(**kinds: type[BaseModel]) -> Mapping[str, Any]:
    """What OpenAPI says of a body: ``form`` and ``json`` are the models of either."""
    media = {"form": FORM, "json": JSON}
    schemas = {media[name]: {"schema": kind.model_json_schema(mode="validation")} for name, kind in kinds.items()}
    return {"requestBody": {"required": True, "content": schemas}}
