"""The TOML beside an ONNX model: many spellings, one meaning; everything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from gallery.encoders.onnx_config import Recipe, recipe_beside
from gallery.encoders.template import ARCFACE_112, BUILT_IN, DLIB_150
from gallery.errors import WeightsMissing, WeightsUnreadable

POINTS = "[[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]]"
WHOLE = {
    "size": "112",
    "channel_order": '"rgb"',
    "mean": "127.5",
    "scale": "0.0078125",
    "template": '"arcface-112"',
}


def written(tmp_path: Path, **changes: str | None) -> Path:
    lines = {**WHOLE, **changes}
    model = tmp_path / "model.onnx"
    text = "\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None)
    model.with_suffix(".toml").write_text(text)
    return model


def read(tmp_path: Path, **changes: str | None) -> Recipe:
    return recipe_beside(written(tmp_path, **changes))


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    recipe = read(tmp_path)
    assert (recipe.width, recipe.height, recipe.bgr) == (112, 112, False)
    assert recipe.mean == (127.5,) * 3 and recipe.scale == (0.0078125,) * 3
    assert recipe.aligned(112, 112) == ARCFACE_112


@pytest.mark.parametrize(
    "text",
    [
        'input_size = [112, 112]\nChannel-Order = "RGB"\nmean = [127.5, 127.5, 127.5]\n'
        'scale = 128\ntemplate = "ArcFace"\nurl = "x"\nauthor = "y"',
        '[input]\nsize = 112\nchannels = "rgb"\nmean = 127.5\nstd = 128.0\n'
        '[alignment]\ntemplate = "sface"',
        'width = 112\nheight = 112\norder = "Rgb"\nmean = 127.5\nscale = 0.0078125\n'
        'template = "ArcFace 112x112"',
        'size = 112\norder = "rgb"\nmean = 0.5\nstd = 0.50196078431372548\nrange = 1\n'
        'template = "sface_112"',
    ],
)
def test_other_spellings_mean_the_same(tmp_path: Path, text: str) -> None:
    model = tmp_path / "model.onnx"
    (tmp_path / "model.onnx.toml").write_text(text)
    recipe = recipe_beside(model)
    assert recipe.mean == pytest.approx((127.5,) * 3)
    assert recipe.scale == pytest.approx((1 / 128,) * 3)
    assert (recipe.width, recipe.height, recipe.bgr) == (112, 112, False)
    assert recipe.aligned(112, 112) == ARCFACE_112


def test_points_by_name(tmp_path: Path) -> None:
    names = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    model = written(tmp_path, template=None)
    toml = model.with_suffix(".toml")
    table = "".join(f"{n} = {list(p)}\n" for n, p in zip(names, ARCFACE_112.points, strict=True))
    toml.write_text(f"{toml.read_text()}\n[template]\n{table}")
    assert recipe_beside(model).aligned(112, 112) == ARCFACE_112
    toml.write_text(toml.read_text().replace("nose", "chin"))
    with pytest.raises(WeightsUnreadable, match="left_eye, right_eye"):
        recipe_beside(model)


def test_five_points_and_other_sizes(tmp_path: Path) -> None:
    own = read(tmp_path, template=POINTS).aligned(112, 112)
    assert own.points[4] == (70.7, 92.2)
    larger = read(tmp_path, template='"dlib-150"', size="300").aligned(300, 300)
    assert larger.points[0] == pytest.approx((2 * 48.56, 2 * 46.63))
    assert larger.weights == DLIB_150.weights
    tall = read(tmp_path, size="[112, 96]")
    assert (tall.width, tall.height) == (96, 112)


@pytest.mark.parametrize("key", WHOLE)
def test_what_is_missing_is_named(tmp_path: Path, key: str) -> None:
    if key == "size":  # the model may know it
        assert read(tmp_path, size=None).width is None
        return
    with pytest.raises(WeightsUnreadable, match=f"lacks {key}"):
        read(tmp_path, **{key: None})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": "112"}, "unknown key 'sizes'"),
        ({"input_size": "112"}, "size is given twice"),
        ({"size": "8"}, "16 to 1024"),
        ({"size": '"112"'}, "size = '112'"),
        ({"size": "[112]"}, "height, width"),
        ({"width": "112"}, "not both"),
        ({"channel_order": '"rgba"'}, "rgb or bgr"),
        ({"channel_order": "3"}, "expected a text"),
        ({"mean": "[1, 2]"}, "three"),
        ({"mean": "nan"}, "expected a number"),
        ({"mean": "true"}, "expected a number"),
        ({"mean": "0.5"}, "range = 1"),
        ({"scale": "0"}, "above zero"),
        ({"scale": "-1.0"}, "above zero"),
        ({"std": "128"}, "not both"),
        ({"range": "100"}, "1 or 255"),
        ({"layout": '"hwc"'}, "nchw or nhwc"),
        ({"template": '"arcface-224"'}, ", ".join(BUILT_IN)),
        ({"template": "[[1, 2]]"}, "five points"),
        ({"template": POINTS.replace("51.7", '"x"')}, "expected a number"),
        ({"dimension": "0"}, "above zero"),
        ({"dimension": "0x" + "f" * 9_000}, "at most 16384"),
        ({"size": "0x" + "f" * 9_000}, "16 to 1024"),
        ({"mean": "1" + 400 * "0"}, "not so large"),
        ({"mean": "1" + 5_000 * "0"}, "no TOML file"),
        ({"mean": "1e300"}, "make no pixels"),
        ({"mean": "1e308", "range": "1"}, "make no pixels"),
        ({"scale": None, "std": "1e-320"}, "make no pixels"),
        ({"scale": None, "std": "1e300"}, "make no pixels"),
        ({"scale": "1e-60"}, "make no pixels"),
        ({"template": POINTS.replace("51.7", "9" * 400)}, "not so large"),
        ({"mean": 20_000 * "[" + 20_000 * "]"}, "no TOML file"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(WeightsUnreadable) as refused:
        read(tmp_path, **changes)
    assert said in str(refused.value) and "model.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("table", "output", "name"),
    [
        ('[output]\nname = "embedding"', "embedding", None),
        ('[output]\noutput_name = "embedding"\nsize = 128', "embedding", None),
        ('[model]\nname = "Ada"\n[model.output]\nname = "embedding"', "embedding", "Ada"),
        ('[info]\nname = "Ada"', None, "Ada"),
        ('[licence]\nname = "MIT"', None, None),
    ],
)
def test_a_name_in_a_table_is_what_the_table_is_of(
    tmp_path: Path, table: str, output: str | None, name: str | None
) -> None:
    toml = written(tmp_path).with_suffix(".toml")
    toml.write_text(f"{toml.read_text()}\n{table}\n")
    recipe = recipe_beside(tmp_path / "model.onnx")
    assert (recipe.output, recipe.name) == (output, name)
    assert recipe.dimension == (128 if "size" in table else None)
    assert recipe.licence == ("MIT" if "MIT" in table else None)


def test_an_alignment_by_name(tmp_path: Path) -> None:
    toml = written(tmp_path, template=None).with_suffix(".toml")
    toml.write_text(f'{toml.read_text()}\n[alignment]\nname = "arcface-112"\n')
    assert recipe_beside(tmp_path / "model.onnx").aligned(112, 112) == ARCFACE_112


@pytest.mark.parametrize("table", ['[input]\nname = "chips"', '[output]\nlayout = "nchw"'])
def test_a_key_in_the_wrong_table_is_refused(tmp_path: Path, table: str) -> None:
    toml = written(tmp_path).with_suffix(".toml")
    toml.write_text(f"{toml.read_text()}\n{table}\n")
    with pytest.raises(WeightsUnreadable, match=r"means nothing in \[(in|out)put\]"):
        recipe_beside(tmp_path / "model.onnx")


def test_a_file_of_a_megabyte_is_none(tmp_path: Path) -> None:
    toml = written(tmp_path).with_suffix(".toml")
    toml.write_text(f"{toml.read_text()}\n#" + 1_000_000 * "x")
    with pytest.raises(WeightsUnreadable, match="1,000,000 bytes"):
        recipe_beside(tmp_path / "model.onnx")


def test_eyes_the_wrong_way_round_are_refused(tmp_path: Path) -> None:
    swapped = "[[73.5, 51.5], [38.3, 51.7], [56.0, 71.7], [70.7, 92.2], [41.5, 92.4]]"
    with pytest.raises(WeightsUnreadable, match="left eye as the viewer sees it"):
        read(tmp_path, template=swapped).aligned(112, 112)


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="channel_order"):  # it shows what to write
        recipe_beside(tmp_path / "model.onnx")
    (tmp_path / "model.toml").write_text("size = = 3")
    with pytest.raises(WeightsUnreadable, match="no TOML"):
        recipe_beside(tmp_path / "model.onnx")
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsUnreadable, match="no TOML"):
        recipe_beside(tmp_path / "model.onnx")
    (tmp_path / "model.toml").write_text("[training]\nepochs = 3")
    with pytest.raises(WeightsUnreadable, match=r"unknown table \[training\]"):
        recipe_beside(tmp_path / "model.onnx")
