"""What the tests share: photos that are always there, and the costly networks once a session."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import settings
from matplotlib.cbook import get_sample_data
from PIL import Image

from gallery.config import DATABASE_FILE
from gallery.encoders.weights import DLIB_RESNET
from gallery.gallery import Gallery
from gallery.store import faces, identities
from gallery.store.database import Database
from gallery.store.records import NewFace
from gallery.types import DIMENSION, Box, Encodings, Face, Photo
from gallery.vision.pipeline import FacePipeline
from tests.people import encodings, rows_of

settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")

SHARED_FACES = Path(__file__).resolve().parents[2] / "shared" / "faces"
SKIMAGE_DATA = Path(skimage.__file__).parent / "data"

UnitRows = Callable[[int, int], Encodings]
AddFace = Callable[..., int]
SmallDisk = Callable[[int], AbstractContextManager[None]]


_BY_FOLDER = {
    "faults": "faults",
    "page": "browser",
    "golden": "networks",
    "cli": "networks",
    "api": "server",
}
_BY_FIXTURE = {
    "serve": "server",
    "pipeline": "networks",
    "hopper": "networks",
    "collins": "networks",
    "shared_faces": "networks",
}
_BY_FILE = {"test_encoders": "networks", "test_weights": "networks"}
_LIGHT = {"test_photo", "test_documentation", "test_problem_types"}
"""Files that only seem to need networks, by their folder or by the photos that they read."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need, and start with the slowest."""
    for item in items:
        path = item.path
        marks = {_BY_FOLDER.get(folder) for folder in path.parts} | {_BY_FILE.get(path.stem)}
        marks |= {_BY_FIXTURE.get(name) for name in getattr(item, "fixturenames", ())}
        for mark in marks - {None}:
            if path.stem not in _LIGHT:
                item.add_marker(mark)
    items.sort(key=lambda item: ("faults" not in item.path.parts, "page" not in item.path.parts))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """The caller's GALLERY_* variables change nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("GALLERY_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def hopper() -> Path:
    """One person, JPEG, 512 x 600."""
    return Path(get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="session")
def collins() -> Path:
    """Another person, PNG, 512 x 512."""
    return SKIMAGE_DATA / "astronaut.png"


@pytest.fixture
def together(tmp_path: Path, hopper: Path, collins: Path) -> Path:
    """Two people in one photo."""
    pair = [Image.open(path).convert("RGB").resize((512, 560)) for path in (hopper, collins)]
    path = tmp_path / "together.png"
    Image.fromarray(np.concatenate([np.asarray(image) for image in pair], axis=1)).save(path)
    return path


@pytest.fixture(scope="session")
def no_one() -> list[Path]:
    """A cat, a cup of coffee and a rocket."""
    return [SKIMAGE_DATA / name for name in ("chelsea.png", "coffee.png", "rocket.jpg")]


@pytest.fixture(scope="session")
def shared_faces() -> Path:
    """The research photos beside the repository."""
    if not SHARED_FACES.is_dir():
        pytest.skip("the research photos are absent: no folder ../shared/faces")
    return SHARED_FACES


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted weights, made once a session."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> FacePipeline:
    """The networks, as every gallery has them."""
    with Gallery.open(tmp_path_factory.mktemp("pipeline"), cache=cache, threads=1) as opened:
        return opened.pipeline


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A new database's file; copying it is quicker than creating one."""
    file = tmp_path_factory.mktemp("database") / DATABASE_FILE
    Database(file, busy_timeout=5.0).close()
    return file.read_bytes()


@pytest.fixture
def gallery(tmp_path: Path, cache: Path, empty_database: bytes) -> Iterator[Gallery]:
    """An empty gallery of its own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / DATABASE_FILE).touch(mode=0o600)
    (home / DATABASE_FILE).write_bytes(empty_database)
    with Gallery.open(tmp_path / "home", cache=cache, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def unit_rows() -> UnitRows:
    """Random encodings: unit_rows(count, seed)."""

    def make(count: int, seed: int) -> Encodings:
        rows = np.random.default_rng(seed).normal(size=(count, DIMENSION))
        norms = np.linalg.norm(rows, axis=1)
        agreement = np.full(count, 0.997, np.float32)
        return Encodings(
            (rows / norms[:, None]).astype(np.float32), norms.astype(np.float32) / 8, agreement
        )

    return make


@pytest.fixture
def database(tmp_path: Path, empty_database: bytes) -> Iterator[Database]:
    """A new database of its own, tmp_path / "gallery.db"."""
    (tmp_path / DATABASE_FILE).write_bytes(empty_database)
    opened = Database(tmp_path / "gallery.db", busy_timeout=5.0)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def add_face() -> AddFace:
    """Store one face without any photo: add_face(database, name, encodings, photo_number)."""

    def add(database: Database, name: str, encodings: Encodings, photo_number: int) -> int:
        sha256 = hashlib.sha256(str(photo_number).encode()).hexdigest()
        source = f"photos/{photo_number}.jpg"
        photo = Photo(np.zeros((1, 1, 3), np.uint8), 1.0, 640, 480, sha256, source)
        face = Face(Box(1.5, 2.0, 101.25, 120.0), np.ones((5, 2), np.float32), 0.999, 50.0)
        with database.writing() as session:
            encoder = faces.encoder_id(session, DLIB_RESNET.name, DLIB_RESNET.sha256)
            record = identities.find(session, name)
            identity_id = identities.add(session, name) if record is None else record.id
            return faces.add(session, identity_id, photo, NewFace(face, encodings, 2), encoder)

    return add


@pytest.fixture(scope="session")
def small_disk() -> SmallDisk:
    """In a `with small_disk(n)` block, a file that would grow beyond n bytes is an OSError."""

    @contextmanager
    def limited(largest: int) -> Iterator[None]:
        before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))

    return limited


@pytest.fixture(scope="session")
def make_unlistable() -> Callable[[Path], Path]:
    """make_unlistable(folder): in it, folders so deep that the system refuses the last one's path.

    Returns the last one. Also root cannot list it.
    """

    def make(folder: Path) -> Path:
        name = "d" * 200
        parent = os.open(folder, os.O_RDONLY)
        while len(os.fsencode(folder)) < 4_096:
            os.mkdir(name, dir_fd=parent)
            child = os.open(name, os.O_RDONLY, dir_fd=parent)
            os.close(parent)
            parent, folder = child, folder / name
        os.close(parent)
        return folder

    return make


@pytest.fixture
def peopled(gallery: Gallery, add_face: AddFace) -> Gallery:
    """Twelve people with three photos each."""
    rows = encodings(rows_of(12, 3, 1))
    for i in range(len(rows)):
        add_face(gallery.database, f"person {i // 3:02}", rows.row(i), i)
    return gallery
