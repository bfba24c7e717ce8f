"""Every engine, and an empty index of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from indexer import VectorIndex
from tests.contract.rows import TOLERANCE, empty


@pytest.fixture(params=sorted(TOLERANCE))
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def index(engine: str) -> Iterator[VectorIndex]:
    opened = empty(engine)
    yield opened
    opened.close()
