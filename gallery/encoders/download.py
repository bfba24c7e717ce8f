"""Models that the package uniface downloads and verifies, and the TOML file they need here.

uniface is an optional extra. It is used for nothing else, and only when the user asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gallery.errors import WeightsMissing
from indexer.whole_file import atomic_write


@dataclass(frozen=True)
class UnifaceModel:
    """identifier : uniface's name of the model."""

    identifier: str
    licence: str


_INSIGHTFACE = (
    "InsightFace's model zoo: non-commercial research only; trained on photos of celebrities"
)
UNIFACE_MODELS = {
    "uniface-arcface-mnet": UnifaceModel("arcface_mnet", _INSIGHTFACE),
    "uniface-arcface-resnet": UnifaceModel("arcface_resnet", _INSIGHTFACE),
}
# The same preparation as in uniface's ArcFace class.
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
    """Let uniface download and verify one of UNIFACE_MODELS; returns the ONNX file.

    Raises WeightsMissing when uniface is not installed or the download fails.
    """
    model = UNIFACE_MODELS[name]
    try:
        from uniface.constants import ArcFaceWeights
        from uniface.model_store import verify_model_weights
    except ImportError as error:
        raise WeightsMissing(
            f"{name} is downloaded by the package uniface, which is not installed: pip install"
            " 'face-gallery[uniface]'"
        ) from error
    folder = cache / "uniface"
    try:
        file = Path(verify_model_weights(ArcFaceWeights(model.identifier), root=str(folder)))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsMissing(f"uniface cannot download {name}: {reason}") from error
    recipe = _RECIPE.format(name=name, licence=model.licence.replace('"', "'"))
    with atomic_write(file.with_suffix(".toml")) as out:
        out.write(recipe.encode())
    return file
