"""Settings: from the caller, else from GALLERY_* environment variables, else these defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gallery.errors import SettingInvalid

MAX_VIEWS = 10
ENCODINGS_FOLDER = "encodings"
"""In the cache folder: encodings of people's faces, that may be deleted at any time."""


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

    home: Path = Field(default_factory=default_home, description="Folder of the gallery.")
    cache: Path = Field(default_factory=default_cache, description="Folder of converted weights.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="cpu", description="Where the networks run; auto takes a GPU when there is one."
    )
    threads: int = Field(
        default=0, ge=0, le=256, description="Threads of the networks; 0 leaves it to torch."
    )
    head: Path | None = Field(
        default=None, description="A head file to use instead of the home's or the shipped one."
    )
    encoder: str | None = Field(
        default=None,
        description="NAME or NAME:FILE; else the gallery's own, of a new one dlib-resnet.",
    )
    keep: Literal["nothing", "chips", "photos"] = Field(
        default="nothing",
        description="What is kept of photos enrolled from now on, to encode them again.",
    )
    min_face: int = Field(
        default=40,
        ge=20,
        le=1000,
        description="Faces with a shorter side, in pixels after shrinking, are not used.",
    )
    min_face_probability: float = Field(
        default=0.99,
        ge=0.5,
        le=1.0,
        description="Detections the detector is less sure of are not used.",
    )
    max_photo_bytes: int = Field(
        default=256 * 2**20, ge=1, description="Larger files are refused unread."
    )
    max_photo_pixels: int = Field(
        default=128_000_000,
        ge=1,
        le=178_000_000,
        description="Larger photos are refused undecoded.",
    )
    max_faces: int = Field(
        default=300, ge=1, le=10_000, description="Photos of more faces are refused unencoded."
    )
    working_side: int = Field(
        default=2048,
        ge=256,
        le=8192,
        description="Photos are shrunk to this longer side, in pixels.",
    )
    views_enrolled: int = Field(
        default=10,
        ge=2,
        le=MAX_VIEWS,
        description="Views averaged for an enrolled face; 2: mirrored.",
    )
    views_query: int = Field(
        default=2, ge=2, le=MAX_VIEWS, description="Views averaged for a query's face."
    )
    false_positive_identification_rate: float = Field(
        default=0.01,
        ge=1e-6,
        le=0.5,
        description="The share of strangers who may be given a match; the product's promise.",
    )
    candidates: int = Field(
        default=10, ge=2, le=1000, description="Nearest identities the head judges for each query."
    )
    max_request_bytes: int = Field(
        default=32 * 2**20, ge=1024, description="Larger HTTP requests are refused."
    )
    host: str = Field(default="127.0.0.1", description="The address that `serve` listens on.")
    port: int = Field(default=8000, ge=1, le=65_535, description="The port it listens on.")
    workers: int = Field(
        default=2, ge=1, le=64, description="Photos that `serve` works on at once."
    )
    api_queue: int = Field(
        default=64, ge=0, le=10_000, description="Requests that may wait; more are answered 503."
    )
    api_seconds: float = Field(
        default=60.0, gt=0.0, le=3600.0, description="A request that takes longer is answered 503."
    )
    thumbnails: bool = Field(
        default=False, description="Keep a small picture of each face enrolled from now on."
    )
    audit_days: int = Field(
        default=90, ge=1, le=36_500, description="Entries of the audit trail are dropped after."
    )
    key_file: Path | None = Field(
        default=None, description="A file of 64 hex digits; the database is encrypted with them."
    )
    busy_timeout: float = Field(
        default=30.0, ge=0.0, le=3600.0, description="Seconds to wait for another process's write."
    )


def load_settings(**given: object) -> Settings:
    """Settings with the given fields over the environment; None means "not given".

    Raises SettingInvalid naming the setting, its value and its limits.
    """
    try:
        return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"GALLERY_{'.'.join(str(p) for p in e['loc']).upper()} = {e['input']!r}: {e['msg']}"
            for e in error.errors()
        )
        raise SettingInvalid(f"setting {problems}") from error
