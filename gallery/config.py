"""Settings: from the caller, else from GALLERY_* environment variables, else these defaults."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gallery.errors import SettingInvalid

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_VIEWS = 10
Promise = Literal["face", "photo"]
Runtime = Literal["auto", "torch", "onnx", "openvino"]
Precision = Literal["float32", "bfloat16"]
DATABASE_FILE, INDEX_FILE, REENCODE_LOCK = "gallery.db", "faces.index", "reencode.lock"
"""In the home folder. The lock is held while the gallery is re-encoded, or its head replaced."""
ENCODINGS_FOLDER = "encodings"
"""In the cache folder: encodings of people's faces, that may be deleted at any time."""
NETWORKS_FOLDER = "networks"
"""In the cache folder: networks as the runtimes read them, made from their weights when missing."""


def default_home() -> Path:
    """The platform's data folder for this program, such as ~/.local/share/gallery."""
    return Path(platformdirs.user_data_dir("gallery", appauthor=False))


def default_cache() -> Path:
    """The platform's cache folder for this program, such as ~/.cache/gallery."""
    return Path(platformdirs.user_cache_dir("gallery", appauthor=False))


class Settings(BaseSettings):
    """Everything a user may set; each field is the environment variable GALLERY_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="GALLERY_", env_ignore_empty=True, extra="forbid", frozen=True
    )

    home: Path = Field(
        default_factory=default_home,
        description="Folder of the gallery. A new one can be read by its owner only.",
    )
    cache: Path = Field(
        default_factory=default_cache,
        description="Folder for converted weights and for the encodings of training folders.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="cpu",
        description="Where the networks run. `auto` uses a GPU if there is one.",
    )
    runtime: Runtime = Field(
        default="auto",
        description="What runs the networks. `auto`: onnxruntime (`onnx`) on the CPU, PyTorch"
        " (`torch`) on a GPU. `openvino` runs the encoder in OpenVINO, and needs `pip install"
        " 'face-gallery[fast]'`.",
    )
    precision: Precision = Field(
        default="float32",
        description="Of the encoder's arithmetic. `bfloat16` is quicker on processors that have it,"
        " and needs `GALLERY_RUNTIME=openvino`.",
    )
    threads: int = Field(
        default=0, ge=0, le=256, description="Threads for each network. 0: one for each core."
    )
    head: Path | None = Field(
        default=None,
        description="Head file to use instead of the gallery's own or the shipped one. It applies"
        " only if it was made for the encoder in use.",
    )
    encoder: str | None = Field(
        default=None,
        description="`mobilefacenet`, `dlib-resnet`, `facenet-vggface2` or `facenet-casia` (all but"
        " dlib's also with `:FILE`), or `onnx:FILE`. Default: the gallery's own; for a new gallery"
        " `mobilefacenet` if its weights were fetched, else `dlib-resnet`.",
    )
    keep: Literal["nothing", "chips", "photos"] = Field(
        default="nothing",
        description="What to keep of photos enrolled from now on, so that another encoder can"
        " encode them later.",
    )
    min_face: int = Field(
        default=40,
        ge=20,
        le=1000,
        description="Smallest usable face: its shorter side in pixels of the photo as it is.",
    )
    min_face_probability: float = Field(
        default=0.99,
        ge=0.5,
        le=1.0,
        description="Lowest usable detector probability of a face.",
    )
    max_photo_bytes: int = Field(
        default=256 * 2**20,
        ge=1,
        description="Largest photo file in bytes. Larger files are rejected unread.",
    )
    max_photo_pixels: int = Field(
        default=128_000_000,
        ge=1,
        le=178_000_000,
        description="Largest photo in pixels. Larger photos are rejected before decoding.",
    )
    max_faces: int = Field(
        default=300,
        ge=1,
        le=10_000,
        description="Most faces in a photo. Photos with more are rejected before encoding.",
    )
    working_side: int = Field(
        default=2048,
        ge=256,
        le=8192,
        description="Photos are shrunk to this longer side, in pixels, to find large faces. Small"
        " ones are found at full size.",
    )
    photo_seconds: float = Field(
        default=300.0,
        gt=0.0,
        le=86_400.0,
        description="Longest time for one photo, in seconds, when several photos or a server's are"
        " read in processes of their own. A photo that takes longer is skipped.",
    )
    worker_memory: int = Field(
        default=6 * 2**30,
        ge=2 * 2**30,
        description="Largest memory in bytes of each process that reads several photos or a"
        " server's. A photo that needs more is skipped. On Linux only.",
    )
    views_enrolled: int | None = Field(
        default=None,
        ge=2,
        le=MAX_VIEWS,
        description="Views averaged for an enrolled face. 2: the face and its mirror image."
        " Default: as many as pay for the encoder: 2 with mobilefacenet, otherwise 10.",
    )
    views_query: int | None = Field(
        default=None,
        ge=2,
        le=MAX_VIEWS,
        description="Views averaged for a query face. Default: 2.",
    )
    false_positive_identification_rate: float = Field(
        default=0.01,
        ge=1e-6,
        le=0.5,
        description="The stated rate: about this share of strangers match somebody (FPIR).",
    )
    promise: Promise = Field(
        default="face",
        description="What the stated rate is for when all faces of a photo are asked about: `face`,"
        " each stranger's; `photo`, each photo in which all are strangers.",
    )
    candidates: int = Field(
        default=10, ge=2, le=1000, description="Nearest identities that the head judges per query."
    )
    max_request_bytes: int = Field(
        default=32 * 2**20,
        ge=1024,
        description="Largest HTTP request in bytes. Larger ones are rejected.",
    )
    host: str = Field(default="127.0.0.1", description="Address that `serve` listens on.")
    port: int = Field(default=8000, ge=1, le=65_535, description="Port that `serve` listens on.")
    root_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9_.~-]+)*$",
        description="Path that a proxy serves `serve` below, such as `/faces`.",
    )
    workers: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Photos that `serve` reads at once, each in a process of its own.",
    )
    api_queue: int = Field(
        default=64,
        ge=0,
        le=10_000,
        description="Requests that may wait. Further ones get 503; far more, or more than sixteen"
        " of the largest size at once, are not read at all.",
    )
    api_seconds: float = Field(
        default=60.0,
        gt=0.0,
        le=3600.0,
        description="Timeout of a request in seconds: 503 while processing, 408 while uploading.",
    )
    thumbnails: bool = Field(
        default=False,
        description="Keep a small picture (160 pixels) of each face enrolled from now on. It is"
        " erased with the face.",
    )
    audit_days: int = Field(
        default=90, ge=1, le=36_500, description="Days that entries stay in the audit trail."
    )
    key_file: Path | None = Field(
        default=None,
        description="File of 64 hexadecimal digits, the key that encrypts the database"
        " (SQLCipher).",
    )
    busy_timeout: float = Field(
        default=30.0,
        ge=0.0,
        le=3600.0,
        description="Seconds to wait while another process writes to the database.",
    )


_EXPECTED = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
}
"""What each kind of validation error expected, by pydantic's name for it."""


def load_settings(**given: object) -> Settings:
    """Settings with the given fields over the environment; None means "not given".

    Raises SettingInvalid naming the setting, its value and its limits.
    """
    try:
        return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingInvalid("; ".join(map(_problem, error.errors()))) from error


def _problem(error: ErrorDetails) -> str:
    """Say what is wrong with one setting, and what was expected."""
    name, context = ".".join(map(str, error["loc"])), error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        similar = get_close_matches(name.lower(), Settings.model_fields, n=1)
        hint = f"did you mean {similar[0]}?" if similar else "`gallery guide settings` lists them"
        return f"there is no setting {name}; {hint}"
    expected = _EXPECTED.get(error["type"], "").format_map(context)
    if not expected:
        reason = error["msg"]
        return f"GALLERY_{name.upper()} is {error['input']}: {reason[:1].lower()}{reason[1:]}"
    return f"GALLERY_{name.upper()} is {error['input']}, expected {expected}"
