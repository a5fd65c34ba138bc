"""A server of eighty small photographs."""

from __future__ import annotations

import io
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from metricforge.backbones import RawPixels
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.heads import EmbeddingHead
from metricforge.index import SearchIndex, build_index
from metricforge.models import MetricLearner
from metricforge.server.access_token import AccessToken
from metricforge.server.app import create_app
from metricforge.server.limits import Limits
from metricforge.similarities import CosineSimilarity

Serve = Callable[..., TestClient]


def random_png(seed: int = 0, width: int = 3, height: int = 3) -> bytes:
    """A picture of random pixels."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Makes a picture of random pixels: ``png(seed, width=3, height=3)``."""
    return random_png


@pytest.fixture(scope="session")
def pixel_model() -> EmbeddingModel:
    """The pixels of an image, resized to 3 x 3 and compared by cosine."""
    from metricforge_normsoftmax.norm_softmax_loss import NormSoftmaxLoss

    description = ModelDescription(
        architecture=dict(
            backbone=dict(type="RawPixels", height=3, width=3),
            head=dict(type="EmbeddingHead", l2_normalize=False),
            similarity=dict(type="CosineSimilarity"),
            loss=dict(type="NormSoftmaxLoss", temperature=0.05),
        ),
        preprocessing=(dict(type="Resize", size=(3, 3)),),
        num_classes=8,
        class_names=tuple(f"class_{number}" for number in range(8)),
    )
    head = EmbeddingHead(feature_dim=27, l2_normalize=False)
    torch.manual_seed(0)
    loss = NormSoftmaxLoss(num_classes=8, dim=27)
    learner = MetricLearner(RawPixels(height=3, width=3), head, CosineSimilarity(), loss)
    return EmbeddingModel(learner, description, torch.device("cpu"), "here")


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty images of 3 x 3 pixels in eight classes, one with markup for a name."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(80):
        name = "<img src=x onerror=alert(1)>" if number == 5 else f"{number:02d}"
        path = root / f"class_{number % 8}" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(random_png(number))
    return root


@pytest.fixture(scope="session")
def built(pixel_model: EmbeddingModel, photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of all photographs, not to be changed."""
    return build_index(pixel_model, open_collection(photo_folder), tmp_path_factory.mktemp("index") / "index").path


@pytest.fixture
def index(built: Path, tmp_path: Path) -> SearchIndex:
    """An index of one's own."""
    return SearchIndex(shutil.copytree(built, tmp_path / "index"))


@pytest.fixture
def serve(built: Path) -> Iterator[Serve]:
    """Starts a server, of ``index`` or of one that is not to be changed, with any of ``Limits``."""
    started: list[TestClient] = []

    def start(index: SearchIndex | None = None, token: str | None = None, hosts=None, **limits) -> TestClient:
        app = create_app(index or SearchIndex(built), AccessToken(token), Limits(**limits), hosts)
        client = TestClient(app, raise_server_exceptions=True)
        client.__enter__()
        started.append(client)
        return client

    yield start
    for client in started:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A server that nobody may change."""
    return serve()


@pytest.fixture
def authorised() -> dict[str, str]:
    """The headers of one who knows the token."""
    return {"Authorization": "Bearer 0123456789abcdef0123456789abcdef"}


@pytest.fixture
def live(built: Path) -> Iterator[Callable[..., str]]:
    """Starts a server that listens, as ``serve`` does, and gives its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(index: SearchIndex | None = None, token: str | None = None, **limits) -> str:
        app = create_app(index or SearchIndex(built), AccessToken(token), Limits(**{"rate": 10**6, **limits}))
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
