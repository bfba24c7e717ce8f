"""The TOML file beside an ONNX face model: how a chip becomes the model's input.

`gallery guide encoders` describes the keys. They have one spelling each; anything else is refused.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from gallery.encoders.template import BUILT_IN, Points, Template, five_points
from gallery.errors import WeightsMissing, WeightsUnreadable

Three = tuple[float, float, float]
"""One number a channel."""
EXAMPLE = """size = 112
channel_order = "rgb"
mean = 127.5
scale = 0.0078125
template = "arcface-112"
"""
SMALLEST_SIDE, LARGEST_SIDE = 16, 1024
"""Of a chip, in pixels."""
_MAX_FILE_BYTES = 1_000_000
_MAX_MAGNITUDE = 1e12
"""Beyond it a mean overflows, as does a scale below its inverse."""
_MAX_SHOWN = 100
_TEMPLATE_CHOICES = f"one of {', '.join(BUILT_IN)}, or five points [x, y] in pixels of the chip"


@dataclass(frozen=True)
class Recipe:
    """How to prepare a model's input, and what the file states about the model.

    width, height : of the chip in pixels; None: the model's own.
    mean, scale : the input is (pixel - mean) * scale, a channel, with pixels from 0 to 255.
    layout : of the model's input; None: derived from its shape.
    output : the name of the output that is the encoding; None: the first one that can be.
    """

    file: Path
    width: int | None
    height: int | None
    bgr: bool
    mean: Three
    scale: Three
    template: Template | Points
    layout: Literal["nchw", "nhwc"] | None
    output: str | None
    licence: str | None
    licence_code: str | None
    accuracy: str | None

    def aligned(self, width: int, height: int) -> Template:
        """The template for a chip of this size. Raises WeightsUnreadable."""
        if isinstance(self.template, Template):
            return self.template.resized(width, height)
        try:
            return five_points(self.template, width, height)
        except ValueError as error:
            raise WeightsUnreadable(f"{self.file}: template: {error}") from error

    def meaning(self, template: Template, layout: str, output: str) -> str:
        """Everything that an encoding depends on, as JSON. It is hashed: its form never changes."""
        inputs: dict[str, Any] = {
            "size": [template.width, template.height],
            "points": template.points,
            "weights": template.weights,
            "bgr": self.bgr,
            "mean": self.mean,
            "scale": self.scale,
            "layout": layout,
            "output": output,
        }
        return json.dumps(inputs, sort_keys=True)


def recipe_beside(model: Path) -> Recipe:
    """Read MODEL.onnx.toml or MODEL.toml. Raises WeightsMissing or WeightsUnreadable."""
    candidates = (model.with_name(f"{model.name}.toml"), model.with_suffix(".toml"))
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise WeightsMissing(
            f"{model} has no TOML file that describes its input: write {candidates[1]}, such as\n"
            f"{EXAMPLE}(template: {', '.join(BUILT_IN)}, or five points [x, y]; see `gallery guide"
            " encoders`)"
        )
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise WeightsUnreadable(
                f"{file} is larger than {_MAX_FILE_BYTES:,} bytes; a few lines are enough"
            )
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:  # also numbers too long, deep nesting
        raise WeightsUnreadable(f"{file} is not a valid TOML file: {error}") from error
    try:
        keys = _Keys.model_validate(content)
    except ValidationError as error:
        raise WeightsUnreadable(_message(file, content, error)) from error
    return keys.recipe(file)


def _repeated(count: int, expected: str) -> Callable[[Any], tuple[Any, ...]]:
    """A validator that takes a list of `count` values, or one value for all."""

    def repeat(value: Any) -> tuple[Any, ...]:
        values = tuple(value) if isinstance(value, list) else (value,) * count
        if len(values) != count:
            raise ValueError(f"expected {expected}")
        return values

    return repeat


def _built_in_or_points(value: Any, points: ValidatorFunctionWrapHandler) -> Template | Points:
    if isinstance(value, str) and value in BUILT_IN:
        return BUILT_IN[value]
    try:
        if isinstance(value, list) and len(value) == 5:
            validated: Points = points(
                tuple(tuple(point) if isinstance(point, list) else point for point in value)
            )
            return validated
    except ValidationError:
        pass
    raise ValueError(f"expected {_TEMPLATE_CHOICES}")


def _pixel_range(value: float) -> float:
    if value not in (1.0, 255.0):
        raise ValueError("expected 1 or 255, the largest value of a pixel before the mean is taken")
    return value


def _one_line(text: str) -> str:
    return " ".join(text.split())


_Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
_Size = Annotated[
    tuple[_Side, _Side],
    BeforeValidator(_repeated(2, "one number of pixels, or [height, width]")),
]
_each_channel = BeforeValidator(_repeated(3, "one number, or three in the order of the channels"))
_Positive = Annotated[float, Field(gt=0)]
_Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    AfterValidator(_one_line),
]


class _Keys(BaseModel):
    """The keys of the file. `name` and `source` are for whoever reads it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    size: _Size | None = None
    channel_order: Literal["rgb", "bgr"]
    mean: Annotated[Three, _each_channel]
    scale: Annotated[tuple[_Positive, _Positive, _Positive], _each_channel]
    template: Annotated[Template | Points, WrapValidator(_built_in_or_points)]
    range: Annotated[float, AfterValidator(_pixel_range)] | None = None
    layout: Literal["nchw", "nhwc"] | None = None
    output: _Text | None = None
    name: _Text | None = None
    licence: _Text | None = None
    licence_code: _Text | None = None
    accuracy: _Text | None = None
    source: _Text | None = None

    @model_validator(mode="after")
    def _check_normalisation(self) -> _Keys:
        if self.range is None and 0.0 < max(self.mean) <= 1.0:
            raise ValueError(
                f"mean = {self.mean} looks as if pixels went from 0 to 1; add range = 1 if they"
                " do, range = 255 if they do not"
            )
        mean, scale = self.normalisation()
        smallest, largest = 1.0 / _MAX_MAGNITUDE, _MAX_MAGNITUDE
        if max(map(abs, mean)) > largest or not smallest <= min(scale) <= max(scale) <= largest:
            raise ValueError(
                f"mean {mean} and scale {scale} are out of range: expected a mean of at most"
                f" {largest:g}, and a scale of {smallest:g} to {largest:g}"
            )
        return self

    def normalisation(self) -> tuple[Three, Three]:
        """Mean and scale for pixels from 0 to 255."""
        if self.range == 1.0:
            return _per_channel(lambda v: 255.0 * v, self.mean), _per_channel(
                lambda v: v / 255.0, self.scale
            )
        # Nobody enlarges pixels of 0 to 255: numbers above one are what they are divided by.
        if min(self.scale) > 1.0:
            return self.mean, _per_channel(lambda v: 1.0 / v, self.scale)
        return self.mean, self.scale

    def recipe(self, file: Path) -> Recipe:
        """What the keys mean. file : where they were read from."""
        height, width = self.size or (None, None)
        mean, scale = self.normalisation()
        return Recipe(
            file=file,
            width=width,
            height=height,
            bgr=self.channel_order == "bgr",
            mean=mean,
            scale=scale,
            template=self.template,
            layout=self.layout,
            output=self.output,
            licence=self.licence,
            licence_code=self.licence_code,
            accuracy=self.accuracy,
        )


