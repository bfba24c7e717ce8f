"""A head scores pairs symmetrically, is saved and loaded unchanged, and refuses bad files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gallery.encoders.built_in import TRAITS
from gallery.encoders.protocol import Traits
from gallery.encoders.weights import DLIB_RESNET
from gallery.errors import HeadUnusable, InvalidEncoding
from gallery.matching.cohort import Cohort
from gallery.matching.head import DIFFERENT, SAME, Head, load_head
from gallery.matching.pair_features import FEATURES
from gallery.package_data import CARD_FILE, shipped_file
from gallery.types import Encodings, Float32
from tests.matching.heads import CALIBRATION, CURVE, ENCODER, SHA256, make_head
from tests.models import shipped_head


def logits(head: Head, a: Encodings, b: Encodings) -> Float32:
    return head.logits(head.sides(a), head.sides(b))


@pytest.fixture(params=["random", "shipped"])
def head(request: pytest.FixtureRequest) -> Head:
    if request.param == "random":
        return make_head()
    return shipped_head()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A saved head."""
    make_head().save(tmp_path / "head.safetensors")
    return tmp_path / "head.safetensors"


def test_logits_are_symmetric(head: Head, unit_rows) -> None:
    a, b = unit_rows(200, 2), unit_rows(200, 3)
    forward, backward = logits(head, a, b), logits(head, b, a)
    assert forward.dtype == np.float32 and forward.shape == (200, 2)
    assert np.isfinite(forward).all() and forward.tobytes() == backward.tobytes()


def test_logits_are_deterministic(head: Head, unit_rows) -> None:  # dropout is off
    a, b = unit_rows(50, 4), unit_rows(50, 5)
    assert logits(head, a, b).tobytes() == logits(head, a, b).tobytes()


def test_logits_do_not_depend_on_the_batch(head: Head, unit_rows) -> None:
    a, b = unit_rows(40, 6), unit_rows(40, 7)
    batched = logits(head, a, b)
    alone = np.concatenate([logits(head, a.row(i), b.row(i)) for i in range(40)])
    np.testing.assert_allclose(batched, alone, rtol=1e-5, atol=1e-4)


def test_more_pairs_than_a_batch(unit_rows) -> None:
    head, few = make_head(("cosine",)), unit_rows(7, 8)
    rows = np.arange(70_000) % 7
    many = logits(head, few.take(rows), few.take(rows[::-1].copy()))
    assert many.shape == (70_000, 2)
    pairs = logits(head, few.take(rows[-49:]), few.take(rows[::-1][-49:].copy()))
    np.testing.assert_allclose(many[-49:], pairs, atol=1e-5)


def test_no_pairs_have_no_logits(head: Head, unit_rows) -> None:
    assert logits(head, unit_rows(0, 9), unit_rows(0, 9)).shape == (0, 2)


def test_shipped_head_separates_same_from_different(unit_rows) -> None:
    shipped = shipped_head()
    a, b = unit_rows(1, 10), unit_rows(1, 11)
    (same,), (different,) = logits(shipped, a, a), logits(shipped, a, b)
    assert same[SAME] > same[DIFFERENT] and different[DIFFERENT] > different[SAME]
    assert shipped.metadata.encoder == DLIB_RESNET.name
    curve = shipped.metadata.calibration.strangers
    assert curve.margin_at(0.01) < curve.margin_at(1e-5) < 100.0


@pytest.mark.parametrize("traits", TRAITS.values(), ids=TRAITS)
def test_shipped_head_is_the_one_on_its_model_card(traits: Traits) -> None:
    """Galleries store its hash with their calibrations."""
    card = json.loads(shipped_file(f"{traits.name}/{CARD_FILE}").read_text())
    assert shipped_head(traits).sha256 == card["head_sha256"]


