"""Encoders by name and by file: same chips, same numbers, or a clear reason why not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from onnx import TensorProto

from gallery.encoders.download import UNIFACE_MODELS, fetch
from gallery.encoders.encoder import Encoder, encoder_sha256
from gallery.encoders.facenet import PUBLISHED, facenet_network
from gallery.encoders.facenet import fetch as fetch_facenet
from gallery.encoders.onnx import OnnxNetwork
from gallery.encoders.projection import Projection
from gallery.encoders.registry import read_spec
from gallery.errors import InvalidEncoding, SettingInvalid, WeightsMissing, WeightsUnreadable
from gallery.types import DIMENSION, UInt8
from gallery.vision.detection import VIEWS, align
from gallery.vision.pipeline import FacePipeline
from tests.machines import on_cpu
from tests.models import ARCFACE_RECIPE, export_dlib, write_model

AGREEMENT = 1e-4


def random_chips(count: int, side: int = 112) -> UInt8:
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dlib_onnx(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return export_dlib(tmp_path_factory.mktemp("onnx") / "dlib.onnx", cache)


def test_default_encoder_in_onnx_agrees_with_torch(
    dlib_onnx: Path, pipeline: FacePipeline, hopper: Path
) -> None:
    network = OnnxNetwork(dlib_onnx, threads=1)
    photo = pipeline.open(hopper)
    (face,) = pipeline.faces(photo)
    chips = align(photo, face.landmarks, VIEWS, network.traits.template)
    np.testing.assert_array_equal(chips, align(photo, face.landmarks, VIEWS))
    difference = float(np.abs(network.raw(chips) - pipeline.encoder.raw(chips)).max())
    assert difference < AGREEMENT, f"the largest difference to torch is {difference:.2e}"
    assert network.traits.dimension == DIMENSION and network.traits.licence_weights == "CC0 1.0"
    ours, theirs = Encoder(network).encode(chips[None]), pipeline.encoder.encode(chips[None])
    assert np.abs(ours.vectors - theirs.vectors).max() < AGREEMENT


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (("n", 3, 112, 112), TensorProto.FLOAT),
        ((1, 3, 112, 112), TensorProto.FLOAT),
        ((4, 3, 112, 112), TensorProto.FLOAT),
        (("n", 3, "h", "w"), TensorProto.FLOAT),
        (("n", 112, 112, 3), TensorProto.FLOAT),
        ((1, 112, 112, 3), TensorProto.FLOAT16),
    ],
)
def test_input_shape_and_type_do_not_change_the_encoding(
    tmp_path: Path, shape: tuple[object, ...], dtype: int
) -> None:
    plain = OnnxNetwork(write_model(tmp_path / "plain.onnx", 70))
    other = OnnxNetwork(write_model(tmp_path / "other.onnx", 70, shape=shape, dtype=dtype))
    chips = random_chips(6)
    expected = plain.raw(chips)
    assert expected.shape == (6, 70) and expected.dtype == np.float32
    tolerance = 1e-5 if dtype == TensorProto.FLOAT else 5e-2
    np.testing.assert_allclose(other.raw(chips), expected, atol=tolerance)
    assert other.raw(chips[:0]).shape == (0, 70)


def test_channel_order_mean_and_scale_are_applied(tmp_path: Path) -> None:
    """The expected numbers are computed from the model's matrix."""
    bgr = OnnxNetwork(write_model(tmp_path / "bgr.onnx", 30))
    rgb_recipe = ARCFACE_RECIPE.replace("bgr", "rgb")
    rgb = OnnxNetwork(write_model(tmp_path / "rgb.onnx", 30, recipe=rgb_recipe))
    chips = random_chips(2)
    np.testing.assert_allclose(bgr.raw(chips), rgb.raw(chips[..., ::-1].copy()), atol=1e-5)
    matrix = np.random.default_rng(30).normal(size=(192, 30)).astype(np.float32) / 14
    pooled = (chips.astype(np.float64) - 127.5).reshape(2, 8, 14, 8, 14, 3).mean(axis=(2, 4)) / 128
    expected = pooled.transpose(0, 3, 1, 2).reshape(2, -1) @ matrix
    np.testing.assert_allclose(rgb.raw(chips), expected, atol=1e-4)


