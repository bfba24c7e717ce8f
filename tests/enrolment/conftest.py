"""A folder of people, one of whose photos is misfiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gallery.demo.photos import alterations, altered


@pytest.fixture
def people(tmp_path: Path, hopper: Path, collins: Path) -> Path:
    """Bob/ with three photos of Hopper and one of Collins, Cat/ with three of Collins."""
    root = tmp_path / "people"
    for name in ("Bob", "Cat"):
        (root / name / "2024").mkdir(parents=True)
    for i, alteration in enumerate(alterations()[:3]):
        (root / "Bob" / f"{i}.jpg").write_bytes(altered(hopper, alteration))
        (root / "Cat" / "2024" / f"{i}.jpg").write_bytes(altered(collins, alteration))
    shutil.copy(collins, root / "Bob" / "stray.png")
    return root
