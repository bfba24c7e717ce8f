"""The small TOML file beside an ONNX face model: how a chip becomes the model's input."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gallery.encoders.template import BUILT_IN, Template, five_points
from gallery.errors import WeightsMissing, WeightsUnreadable

Three = tuple[float, float, float]
EXAMPLE = """size = 112
channel_order = "rgb"
mean = 127.5
scale = 0.0078125
template = "arcface-112"
"""
# What else people call a key, without case, spaces, hyphens and underscores.
_SPELLINGS = {
    "size": ("size", "inputsize", "imagesize", "chipsize", "side"),
    "width": ("width", "inputwidth", "imagewidth"),
    "height": ("height", "inputheight", "imageheight"),
    "channel_order": (
        "channelorder", "channels", "colororder", "colourorder", "color", "colour", "order",
        "colorspace", "colourspace", "channel",
    ),
    "mean": ("mean", "means", "pixelmean"),
    "scale": ("scale", "scales", "scalefactor", "pixelscale"),
    "std": ("std", "stds", "stddev", "deviation"),
    "range": ("range", "pixelrange"),
    "layout": ("layout", "inputlayout", "datalayout"),
    "template": ("template", "alignment", "align", "points", "landmarks", "alignmenttemplate"),
    "output": ("output", "outputname"),
    "dimension": ("dimension", "dim", "dims", "embeddingsize", "dimensions"),
    "name": ("name", "title"),
    "licence": ("licence", "license", "licenceofweights", "licenseofweights", "weightslicence",
                "weightslicense", "licenceweights", "licenseweights"),
    "licence_code": ("licencecode", "licensecode", "licenceofcode", "licenseofcode", "codelicence",
                     "codelicense"),
    "accuracy": ("accuracy",),
    "source": ("source", "url", "description", "author", "version", "comment", "notes"),
}  # fmt: skip
_KEY_OF = {spelling: key for key, spellings in _SPELLINGS.items() for spelling in spellings}
_POINTS = (
    ("lefteye",),
    ("righteye",),
    ("nose", "nosetip"),
    ("leftmouth", "mouthleft", "leftmouthcorner"),
    ("rightmouth", "mouthright", "rightmouthcorner"),
)
"""What the landmarks of a template are called where they have names."""
_TABLES = ("input", "model", "encoder", "preprocessing", "preprocess", "normalisation",
           "normalization", "alignment", "output", "licence", "license", "info")  # fmt: skip
_INSIDE: Mapping[str, Mapping[str, str]] = {
    "output": {"name": "output", "size": "dimension", "output": "output", "dimension": "dimension"},
    "alignment": {"name": "template"},
    "licence": {"name": "licence"},
    "license": {"name": "licence"},
}
"""What a key means inside a table, where that is another thing than at the top."""
_NAMED = ("model", "encoder", "info")
"""Tables in which a name is the encoder's."""
_NEEDED = ("channel_order", "mean", "template")
SMALLEST_SIDE, LARGEST_SIDE = 16, 1024
"""Of a chip, in pixels."""
LARGEST_DIMENSION = 16_384
"""As many numbers a face may have."""
_LARGEST_FILE = 1_000_000
_MOST = 1e12
"""Mean and scale beyond it, or a scale below one part of it, are nobody's, and overflow."""
_MOST_SHOWN = 100


@dataclass(frozen=True)
class Recipe:
    """What the file says.

    width, height : of the chip in pixels; None where only the model knows.
    mean, scale : the input is (pixel - mean) * scale, a channel, with pixels of 0 to 255.
    layout : of the model's input; None where it is told by its shape.
    output : the name of the output that is the encoding; None: the first that could be.
    dimension : how many numbers it must give; None: as many as it does.
    """

    file: Path
    width: int | None
    height: int | None
    bgr: bool
    mean: Three
    scale: Three
    template: Template | tuple[tuple[float, ...], ...]
    layout: Literal["nchw", "nhwc"] | None = None
    output: str | None = None
    dimension: int | None = None
    name: str | None = None
    licence: str | None = None
    licence_code: str | None = None
    accuracy: str | None = None

    def aligned(self, width: int, height: int) -> Template:
        """The template for a chip of this size. Raises WeightsUnreadable."""
        if isinstance(self.template, Template):
            return self.template.resized(width, height)
        try:
            return five_points(self.template, width, height)
        except ValueError as error:
            raise WeightsUnreadable(f"{self.file}: template: {error}") from error

    def meaning(self, template: Template, layout: str, output: str) -> str:
        """Everything in it that an encoding depends on, in one form whatever its spelling."""
        said: dict[str, Any] = {
            "size": [template.width, template.height],
            "points": template.points,
            "weights": template.weights,
            "bgr": self.bgr,
            "mean": self.mean,
            "scale": self.scale,
            "layout": layout,
            "output": output,
        }
        return json.dumps(said, sort_keys=True)