def test_uint8_input_takes_plain_pixels(tmp_path: Path) -> None:
    plain = ARCFACE_RECIPE.replace("127.5", "0").replace("0.0078125", "1")
    whole = write_model(tmp_path / "whole.onnx", 30, dtype=TensorProto.UINT8, recipe=plain)
    floats = write_model(tmp_path / "floats.onnx", 30, recipe=plain)
    chips = random_chips(2)
    np.testing.assert_allclose(
        OnnxNetwork(whole).raw(chips), OnnxNetwork(floats).raw(chips), rtol=1e-5
    )
    whole.with_suffix(".toml").write_text(ARCFACE_RECIPE)
    with pytest.raises(WeightsUnreadable, match="uint8"):
        OnnxNetwork(whole)


def test_encoding_is_found_among_several_outputs(tmp_path: Path) -> None:
    model = write_model(tmp_path / "two.onnx", 40, norm_first=True)
    assert OnnxNetwork(model).traits.dimension == 40
    model.with_suffix(".toml").write_text(ARCFACE_RECIPE + 'output = "nothing"\n')
    with pytest.raises(WeightsUnreadable, match="norm, encoding"):
        OnnxNetwork(model)


def test_sha256_covers_everything_an_encoding_depends_on(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", 40)
    toml = model.with_suffix(".toml")
    before = OnnxNetwork(model).traits.sha256
    toml.write_text(ARCFACE_RECIPE.replace("0.0078125", "128") + '# the same scale\nname = "x"\n')
    assert OnnxNetwork(model).traits.sha256 == before
    for old, new in (("127.5", "120"), ("bgr", "rgb"), ("0.0078125", "0.01"), ("arcface", "dlib")):
        text = ARCFACE_RECIPE.replace(old, new).replace("dlib-112", "dlib-150")
        toml.write_text(text)
        assert OnnxNetwork(model).traits.sha256 != before, new
    toml.write_text(ARCFACE_RECIPE)
    model.write_bytes(write_model(tmp_path / "n.onnx", 41).read_bytes())
    assert OnnxNetwork(model).traits.sha256 != before


def test_external_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    chips = random_chips(2)
    inside = OnnxNetwork(write_model(tmp_path / "a.onnx", 40))
    model = write_model(tmp_path / "b.onnx", 40, external="b.data")
    beside = OnnxNetwork(model)
    np.testing.assert_array_equal(beside.raw(chips), inside.raw(chips))
    weights = tmp_path / "b.data"
    weights.write_bytes(bytes(4) + weights.read_bytes()[4:])
    assert OnnxNetwork(model).traits.sha256 != beside.traits.sha256
    weights.unlink()
    with pytest.raises(WeightsMissing, match=r"b\.data"):
        OnnxNetwork(model)


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "sub/weights"])
def test_external_weights_elsewhere_are_refused(tmp_path: Path, place: str) -> None:
    model = write_model(tmp_path / "m.onnx", 40, external=place)
    with pytest.raises(WeightsUnreadable, match="right beside it"):
        OnnxNetwork(model)


