"""The examples in docstrings run as they stand."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gallery import Gallery

ENTRY_POINTS = (
    Gallery.open,
    Gallery.enroll,
    Gallery.query,
    Gallery.query_all,
    Gallery.compare,
    Gallery.identities,
    Gallery.merge,
    Gallery.forget,
    Gallery.dedupe_folder,
)
ENROLLED_FIRST = {"query", "query_all", "identities", "merge", "forget"}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS, ids=lambda entry_point: entry_point.__name__)
def test_example_of_an_entry_point(
    entry_point: Callable[..., object],
    gallery: Gallery,
    cache: Path,
    tmp_path: Path,
    hopper: Path,
    collins: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = entry_point.__name__
    shutil.copy(hopper, tmp_path / "grace.jpg")
    Image.open(hopper).save(tmp_path / "unknown.jpg", quality=80)
    (tmp_path / "photos").mkdir()
    for photo in ("grace.jpg", "unknown.jpg"):
        shutil.copy(tmp_path / photo, tmp_path / "photos" / photo)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALLERY_CACHE", str(cache))
    if name in ENROLLED_FIRST:
        gallery.enroll("Grace Hopper", "grace.jpg")
    if name == "merge":
        gallery.enroll("G. Hopper", collins)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        entry_point, name, globs={"Gallery": Gallery, "gallery": gallery, "Path": Path}
    )
    assert example.examples, f"{name} has no example"
    output: list[str] = []
    result = doctest.DocTestRunner().run(example, out=output.append)
    assert result.failed == 0, "".join(output)
