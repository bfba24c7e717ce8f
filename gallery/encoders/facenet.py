"""facenet-pytorch's InceptionResnetV1, with the weights that its authors published.

The weights are in no package. They are downloaded only by `gallery encoders --fetch NAME`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import get_torch_home, load_weights
from safetensors.torch import load_file
from torch import Tensor, nn

from gallery.encoders.model_network import ModelNetwork, open_model_network
from gallery.encoders.protocol import Traits
from gallery.encoders.template import Template
from gallery.errors import WeightsMissing, WeightsUnreadable
from gallery.networks.machine import Machine

DIMENSION = 512
_FACENET_160 = Template(
    160,
    160,
    # The network was trained on the detector's boxes, made square. These are the mean landmarks in
    # such boxes over 150 photos of LFW's training people.
    ((47.08, 62.33), (119.42, 61.34), (83.99, 93.14), (52.68, 121.35), (116.2, 120.59)),
    stretch=1.33,
)
_CODE = "MIT (facenet-pytorch, ported from David Sandberg's facenet, MIT)"
_BASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that facenet-pytorch can download.

    pretrained : facenet-pytorch's name of them.
    file : the file's name, in the release and in torch's cache folder.
    """

    pretrained: str
    file: str
    licence: str
    accuracy: str

    @property
    def url(self) -> str:
        return _BASE + self.file

    @property
    def cached_file(self) -> Path:
        """Where facenet-pytorch stores the downloaded file."""
        return Path(get_torch_home(), "checkpoints", self.file)


PUBLISHED = {
    "facenet-vggface2": PublishedWeights(
        "vggface2",
        "20180402-114759-vggface2.pt",
        "MIT (facenet-pytorch); trained on VGGFace2, photos published for research",
        "quoted from facenet-pytorch, not measured by us: 99.65 % on LFW",
    ),
    "facenet-casia": PublishedWeights(
        "casia-webface",
        "20180408-102900-casia-webface.pt",
        "MIT (facenet-pytorch); trained on CASIA-WebFace, photos for research only",
        "quoted from facenet-pytorch, not measured by us: 99.05 % on LFW",
    ),
}


class _Standardised(nn.Module):
    """The network with standardised input: (x - 127.5) / 128."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> Tensor:
        encodings: Tensor = self.network((chips.float() - 127.5) / 128.0)
        return encodings


def facenet_network(name: str, file: Path | None, machine: Machine) -> ModelNetwork:
    """Load one of PUBLISHED. file : its weights; None: the file that `fetch` downloaded.

    Raises WeightsMissing, which names the file to download, or WeightsUnreadable.
    """
    published = PUBLISHED[name]
    weights = file.expanduser().resolve() if file is not None else published.cached_file
    if not weights.is_file():
        raise WeightsMissing(
            f"{weights} does not exist: {name} needs {published.file}. Download it with `gallery"
            f" encoders --fetch {name}`; or, on a machine without internet access, copy"
            f" {published.url} here and pass it with --encoder {name} --weights FILE"
        )
    with weights.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    traits = _traits(name, None if file is None else weights, sha256)
    return open_model_network(traits, lambda: _Standardised(_load(weights)), machine)


def _traits(name: str, file: Path | None, sha256: str) -> Traits:
    published = PUBLISHED[name]
    return Traits(
        name=name,
        spec=name if file is None else f"{name}:{file}",
        sha256=sha256,
        template=_FACENET_160,
        dimension=DIMENSION,
        licence_code=_CODE,
        licence_weights=published.licence,
        accuracy=published.accuracy,
    )


def _load(file: Path) -> InceptionResnetV1:
    """The network with the weights of a file. Raises WeightsUnreadable."""
    state = _state(file)
    network = InceptionResnetV1(pretrained=None, classify=False)
    try:
        network.load_state_dict(state)
        non_finite = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    except Exception as error:  # torch raises many kinds, for sparse tensors and such
        reason = " ".join(str(error).split())[:300]
        raise WeightsUnreadable(f"{file} does not fit InceptionResnetV1: {reason}") from error
    if non_finite:
        raise WeightsUnreadable(f"{file} has numbers that are not finite, in {non_finite[0]}")
    return network


def _state(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, without those of the classifier used in training."""
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle and torch raise many kinds for a damaged file
        raise WeightsUnreadable(
            f"{file} is not a weights file: expected a state dictionary of tensors and nothing"
            " else, saved with torch.save or safetensors"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise WeightsUnreadable(f"{file} is not a state dictionary of tensors")
    return {key: value for key, value in state.items() if not key.startswith("logits.")}


def fetch(name: str) -> Path:
    """Let facenet-pytorch download the weights unless they are there; returns the file.

    Raises WeightsMissing when the download fails, or WeightsUnreadable for a wrong file.
    """
    published = PUBLISHED[name]
    reason = "nothing was downloaded"
    remedy = f"copy {published.url} here and pass it with --encoder {name} --weights FILE"
    try:
        load_weights(InceptionResnetV1(pretrained=None, classify=False), published.pretrained)
    except Exception as error:  # any kind, from the libraries that download
        # Raised after a successful download too, since our module lacks the tensors of the
        # classifier. So only the file shows whether it worked.
        reason = " ".join(str(error).split())[:200]
    if not published.cached_file.is_file():
        raise WeightsMissing(f"{published.cached_file} cannot be downloaded ({reason}); {remedy}")
    try:
        _load(published.cached_file)
    except WeightsUnreadable as error:
        raise WeightsUnreadable(f"{error}; delete it and fetch it again, or {remedy}") from error
    return published.cached_file