def test_unusable_model_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", 40)
    whole = model.read_bytes()
    for content in (b"", b"not a model", whole[: len(whole) // 2], bytes(100)):
        model.write_bytes(content)
        with pytest.raises(WeightsUnreadable, match=r"m\.onnx"):
            OnnxNetwork(model)
    with pytest.raises(WeightsMissing, match="does not exist"):
        OnnxNetwork(tmp_path / "none.onnx")
    with pytest.raises(WeightsMissing, match="folder"):
        OnnxNetwork(tmp_path)
    wrong_size = ARCFACE_RECIPE.replace("112\n", "128\n", 1)
    with pytest.raises(WeightsUnreadable, match="takes chips 112 pixels"):
        OnnxNetwork(write_model(tmp_path / "s.onnx", 40, recipe=wrong_size))
    nothing = write_model(tmp_path / "o.onnx", 1)
    with pytest.raises(WeightsUnreadable, match="no output"):
        OnnxNetwork(nothing)


def test_model_that_cannot_batch_gets_one_chip_at_a_time(tmp_path: Path) -> None:
    chips = random_chips(6)
    plain = OnnxNetwork(write_model(tmp_path / "plain.onnx", 70))
    failing = OnnxNetwork(write_model(tmp_path / "failing.onnx", 70, batching="fails"))
    np.testing.assert_allclose(failing.raw(chips), plain.raw(chips), atol=1e-5)
    mixing = OnnxNetwork(write_model(tmp_path / "mixing.onnx", 70, batching="mixes"))
    np.testing.assert_array_equal(mixing.raw(chips)[:1], mixing.raw(chips[:1]))


def test_output_is_checked_when_the_model_is_opened(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="not finite for a blank chip"):
        OnnxNetwork(write_model(tmp_path / "nan.onnx", 40, nan_from=-10.0))
    assert OnnxNetwork(write_model(tmp_path / "most.onnx", 40, nan_from=0.0))
    with pytest.raises(WeightsUnreadable, match="not a tensor of numbers"):
        OnnxNetwork(write_model(tmp_path / "sequence.onnx", 40, sequence=True))


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 3, 20_000, 20_000), "20000 pixels wide, expected 16 to 1024"),
        (("n", 3, 112, 1_025), "1025 pixels wide"),
        ((1, 3, 8, 112), "8 pixels high"),
        ((100_000, 3, 112, 112), "100000 chips at a time, expected at most 64"),
    ],
)
def test_model_with_input_out_of_range_is_refused(
    tmp_path: Path, shape: tuple[object, ...], reason: str
) -> None:
    recipe = ARCFACE_RECIPE.replace("size = 112\n", "")
    with pytest.raises(WeightsUnreadable, match=reason):
        OnnxNetwork(write_model(tmp_path / "m.onnx", 40, shape=shape, recipe=recipe))