def recipe_beside(model: Path) -> Recipe:
    """MODEL.onnx.toml or MODEL.toml. Raises WeightsMissing or WeightsUnreadable."""
    places = (model.with_name(f"{model.name}.toml"), model.with_suffix(".toml"))
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise WeightsMissing(
            f"{model} says nothing of the pixels it wants: write {places[1]} beside it, such as\n"
            f"{EXAMPLE}(template: {', '.join(BUILT_IN)}, or five points [x, y]; see the README)"
        )
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise WeightsUnreadable(
                f"{file} has over {_LARGEST_FILE:,} bytes; it needs a few lines"
            )
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # of numbers too long, of nesting
        raise WeightsUnreadable(f"{file} is no TOML file: {error}") from error
    return _recipe(file, _flat(file, content))


def _flat(file: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Keys as we call them, from the top and from tables of known names."""
    found: dict[str, Any] = {}
    items = [("", given, value) for given, value in content.items()]
    while items:
        table, given, value = items.pop(0)
        if isinstance(value, dict):
            if _plain(given) in _TABLES:
                items += [(_plain(given), inner, one) for inner, one in value.items()]
                continue
            if _KEY_OF.get(_plain(given)) != "template":
                raise WeightsUnreadable(
                    f"{file}: unknown table [{given}]; known: {', '.join(_TABLES)}"
                )
        key = _KEY_OF.get(_plain(given))
        if key is None:
            raise WeightsUnreadable(
                f"{file}: unknown key {given!r}; known: {', '.join(_SPELLINGS)}"
            )
        key = _meant(file, table, given, key)
        if key in found and key != "source":
            raise WeightsUnreadable(f"{file}: {key} is given twice")
        found[key] = value
    return found


def _meant(file: Path, table: str, given: str, key: str) -> str:
    """What a key of ours means in this table. Raises WeightsUnreadable where it means nothing."""
    inside = _INSIDE.get(table, {})
    if key in inside:
        return inside[key]
    if table == "output" or (key == "name" and table and table not in _NAMED):
        raise WeightsUnreadable(
            f"{file}: {given} means nothing in [{table}]; write it at the top, before all tables"
        )
    return key


def _plain(key: str) -> str:
    return re.sub(r"[\s_-]", "", key).lower()


def _recipe(file: Path, found: Mapping[str, Any]) -> Recipe:
    missing = [key for key in _NEEDED if key not in found]
    if "scale" not in found and "std" not in found:
        missing.append("scale")
    if missing:
        raise WeightsUnreadable(
            f"{file} lacks {', '.join(missing)}; a whole file is, for example:\n{EXAMPLE}"
        )

    def read(key: str, reader: Callable[[Any], Any]) -> Any:
        try:
            return reader(found[key]) if key in found else None
        except (TypeError, ValueError, KeyError) as error:
            raise WeightsUnreadable(f"{file}: {key} = {_shown(found[key])}: {error}") from error

    size = read("size", _size)
    if size is None and ("width" in found or "height" in found):
        size = read("width", _side), read("height", _side)
    elif "width" in found or "height" in found:
        raise WeightsUnreadable(f"{file}: give size, or width and height, not both")
    mean, scale = _normalisation(file, read, found)
    return Recipe(
        file=file,
        width=None if size is None else size[0],
        height=None if size is None else size[1],
        bgr=read("channel_order", _one_of("rgb", "bgr")) == "bgr",
        mean=mean,
        scale=scale,
        template=read("template", _template),
        layout=read("layout", _one_of("nchw", "nhwc")),
        output=read("output", _text),
        dimension=read("dimension", _dimension),
        name=read("name", _text),
        licence=read("licence", _text),
        licence_code=read("licence_code", _text),
        accuracy=read("accuracy", _text),
    )


def _normalisation(
    file: Path, read: Callable[[str, Callable[[Any], Any]], Any], found: Mapping[str, Any]
) -> tuple[Three, Three]:
    """Mean and scale for pixels of 0 to 255. Raises WeightsUnreadable."""
    mean, scale = _stated(file, read, found)
    if max(map(abs, mean)) > _MOST or not 1.0 / _MOST <= min(scale) <= max(scale) <= _MOST:
        raise WeightsUnreadable(
            f"{file}: mean {mean} and scale {scale} make no pixels: expected a mean of at most"
            f" {_MOST:g}, and a scale of {1.0 / _MOST:g} to {_MOST:g}"
        )
    return mean, scale


def _stated(
    file: Path, read: Callable[[str, Callable[[Any], Any]], Any], found: Mapping[str, Any]
) -> tuple[Three, Three]:
    """Those that the file states, with pixels of 0 to 255."""
    if "scale" in found and "std" in found:
        raise WeightsUnreadable(f"{file}: give scale (multiplies) or std (divides), not both")
    mean: Three = read("mean", _three)
    largest = read("range", _range)
    if largest is None and 0.0 < max(mean) <= 1.0:
        raise WeightsUnreadable(
            f"{file}: mean = {_shown(found['mean'])} looks as if pixels went from 0 to 1; say"
            " range = 1 if they do, range = 255 if they do not"
        )
    if "std" in found:
        scale = _each(_inverse, read("std", _positive))
    else:
        scale = read("scale", _positive)
        # Nobody makes pixels of 0 to 255 larger: numbers above one are what they are divided by.
        if largest != 1.0 and min(scale) > 1.0:
            scale = _each(_inverse, scale)
    if largest == 1.0:
        return _each(lambda v: 255.0 * v, mean), _each(lambda v: v / 255.0, scale)
    return mean, scale


def _inverse(value: float) -> float:
    return 1.0 / value if value > 1.0 / _MOST else math.inf


def _shown(value: Any) -> str:
    """A value of the file as it may be printed."""
    try:
        said = repr(value)
    except (ValueError, RecursionError):  # Python prints no numbers of many thousand digits
        return "(too long to show)"
    return said if len(said) <= _MOST_SHOWN else f"{said[:_MOST_SHOWN]}..."


def _each(change: Callable[[float], float], three: Three) -> Three:
    return change(three[0]), change(three[1]), change(three[2])


def _size(value: Any) -> tuple[int, int]:
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2:
        raise ValueError("expected one number of pixels, or [height, width]")
    return _side(sides[1]), _side(sides[0])


def _side(value: Any) -> int:
    side = _whole(value)
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise ValueError(f"expected {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
    return side


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("expected a whole number above zero")
    return value


def _dimension(value: Any) -> int:
    found = _whole(value)
    if found > LARGEST_DIMENSION:
        raise ValueError(f"expected at most {LARGEST_DIMENSION}")
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    try:
        found = float(value)
    except OverflowError as error:
        raise ValueError("expected a number that is not so large") from error
    if not math.isfinite(found):
        raise ValueError("expected a number")
    return found


def _three(value: Any) -> Three:
    each = value if isinstance(value, list) else [value] * 3
    if len(each) != 3:
        raise ValueError("expected one number, or three in the order of the channels")
    return _number(each[0]), _number(each[1]), _number(each[2])


def _positive(value: Any) -> Three:
    three = _three(value)
    if min(three) <= 0:
        raise ValueError("expected numbers above zero")
    return three


def _range(value: Any) -> float:
    largest = _number(value[-1] if isinstance(value, list) else value)
    if largest not in (1.0, 255.0):
        raise ValueError("expected 1 or 255, the largest value of a pixel before the mean is taken")
    return largest


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 1000:
        raise ValueError("expected a text")
    return " ".join(value.split())


def _one_of(*choices: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        chosen = _plain(_text(value))
        if chosen not in choices:
            raise ValueError(f"expected {' or '.join(choices)}")
        return chosen

    return read


def _template(value: Any) -> Template | tuple[tuple[float, ...], ...]:
    if isinstance(value, dict):
        value = _named_points({_plain(key): one for key, one in value.items()})
    if isinstance(value, str):
        names: dict[str, Template] = {}
        for name, template in BUILT_IN.items():  # arcface-112, arcface, arcface-112x112
            kind, side = name.split("-")
            names |= dict.fromkeys((kind, kind + side, f"{kind}{side}x{side}"), template)
        chosen = names.get(_plain(value))
        if chosen is None:
            raise ValueError(f"expected one of {', '.join(BUILT_IN)}, or five points [x, y]")
        return chosen
    if not isinstance(value, list) or len(value) != 5:
        raise ValueError(f"expected one of {', '.join(BUILT_IN)}, or five points [x, y]")
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError("expected five points of two numbers, [x, y] in pixels of the chip")
    return tuple((_number(x), _number(y)) for x, y in value)


def _named_points(table: dict[str, Any]) -> Any:
    """A table of the five points by name, in our order; or of one list of them."""
    if len(table) == 1 and _KEY_OF.get(next(iter(table))) in ("template", "name"):
        return next(iter(table.values()))
    found = [[table[name] for name in names if name in table] for names in _POINTS]
    if len(table) != len(_POINTS) or not all(len(one) == 1 for one in found):
        raise ValueError(
            "expected left_eye, right_eye, nose, left_mouth and right_mouth, [x, y] each, as the"
            " viewer sees them"
        )
    return [one[0] for one in found]
