"""The TOML file beside an ONNX model: one key for each setting; everything else is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gallery.encoders.onnx_config import Recipe, recipe_beside
from gallery.encoders.template import ARCFACE_112, BUILT_IN, DLIB_150
from gallery.errors import WeightsMissing, WeightsUnreadable

POINTS = "[[38.3, 51.7], [73.5, 51.5], [56, 71.7], [41.5, 92.4], [70.7, 92.2]]"
COMPLETE = {
    "size": "112",
    "channel_order": '"rgb"',
    "mean": "127.5",
    "scale": "0.0078125",
    "template": '"arcface-112"',
}
OPTIONAL = {
    "range": "255",
    "layout": '"nhwc"',
    "output": '"embedding"',
    "name": '"Ada"',
    "licence": '"MIT"',
    "licence_code": '"Apache 2.0"',
    "accuracy": '"99 %"',
    "source": '"here"',
}


def written(tmp_path: Path, **changes: str | None) -> Path:
    lines = {**COMPLETE, **changes}
    model = tmp_path / "model.onnx"
    text = "\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None)
    model.with_suffix(".toml").write_text(text)
    return model


def read(tmp_path: Path, **changes: str | None) -> Recipe:
    return recipe_beside(written(tmp_path, **changes))


def test_complete_file_is_read(tmp_path: Path) -> None:
    recipe = read(tmp_path)
    assert (recipe.width, recipe.height, recipe.bgr) == (112, 112, False)
    assert recipe.mean == (127.5,) * 3 and recipe.scale == (0.0078125,) * 3
    assert recipe.aligned(112, 112) == ARCFACE_112


def test_optional_keys_are_read(tmp_path: Path) -> None:
    recipe = read(tmp_path, **OPTIONAL, size=None)
    assert (recipe.width, recipe.height) == (None, None)
    assert (recipe.layout, recipe.output) == ("nhwc", "embedding")
    assert (recipe.licence, recipe.licence_code) == ("MIT", "Apache 2.0")
    assert recipe.accuracy == "99 %"


def test_file_may_be_named_after_the_whole_model_file(tmp_path: Path) -> None:
    written(tmp_path).with_suffix(".toml").rename(tmp_path / "model.onnx.toml")
    assert recipe_beside(tmp_path / "model.onnx").width == 112


@pytest.mark.parametrize(
    ("changes", "identity"),
    [
        ({}, "b09cacc8ac495dec"),
        ({"scale": "127.5"}, "cb3b50d8131bd7dd"),
        (
            {
                "channel_order": '"bgr"',
                "mean": "0",
                "scale": "1",
                "template": '"sface-112"',
            },
            "a663a99a0e3a6b69",
        ),
        (
            {"size": "150", "mean": "0.0", "scale": "1.0", "template": '"dlib-150"'},
            "4cedb30af207ef2b",
        ),
        ({"size": "[128, 96]", "scale": "128", "template": '"dlib-150"'}, "75b4766f1daa32f8"),
        (
            {"mean": "[0.485, 0.456, 0.406]", "scale": "[4.367, 4.464, 4.444]", "range": "1"},
            "31e910835bfa8b23",
        ),
        (
            {
                "channel_order": '"bgr"',
                "mean": "[104, 117.5, 123]",
                "scale": "[57, 58.5, 59]",
                "range": "255",
            },
            "7d3503e287749238",
        ),
        ({"mean": "0", "scale": "[0.5, 2, 2]"}, "d244be00108dd4a7"),
        ({"template": POINTS}, "9d7ed4a489a0bab5"),
        (OPTIONAL, "e23d58ff1fdc4753"),
    ],
)
def test_meaning_never_changes(tmp_path: Path, changes: dict[str, str], identity: str) -> None:
    """It is part of an encoder's SHA-256, which is stored beside every encoding."""
    recipe = read(tmp_path, **changes)
    assert recipe.width is not None and recipe.height is not None
    template = recipe.aligned(recipe.width, recipe.height)
    meaning = recipe.meaning(template, recipe.layout or "nchw", recipe.output or "encoding")
    assert hashlib.sha256(meaning.encode()).hexdigest()[:16] == identity


def test_five_points_and_other_sizes(tmp_path: Path) -> None:
    own = read(tmp_path, template=POINTS).aligned(112, 112)
    assert own.points[4] == (70.7, 92.2)
    larger = read(tmp_path, template='"dlib-150"', size="300").aligned(300, 300)
    assert larger.points[0] == pytest.approx((2 * 48.56, 2 * 46.63))
    assert larger.weights == DLIB_150.weights
    tall = read(tmp_path, size="[112, 96]")
    assert (tall.width, tall.height) == (96, 112)


@pytest.mark.parametrize("key", [key for key in COMPLETE if key != "size"])
def test_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(WeightsUnreadable, match=f"lacks {key}"):
        read(tmp_path, **{key: None})