def test_facenet_weights_are_read_from_a_file(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        reference = InceptionResnetV1(classify=True, num_classes=11).eval()  # as published
    file = tmp_path / "weights.pt"
    torch.save(reference.state_dict(), file)
    network = facenet_network("facenet-vggface2", file, on_cpu(cache))
    assert network.traits.spec == f"facenet-vggface2:{file}" and network.traits.dimension == 512
    chips = random_chips(2, 160)
    reference.classify = False
    with torch.inference_mode():
        pixels = torch.from_numpy(chips).permute(0, 3, 1, 2).float()
        expected = reference((pixels - 127.5) / 128.0).numpy()
    np.testing.assert_allclose(network.raw(chips), expected, atol=1e-6)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name, published in PUBLISHED.items():
        with pytest.raises(WeightsMissing) as missing:  # and nothing is downloaded
            facenet_network(name, None, on_cpu(cache))
        assert published.file in str(missing.value) and "--weights FILE" in str(missing.value)
    assert not (tmp_path / "torch").exists()
    cached = PUBLISHED["facenet-casia"].cached_file
    cached.parent.mkdir(parents=True)
    cached.write_bytes(file.read_bytes())
    assert facenet_network("facenet-casia", None, on_cpu(cache)).traits.spec == "facenet-casia"


def test_wrong_facenet_weights_are_refused(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "weights.pt"
    state = InceptionResnetV1().state_dict()
    short = {key: value for key, value in state.items() if key != "last_linear.weight"}
    for content in (short, {"last_linear.weight": torch.zeros(3)}, [1, 2], {"a": 1}):
        torch.save(content, file)
        with pytest.raises(WeightsUnreadable, match=r"weights\.pt"):
            facenet_network("facenet-casia", file, on_cpu(cache))
    file.write_bytes(b"not weights")
    with pytest.raises(WeightsUnreadable, match=r"weights\.pt"):
        facenet_network("facenet-casia", file, on_cpu(cache))

    broken = {**state, "last_bn.bias": torch.full((512,), float("nan"))}
    torch.save(broken, file)
    with pytest.raises(WeightsUnreadable, match=r"not finite, in last_bn\.bias"):
        facenet_network("facenet-casia", file, on_cpu(cache))
    torch.save({1: torch.zeros(3)}, file)
    with pytest.raises(WeightsUnreadable, match="not a state dictionary"):
        facenet_network("facenet-casia", file, on_cpu(cache))


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_facenet_weights_are_refused(tmp_path: Path, cache: Path, zipped: bool) -> None:
    file = tmp_path / "weights.pt"
    torch.save({1: torch.arange(9.0)}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1_000):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[position] = rng.integers(0, 256)
        file.write_bytes(damaged)
        with pytest.raises(WeightsUnreadable, match=r"weights\.pt"):
            facenet_network("facenet-casia", file, on_cpu(cache))


def test_downloaded_weights_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded here, since the file exists."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = PUBLISHED["facenet-casia"].cached_file
    cached.parent.mkdir(parents=True)
    state = InceptionResnetV1(classify=True, num_classes=11).state_dict()
    short = {key: value for key, value in state.items() if key != "last_linear.weight"}
    for content in (short, {"a": torch.zeros(1)}, [1]):
        torch.save(content, cached)
        with pytest.raises(WeightsUnreadable, match="delete it and fetch it again"):
            fetch_facenet("facenet-casia")
    torch.save(state, cached)
    assert fetch_facenet("facenet-casia") == cached


def test_every_dimension_is_padded_or_projected_to_128(tmp_path: Path) -> None:
    small, large = (OnnxNetwork(write_model(tmp_path / f"{d}.onnx", d)) for d in (64, 512))
    views = random_chips(6).reshape(3, 2, 112, 112, 3)
    padded = Encoder(small).encode(views).vectors
    assert padded.shape == (3, DIMENSION) and not padded[:, 64:].any()
    np.testing.assert_allclose(np.linalg.norm(padded, axis=1), 1.0, atol=1e-6)
    with pytest.raises(InvalidEncoding, match="need a projection"):
        Encoder(large).encode(views)
    matrix = np.random.default_rng(1).normal(size=(512, DIMENSION)).astype(np.float32)
    projection, other = (Projection(m, large.traits.sha256) for m in (matrix, 2 * matrix))
    encoder = Encoder(large, projection)
    projected = encoder.encode(views)
    assert projected.vectors.shape == (3, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(projected.vectors, axis=1), 1.0, atol=1e-6)
    hashes = {encoder.weights_sha256, encoder_sha256(large.traits.sha256, other)}
    assert len(hashes | {large.traits.sha256}) == 3
    with pytest.raises(InvalidEncoding, match="512 numbers for a network of 64"):
        Encoder(small, projection)


def test_specs_are_parsed(tmp_path: Path) -> None:
    assert str(read_spec("DLIB-resnet")) == "dlib-resnet"
    assert str(read_spec("facenet-casia", Path("/w.pt"))) == "facenet-casia:/w.pt"
    assert read_spec("onnx:m.onnx").file == Path.cwd() / "m.onnx"
    for text, weights, reason in (
        ("arcface", None, "onnx:FILE"),
        ("m.onnx", None, "did you mean onnx:m.onnx"),
        ("onnx", None, "needs a file"),
        ("dlib-resnet", Path("w"), "omit --weights"),
        ("facenet-casia:a", Path("b"), "already names a file"),
        ("", None, "not known"),
    ):
        with pytest.raises(SettingInvalid, match=reason):
            read_spec(text, weights)


def test_fetch_without_uniface_names_the_extra(tmp_path: Path) -> None:
    if importlib.util.find_spec("uniface") is not None:
        pytest.skip("uniface is installed")
    for name in UNIFACE_MODELS:
        with pytest.raises(WeightsMissing, match=r"face-gallery\[uniface\]"):
            fetch(name, tmp_path)
