"""Models that the package uniface fetches and verifies, with the TOML file that they need here.

uniface is an optional extra; it is used for nothing but this, and only when asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gallery.errors import WeightsMissing
from indexer.whole_file import written_whole


@dataclass(frozen=True)
class Fetchable:
    """identifier : what uniface calls it."""

    identifier: str
    licence: str


_INSIGHTFACE = (
    "InsightFace's model zoo: for research that is not commercial, no other use; learned from"
    " photos of celebrities"
)
FETCHABLE = {
    "uniface-arcface-mnet": Fetchable("arcface_mnet", _INSIGHTFACE),
    "uniface-arcface-resnet": Fetchable("arcface_resnet", _INSIGHTFACE),
}
# As uniface's own ArcFace class prepares its input.
_RECIPE = """size = 112
channel_order = "rgb"
mean = 127.5
scale = 127.5
template = "arcface-112"
name = "{name}"
licence = "{licence}"
licence_code = "MIT (uniface; the model is run by onnxruntime, MIT)"
source = "uniface"
"""


def fetch(name: str, cache: Path) -> Path:
    """Have uniface fetch and verify one of FETCHABLE; returns the ONNX file.

    Raises WeightsMissing when uniface is not installed, or cannot.
    """
    wanted = FETCHABLE[name]
    try:
        from uniface.constants import ArcFaceWeights
        from uniface.model_store import verify_model_weights
    except ImportError as error:
        raise WeightsMissing(
            f"{name} is fetched by the package uniface, which is not installed: pip install"
            " 'face-gallery[uniface]'"
        ) from error
    folder = cache / "uniface"
    try:
        file = Path(verify_model_weights(ArcFaceWeights(wanted.identifier), root=str(folder)))
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise WeightsMissing(f"uniface cannot fetch {name}: {said}") from error
    recipe = _RECIPE.format(name=name, licence=wanted.licence.replace('"', "'"))
    with written_whole(file.with_suffix(".toml")) as out:
        out.write(recipe.encode())
    return file