@pytest.mark.parametrize(
    "line",
    [
        "input_size = 112",
        "width = 112",
        'Channel-Order = "rgb"',
        'order = "rgb"',
        "std = 128",
        "dimension = 512",
        'license = "MIT"',
        'url = "x"',
        "[input]\nsize = 112",
        '[alignment]\ntemplate = "sface-112"',
        "[training]\nepochs = 3",
    ],
)
def test_unknown_key_is_refused(tmp_path: Path, line: str) -> None:
    toml = written(tmp_path).with_suffix(".toml")
    toml.write_text(f"{toml.read_text()}\n{line}\n")
    with pytest.raises(WeightsUnreadable) as refused:
        recipe_beside(tmp_path / "model.onnx")
    key = line.split(" = ")[0].split("]")[0].strip("[")
    message = str(refused.value)
    assert f"model.toml: unknown key {key!r}" in message
    assert f"known keys: {', '.join(COMPLETE)}, {', '.join(OPTIONAL)}" in message


def test_std_is_refused_with_the_key_to_use(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnreadable, match="instead of std, write scale"):
        read(tmp_path, std="127.5")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": "8"}, "size = 8: Input should be greater than or equal to 16"),
        ({"size": "[112, 2000]"}, "size = [112, 2000]: Input should be less than or equal to 1024"),
        ({"size": '"112"'}, "size = '112': Input should be a valid integer"),
        ({"size": "112.0"}, "valid integer"),
        ({"size": "[112]"}, "[height, width]"),
        ({"channel_order": '"rgba"'}, "'rgb' or 'bgr'"),
        ({"channel_order": '"RGB"'}, "'rgb' or 'bgr'"),
        ({"channel_order": "3"}, "'rgb' or 'bgr'"),
        ({"mean": "[1, 2]"}, "three"),
        ({"mean": "nan"}, "finite number"),
        ({"mean": "true"}, "valid number"),
        ({"mean": '"127.5"'}, "valid number"),
        ({"mean": "0.5"}, "range = 1"),
        ({"scale": "0"}, "greater than 0"),
        ({"scale": "[1, 1, -1.0]"}, "scale = [1, 1, -1.0]: Input should be greater than 0"),
        ({"range": "100"}, "1 or 255"),
        ({"range": "true"}, "valid number"),
        ({"range": "[0, 255]"}, "valid number"),
        ({"layout": '"hwc"'}, "'nchw' or 'nhwc'"),
        ({"output": '" "'}, "at least 1 character"),
        ({"licence": '["MIT"]'}, "valid string"),
        ({"template": '"arcface"'}, ", ".join(BUILT_IN)),
        ({"template": '"arcface-224"'}, ", ".join(BUILT_IN)),
        ({"template": "[[1, 2]]"}, "five points"),
        ({"template": "[1, 2, 3, 4, 5]"}, "five points"),
        ({"template": POINTS.replace("51.7", '"x"')}, "five points"),
        ({"template": POINTS.replace("51.7", "9" * 400)}, "five points"),
        ({"template": "{ nose = [56.0, 71.7] }"}, "five points"),
        ({"size": "0x" + "f" * 9_000}, "(too long to show): Input should be less than"),
        ({"mean": "1" + 400 * "0"}, "valid number"),
        ({"mean": "1" + 5_000 * "0"}, "not a valid TOML file"),
        ({"mean": "1e300"}, "out of range"),
        ({"mean": "1e308", "range": "1"}, "out of range"),
        ({"scale": "1e300"}, "out of range"),
        ({"scale": "1e-60"}, "out of range"),
        ({"mean": 20_000 * "[" + 20_000 * "]"}, "not a valid TOML file"),
    ],
)
def test_wrong_value_is_refused(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(WeightsUnreadable) as refused:
        read(tmp_path, **changes)
    assert reason in str(refused.value) and "model.toml" in str(refused.value)


def test_file_over_a_megabyte_is_refused(tmp_path: Path) -> None:
    toml = written(tmp_path).with_suffix(".toml")
    toml.write_text(f"{toml.read_text()}\n#" + 1_000_000 * "x")
    with pytest.raises(WeightsUnreadable, match="1,000,000 bytes"):
        recipe_beside(tmp_path / "model.onnx")


def test_swapped_eyes_are_refused(tmp_path: Path) -> None:
    swapped = "[[73.5, 51.5], [38.3, 51.7], [56.0, 71.7], [70.7, 92.2], [41.5, 92.4]]"
    with pytest.raises(WeightsUnreadable, match="left eye as the viewer sees it"):
        read(tmp_path, template=swapped).aligned(112, 112)


def test_missing_file_is_reported_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="channel_order"):
        recipe_beside(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"size = = 3", b"\xff\xfe\x00"])
def test_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.toml").write_bytes(content)
    with pytest.raises(WeightsUnreadable, match="not a valid TOML"):
        recipe_beside(tmp_path / "model.onnx")