def _per_channel(change: Callable[[float], float], three: Three) -> Three:
    return change(three[0]), change(three[1]), change(three[2])


def _message(file: Path, content: dict[str, Any], error: ValidationError) -> str:
    """The first kind of mistake in the file: unknown keys, missing keys, or values."""
    problems = error.errors()
    unknown = [str(p["loc"][0]) for p in problems if p["type"] == "extra_forbidden"]
    if unknown:
        hint = "; instead of std, write scale: numbers above 1 divide" if "std" in unknown else ""
        return (
            f"{file}: unknown key {', '.join(map(repr, unknown))}; known keys:"
            f" {', '.join(_Keys.model_fields)}{hint}"
        )
    missing = [str(p["loc"][0]) for p in problems if p["type"] == "missing"]
    if missing:
        return f"{file} lacks {', '.join(missing)}; a complete file is, for example:\n{EXAMPLE}"
    messages: dict[str, str] = {}  # one for each key, or for several keys together
    for problem in problems:
        reason = problem["msg"].removeprefix("Value error, ")
        key = str(problem["loc"][0]) if problem["loc"] else ""
        messages.setdefault(key, f"{key} = {_shown(content[key])}: {reason}" if key else reason)
    return f"{file}: {'; '.join(messages.values())}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python prints no numbers of many thousand digits
        return "(too long to show)"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
