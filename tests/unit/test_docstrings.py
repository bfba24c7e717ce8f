"""Examples in docstrings run as they stand, and docstrings describe parameters that exist."""

from __future__ import annotations

import ast
import doctest
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gallery import Gallery

ENTRY_POINTS = (
    Gallery.open,
    Gallery.enroll,
    Gallery.enroll_folder,
    Gallery.query,
    Gallery.query_all,
    Gallery.compare,
    Gallery.identities,
    Gallery.merge,
    Gallery.forget,
    Gallery.dedupe_folder,
)
ROOT = Path(__file__).parents[2]
MODULES = [*ROOT.glob("gallery/**/*.py"), *ROOT.glob("indexer/*.py")]
DESCRIBED = re.compile(r"(?:^|(?<=\.)|(?<=;)) *([a-z_]\w*(?:, [a-z_]\w*)*) : ", re.MULTILINE)
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
    (tmp_path / "people" / "Grace Hopper").mkdir(parents=True)
    shutil.copy(hopper, tmp_path / "people" / "Grace Hopper")
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


def known_names(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    """Parameters of a function; fields, methods, attributes and parameters of a class."""
    if isinstance(node, ast.ClassDef):
        inner = (n for n in ast.walk(node) if n is not node)
        names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        for child in inner:
            if isinstance(child, ast.AnnAssign | ast.Assign):
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                names |= {child.name} | known_names(child)
        return names
    return {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)} | {
        n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef)
    }


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_describe_names_that_exist(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        described = DESCRIBED.findall(ast.get_docstring(node) or "")
        names = {name for group in described for name in group.split(", ")}
        assert names <= known_names(node), f"{node.name}: {names - known_names(node)}"
