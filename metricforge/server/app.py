"""The application: each route of the API, and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from metricforge import __version__
from metricforge.errors import EmbeddingsError, FilterError, IndexBusyError, MetricForgeError
from metricforge.index import SearchIndex
from metricforge.server import requests as sent
from metricforge.server.access_token import AccessToken
from metricforge.server.answers import Added, Embeddings, Guesses, Health, Neighbours, Refusal, Removed
from metricforge.server.collection_pictures import SIZES
from metricforge.server.gate import Gate
from metricforge.server.limits import Limits
from metricforge.server.measures import Measures
from metricforge.server.refused_error import RefusedError
from metricforge.server.requests import body_of, read_form, read_json
from metricforge.server.service import Service

PAGE = Path(__file__).parent / "page"
THEME = Path(__file__).parents[1] / "report" / "html" / "theme.css"  # of all pages; its package takes long to import
STATUSES = {EmbeddingsError: 422, FilterError: 422, IndexBusyError: 503}
BEARER = HTTPBearer(auto_error=False, description="the content of --token-file")
Reasons = dict[int | str, dict[str, Any]]


def create_app(
    index: SearchIndex,
    token: AccessToken | None = None,
    limits: Limits | None = None,
    hosts: Sequence[str] | None = None,
) -> Gate:
    """The ASGI application that serves ``index``.

    Args:
        index: what is searched.
        token: lets those change the index who know it; None: nobody.
        limits: of requests.
        hosts: names that the server may be called by; None: any.
    """
    limits = limits or Limits()
    measures = Measures()
    service = Service(index, limits, measures)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="MetricForge",
        summary="Find the images of a collection that are most like a given one.",
        version=__version__,
        docs_url=None,  # it would fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.index_path = index.path
    for kind in (HTTPException, RequestValidationError, MetricForgeError, Exception):
        app.add_exception_handler(kind, _refusal)
    _add_reading(app, service)
    _add_changing(app, service, token or AccessToken(None))
    _add_page(app)
    return Gate(app, limits, measures, hosts)


def _add_reading(app: FastAPI, service: Service) -> None:
    form = service.limits

    @app.post(
        "/search",
        summary="Neighbours of an image, of an id or of a vector",
        openapi_extra=dict(body_of(form=sent.SearchByImage, json=sent.SearchByIdOrVector)),
        responses=_reasons(404, 408, 413, 415, 422),
    )
    async def search(request: Request) -> Neighbours:
        if sent.media_type(request) == sent.JSON:
            wanted = await read_json(request, sent.SearchByIdOrVector)
            if (wanted.id is None) == (wanted.vector is None):
                raise RefusedError(422, "one of id and vector is expected")
            if wanted.vector is not None:
                return await service.search(service.given_vector(wanted.vector), wanted.k, wanted.filter)
            image = wanted.id
            assert image is not None

            async def by_id() -> Neighbours:
                return await service.search(await service.vector_of(image), wanted.k, wanted.filter, image)

            return await service.of_one_model(by_id)
        fields, files = await read_form(request, sent.SearchByImage, form)

        async def by_image() -> Neighbours:
            vector = (await service.embed(files, fields.crop))[0]
            return await service.search(vector, fields.k, fields.filter)

        return await service.of_one_model(by_image)

    @app.post(
        "/embed",
        summary="Embeddings of images",
        openapi_extra=dict(body_of(form=sent.ImagesToEmbed)),
        responses=_reasons(408, 413, 415, 422),
    )
    async def embed(request: Request) -> Embeddings:
        fields, files = await read_form(request, sent.ImagesToEmbed, form)

        async def embeddings() -> Embeddings:
            vectors = await service.embed(files, fields.crop)
            return Embeddings(vectors=vectors.tolist(), model=service.index.manifest.model_hash)

        return await service.of_one_model(embeddings)

    @app.post(
        "/classify",
        summary="Training classes that an image is likely of",
        openapi_extra=dict(body_of(form=sent.ImageToClassify)),
        responses=_reasons(408, 409, 413, 415, 422),
    )
    async def classify(request: Request) -> Guesses:
        fields, files = await read_form(request, sent.ImageToClassify, form)

        async def guesses() -> Guesses:
            return await service.classify((await service.embed(files, fields.crop))[0], fields.k)

        return await service.of_one_model(guesses)

    @app.get(
        "/images/{id}",
        summary="A small picture of an image of the index",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 304: {"description": "As before"}, **_reasons(404, 422)},
    )
    async def picture(
        request: Request,
        image: Annotated[int, PathParameter(alias="id", ge=0, le=sent.LARGEST_ID)],
        size: Annotated[int, Query(description=f"of the longer side in pixels: one of {SIZES}")] = 256,
    ) -> Response:
        if size not in SIZES:
            raise RefusedError(422, f"size must be one of {', '.join(map(str, SIZES))}, got {size}")
        found = await service.picture(image, size)
        headers = {"ETag": f'"{found.tag}"', "Cache-Control": "private, max-age=60"}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type="image/jpeg", headers=headers)

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses=_METRICS)
    async def metrics() -> Response:
        return Response(service.metrics(), media_type="text/plain; version=0.0.4")


_METRICS: Reasons = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


def _add_changing(app: FastAPI, service: Service, token: AccessToken) -> None:
    def check_token(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        token.require(None if given is None else given.credentials)

    @app.get("/health", summary="What is served")
    async def health() -> Health:
        return service.health(token.exists)

    @app.post(
        "/add",
        summary="Add images",
        dependencies=[Depends(check_token)],
        openapi_extra=dict(body_of(form=sent.ImagesToAdd)),
        responses=_reasons(401, 403, 408, 413, 415, 422),
    )
    async def add(request: Request) -> Added:
        fields, files = await read_form(request, sent.ImagesToAdd, service.limits)
        return await service.add(files, fields.label)

    @app.post(
        "/remove",
        summary="Remove images by id",
        dependencies=[Depends(check_token)],
        openapi_extra=dict(body_of(json=sent.ImagesToRemove)),
        responses=_reasons(401, 403, 404, 408, 413, 415, 422),
    )
    async def remove(request: Request) -> Removed:
        return await service.remove((await read_json(request, sent.ImagesToRemove)).ids)


def _add_page(app: FastAPI) -> None:
    def file_at(route: str, file: Path, media_type: str) -> None:
        async def read() -> FileResponse:
            return FileResponse(file, media_type=media_type, headers={"Cache-Control": "no-cache"})

        app.add_api_route(route, read, methods=["GET", "HEAD"], include_in_schema=False)

    file_at("/", PAGE / "page.html", "text/html")
    file_at("/theme.css", THEME, "text/css")
    file_at("/page.css", PAGE / "page.css", "text/css")
    file_at("/page.js", PAGE / "page.js", "text/javascript")
    file_at("/favicon.ico", PAGE / "icon.svg", "image/svg+xml")
    file_at("/icon.svg", PAGE / "icon.svg", "image/svg+xml")


def _reasons(*statuses: int) -> Reasons:
    """What OpenAPI says of refusals; any request may be refused as bad, as one too many or for a while."""
    return {status: {"model": Refusal} for status in sorted({400, *statuses, 429, 503})}


async def _refusal(request: Request, fault: Exception) -> Response:
    """The answer to a request that failed, with its reason, and nothing of the server's own."""
    headers: dict[str, str] = {}
    if isinstance(fault, RefusedError):
        status, reason, headers = fault.status, fault.reason, fault.headers
    elif isinstance(fault, HTTPException):
        status, reason, headers = fault.status_code, str(fault.detail), dict(fault.headers or {})
    elif isinstance(fault, RequestValidationError):
        status, reason = 422, sent.reason_of(fault.errors())
    else:
        status = next((number for kind, number in STATUSES.items() if isinstance(fault, kind)), 500)
        reason = {
            422: str(fault).replace("--filter", "filter").replace(str(request.app.state.index_path), "the index"),
            503: "somebody else changes the index now; try again in a second",
        }.get(status, "the server failed; its log says why")
        if status == 503:
            headers = {"Retry-After": "1"}
        if status == 500:
            raise fault
    return JSONResponse({"error": reason}, status, headers)