def test_judging_loads_neither_torch_nor_scipy() -> None:
    """They take seconds to import, which a query would wait for."""
    code = """
import sys
import numpy as np
import gallery.matching.assignment, gallery.matching.scorer
from gallery.encoders.built_in import DLIB_TRAITS
from gallery.matching.head import load_head
from gallery.package_data import HEAD_FILE, shipped_file
from gallery.types import DIMENSION, Encodings

file = shipped_file(f"{DLIB_TRAITS.name}/{HEAD_FILE}")
head = load_head(file, DLIB_TRAITS.name, DLIB_TRAITS.sha256)
ones = np.ones(1, np.float32)
sides = head.sides(Encodings(np.eye(1, DIMENSION, dtype=np.float32), ones, ones))
assert np.isfinite(head.margins(sides, sides)).all()
assert not {"torch", "scipy", "sklearn"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("features", [FEATURES, ("cosine",), ("product", "absolute_difference")])
def test_saved_head_is_loaded_unchanged(
    tmp_path: Path, unit_rows, features: tuple[str, ...]
) -> None:
    head, file = make_head(features, hidden=5), tmp_path / "head.safetensors"
    head.save(file)
    loaded = load_head(file, ENCODER, SHA256)
    a, b = unit_rows(30, 12), unit_rows(30, 13)
    assert logits(head, a, b).tobytes() == logits(loaded, a, b).tobytes()
    assert (loaded.metadata.encoder, loaded.metadata.encoder_sha256) == (ENCODER, SHA256)
    assert (loaded.metadata.features, loaded.metadata.hidden) == (features, 5)
    assert loaded.metadata.calibration.as_json() == CALIBRATION.as_json()
    assert loaded.sha256 == head.sha256 != make_head(features, hidden=5, seed=2).sha256
    assert [f.name for f in tmp_path.iterdir()] == ["head.safetensors"]


def test_failed_save_leaves_the_old_head(file: Path, small_disk) -> None:
    before = file.read_bytes()
    with small_disk(1024), pytest.raises(OSError):
        make_head(seed=2).save(file)
    assert file.read_bytes() == before and [f.name for f in file.parent.iterdir()] == [file.name]
    with pytest.raises(OSError):
        make_head().save(file.parent / "nowhere" / "head.safetensors")


@pytest.mark.parametrize(("encoder", "sha256"), [("another", SHA256), (ENCODER, "cd" * 32)])
def test_head_of_another_encoder_is_refused(file: Path, encoder: str, sha256: str) -> None:
    with pytest.raises(HeadUnusable, match=f"{ENCODER}.*train-head"):
        load_head(file, encoder, sha256)


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"not a head", id="text"),
        pytest.param(lambda content: bytes(1000), id="zeros"),
        pytest.param(lambda content: b"\xff" * 1000, id="ones"),
        pytest.param(lambda content: content[:4], id="truncated length"),
        pytest.param(lambda content: content[:100], id="truncated header"),
        pytest.param(lambda content: content[: len(content) // 2], id="truncated to half"),
        pytest.param(lambda content: content[:-1], id="truncated by a byte"),
        pytest.param(lambda content: content + b"\0", id="extra byte"),
        pytest.param(
            lambda content: content.replace(b"dense.bias", b"dense.bios"), id="altered tensor name"
        ),
        pytest.param(lambda content: content.replace(b'"F32"', b'"F99"', 1), id="altered dtype"),
    ],
)
def test_damaged_file_is_refused(file: Path, altered: Callable[[bytes], bytes]) -> None:
    file.write_bytes(altered(file.read_bytes()))
    with pytest.raises(HeadUnusable, match=f"{file.name}.*train-head"):
        load_head(file, ENCODER, SHA256)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "head.safetensors", tmp_path / "no" / "head.safetensors", tmp_path):
        with pytest.raises(HeadUnusable, match=f"{path.name}.*train-head"):
            load_head(path, ENCODER, SHA256)


def rewrite(file: Path, metadata: dict[str, str | None], state: dict[str, Float32 | None]) -> None:
    """Replace metadata and weights of a saved head; None removes an entry."""
    with safe_open(file, framework="np") as opened:
        metadata = {**opened.metadata(), **metadata}
    weights = {**load_file(file), **state}
    save_file(
        {name: value for name, value in weights.items() if value is not None},
        file,
        {name: value for name, value in metadata.items() if value is not None},
    )


def _calibration(**changes: object) -> str:
    return json.dumps({**CALIBRATION.as_json(), **changes})


def _curve(**changes: object) -> str:
    return _calibration(strangers={**CURVE.as_json(), **changes})


@pytest.mark.parametrize(
    "metadata",
    [
        {"form": None},
        {"form": "pairwise-head-1"},
        {"encoder": None},
        {"encoder_sha256": ""},
        {"features": None},
        {"features": "cosine"},
        {"features": "[]"},
        {"features": "7"},
        {"features": '["cosine", "smile"]'},
        {"features": '["cosine"]'},
        {"hidden": None},
        {"hidden": "many"},
        {"hidden": "0"},
        {"hidden": "-8"},
        {"hidden": "9"},
        {"calibration": None},
        {"calibration": "{"},
        {"calibration": "[]"},
        {"calibration": "null"},
        {"calibration": _calibration(known=[[1.0]])},
        {"calibration": _calibration(crowding=1.5)},
        {"calibration": _calibration(crowding="x")},
        {"calibration": _calibration(sureness=[1.0, float("nan"), 0.0, 0.0])},
        {"calibration": _calibration(preference=-1.0)},
        {"calibration": _curve(margins=[1.0, 0.0, -1.0])},
        {"calibration": _curve(log10_rates=[-1.0])},
        {"calibration": _curve(tail="x")},
    ],
    ids=lambda metadata: " ".join(f"{k}={v}" for k, v in metadata.items())[:40],
)
def test_invalid_metadata_is_refused(file: Path, metadata: dict[str, str | None]) -> None:
    rewrite(file, metadata, {})
    with pytest.raises(HeadUnusable, match=file.name):
        load_head(file, ENCODER, SHA256)


def test_missing_metadata_is_refused(file: Path) -> None:
    save_file(load_file(file), file)
    with pytest.raises(HeadUnusable, match="form None"):
        load_head(file, ENCODER, SHA256)


WIDTH = 264


@pytest.mark.parametrize(
    "state",
    [
        pytest.param({"network.0.dense.bias": None}, id="missing bias"),
        pytest.param({"cohort.centres": None}, id="missing cohort"),
        pytest.param({"cohort.centres": np.zeros((3, 128), np.float32)}, id="cohort of three"),
        pytest.param({"more": np.zeros(3, np.float32)}, id="extra tensor"),
        pytest.param({"network.3.out.bias": np.zeros(2, np.float32)}, id="no network 2 before 3"),
        pytest.param({"network.0.out.bias": np.zeros(2)}, id="float64"),
        pytest.param({"network.0.out.weight": np.zeros((3, 8), np.float32)}, id="three outputs"),
        pytest.param({"network.0.dense.bias": np.full(8, np.nan, np.float32)}, id="NaN"),
        pytest.param({"network.1.out.bias": np.full(2, np.inf, np.float32)}, id="infinity"),
        pytest.param({"network.0.scale": np.zeros(WIDTH, np.float32)}, id="zero scale"),
    ],
)
def test_invalid_weights_are_refused(file: Path, state: dict[str, Float32 | None]) -> None:
    rewrite(file, {}, state)
    with pytest.raises(HeadUnusable, match=file.name):
        load_head(file, ENCODER, SHA256)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_encoding_that_is_not_finite_is_refused(head: Head, unit_rows, bad: float) -> None:
    rows = unit_rows(3, 14)
    rows.vectors[1, 5] = bad
    with pytest.raises(InvalidEncoding, match="encoding 1"):
        head.sides(rows)


def test_cohort_statistics_are_of_the_nearest_centres(unit_rows) -> None:
    centres = unit_rows(40, 15).vectors
    rows = unit_rows(6, 16)
    nearest = -np.sort(-(rows.vectors @ centres.T), axis=1)[:, :20]
    statistics = Cohort(centres).statistics(rows.vectors)
    np.testing.assert_allclose(statistics[:, 0], nearest.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(statistics[:, 1], nearest.std(axis=1, ddof=1), atol=1e-6)
