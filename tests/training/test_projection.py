"""Projections to 128 numbers: learning, choosing, storing, refusing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gallery.encoders.projection import Projection, padded
from gallery.errors import HeadUnusable
from gallery.matching.head import (
    head_network_sha256,
    load_head,
    load_projection,
    strip_to_projection,
)
from gallery.training.encode import EncodedPeople
from gallery.training.projection import (
    KINDS,
    choose_projection,
    found_by_cosine,
    principal_components,
    projected,
    supervised,
)
from gallery.types import DIMENSION, Encodings, Float32
from tests.matching.heads import ENCODER, SHA256, make_head

NETWORK = "cd" * 32


def made_people(dimension: int = 300, own: int = 40, people: int = 300, seed: int = 0):
    """People who differ in `own` directions, with larger noise in other directions."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(people), 3)
    centres = np.zeros((people, dimension))
    centres[:, :own] = rng.normal(size=(people, own))
    noise = 0.25 * rng.normal(size=(len(owners), dimension))
    noise[:, own : 5 * own] *= 3.0
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(dimension, dimension)))[0]
    sides = []
    for _ in range(2):
        rows = (centres[owners] + noise + 0.05 * rng.normal(size=noise.shape)) @ turn
        norms = np.linalg.norm(rows, axis=1)
        vectors = (rows / norms[:, None]).astype(np.float32)
        sides.append(Encodings(vectors, norms.astype(np.float32), np.ones(len(rows), np.float32)))
    names = tuple(f"person {i}" for i in range(people))
    files = tuple(str(i) for i in range(len(owners)))
    return EncodedPeople(sides[0], sides[1], owners, names, files, files, (), None)


def test_supervised_projection_keeps_the_directions_people_differ_in() -> None:
    train, test = made_people(seed=0), made_people(seed=1)
    native = found_by_cosine(test, 0)
    shares = {
        kind: found_by_cosine(projected(test, learn(train, NETWORK)), 0)
        for kind, learn in KINDS.items()
    }
    assert shares["supervised"] > max(native, shares["pca"]) + 0.1
    chosen = choose_projection(train, NETWORK, 0)
    assert chosen.kind == "supervised"
    assert set(chosen.found_by_kind) == {
        "native",
        "pca",
        "supervised",
    }
    again = choose_projection(train, NETWORK, 0)
    assert again.projection.sha256 == chosen.projection.sha256
    assert chosen.projection.network_sha256 == NETWORK


@pytest.mark.parametrize("learn", [principal_components, supervised])
def test_eight_people_give_a_projection_of_full_rank(learn) -> None:
    projection = learn(made_people(people=8), NETWORK)
    assert np.linalg.matrix_rank(projection.matrix) == DIMENSION


def test_principal_components_of_128_directions_lose_nothing() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(400, DIMENSION)) @ rng.normal(size=(DIMENSION, 300))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    ones = np.ones(400, np.float32)
    encodings = Encodings(rows, ones, ones)
    names = tuple(map(str, range(400)))
    people = EncodedPeople(encodings, encodings, np.arange(400), names, names, names, (), None)
    after = principal_components(people, NETWORK).apply(encodings).vectors
    np.testing.assert_allclose(after @ after.T, rows @ rows.T, atol=1e-4)


def test_padding_changes_no_inner_product() -> None:
    rows = np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32)
    ones = np.ones(5, np.float32)
    after = padded(Encodings(rows, ones, ones)).vectors
    assert after.shape == (5, DIMENSION)
    np.testing.assert_array_equal(after @ after.T, rows @ rows.T)


def test_projection_is_stored_with_its_head(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    matrix: Float32 = rng.normal(size=(200, DIMENSION)).astype(np.float32)
    projection = Projection(matrix, NETWORK)
    head, file = make_head(), tmp_path / "head.safetensors"
    head.with_projection(projection).save(file)
    loaded = load_head(file, ENCODER, SHA256)
    assert loaded.sha256 == head.sha256
    assert loaded.projection is not None and loaded.projection.sha256 == projection.sha256
    assert load_projection(file, NETWORK, "onnx:m").sha256 == projection.sha256
    with pytest.raises(HeadUnusable, match="train-head --encoder onnx:m PEOPLE_FOLDER"):
        load_projection(file, "ef" * 32, "onnx:m")
    head.save(file)
    with pytest.raises(HeadUnusable, match="no projection"):
        load_projection(file, NETWORK, "onnx:m")


def test_projection_of_another_dtype_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "head.safetensors"
    make_head().with_projection(Projection(np.eye(200, DIMENSION, dtype=np.float32), NETWORK)).save(
        file
    )
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    state = load_file(file)
    for dtype, name in ((torch.bfloat16, "BF16"), (torch.float64, "F64")):
        changed = {**state, "projection.matrix": state["projection.matrix"].to(dtype)}
        save_file(changed, file, metadata)
        with pytest.raises(HeadUnusable, match=f"projection.matrix is {name}, not F32"):
            load_projection(file, NETWORK, "onnx:m")
        with pytest.raises(HeadUnusable, match=f"projection.matrix is {name}, not F32"):
            load_head(file, ENCODER, SHA256)


@pytest.mark.parametrize("shape", [(200, 64), (DIMENSION,)])
def test_projection_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Projection(np.zeros(shape, np.float32), NETWORK)


def test_projection_of_a_head_of_an_earlier_form_is_kept(tmp_path: Path) -> None:
    """Its calibration is of no use, but enrolled encodings need its projection."""
    matrix = np.linalg.qr(np.random.default_rng(0).normal(size=(256, 128)))[0].astype(np.float32)
    projection = Projection(matrix, NETWORK)
    file = tmp_path / "head.safetensors"
    make_head().with_projection(projection).save(file)
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() | {"form": "pairwise-head-2"}
    save_file(load_file(file), file, metadata)
    with pytest.raises(HeadUnusable, match="trained by an earlier version"):
        load_head(file, ENCODER, SHA256)
    assert head_network_sha256(file) == NETWORK
    strip_to_projection(file)
    assert load_projection(file, NETWORK, "onnx:m").sha256 == projection.sha256
