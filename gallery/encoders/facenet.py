"""facenet-pytorch's InceptionResnetV1, with the weights that its authors published.

They come with no package. Nothing is fetched unless `gallery encoders --fetch NAME` asks for it.
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

from gallery.encoders.dlib import TorchNetwork
from gallery.encoders.protocol import Traits
from gallery.encoders.template import Template
from gallery.errors import WeightsMissing, WeightsUnreadable

DIMENSION = 512
_FACENET_160 = Template(
    160,
    160,
    # It was trained on the detector's boxes, made square: where the landmarks lie in those, the
    # mean of 150 photos of LFW's train people.
    ((47.08, 62.33), (119.42, 61.34), (83.99, 93.14), (52.68, 121.35), (116.2, 120.59)),
    stretch=1.33,
)
_CODE = "MIT (facenet-pytorch, ported from David Sandberg's facenet, MIT)"
_BASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"


@dataclass(frozen=True)
class Published:
    """Weights that facenet-pytorch's own downloader knows.

    pretrained : what it calls them.  file : their file's name, there and in torch's cache folder.
    """

    pretrained: str
    file: str
    licence: str
    accuracy: str

    @property
    def address(self) -> str:
        return _BASE + self.file

    @property
    def cached(self) -> Path:
        """Where facenet-pytorch keeps it once fetched."""
        return Path(get_torch_home(), "checkpoints", self.file)


PUBLISHED = {
    "facenet-vggface2": Published(
        "vggface2",
        "20180402-114759-vggface2.pt",
        "MIT (facenet-pytorch); learned from VGGFace2, photos published for research",
        "quoted from facenet-pytorch, not measured by us: 99.65 % on LFW",
    ),
    "facenet-casia": Published(
        "casia-webface",
        "20180408-102900-casia-webface.pt",
        "MIT (facenet-pytorch); learned from CASIA-WebFace, photos for research alone",
        "quoted from facenet-pytorch, not measured by us: 99.05 % on LFW",
    ),
}


class _Standardised(nn.Module):
    """The network with its input's standardisation before it: (x - 127.5) / 128."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> Tensor:
        found: Tensor = self.network((chips.float() - 127.5) / 128.0)
        return found


def facenet_network(name: str, file: Path | None, device: torch.device) -> TorchNetwork:
    """One of PUBLISHED, from a file, else from where facenet-pytorch keeps it.

    Raises WeightsMissing with the file to bring, or WeightsUnreadable.
    """
    published = PUBLISHED[name]
    given = file.expanduser().resolve() if file is not None else published.cached
    if not given.is_file():
        raise WeightsMissing(
            f"{given} is not there: {name} needs {published.file}. Fetch it with `gallery encoders"
            f" --fetch {name}`; or, without a network, bring it from {published.address} and name"
            f" it: --encoder {name} --weights FILE"
        )
    network = _filled(given)
    with given.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return TorchNetwork(
        _Standardised(network), _traits(name, None if file is None else given, sha256), device
    )


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


def _filled(file: Path) -> InceptionResnetV1:
    """The network with the file's tensors. Raises WeightsUnreadable."""
    state = _state(file)
    network = InceptionResnetV1(pretrained=None, classify=False)
    try:
        network.load_state_dict(state)
        broken = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    except Exception as error:  # of tensors that are no plain ones torch raises all kinds
        said = " ".join(str(error).split())[:300]
        raise WeightsUnreadable(f"{file} is not InceptionResnetV1's: {said}") from error
    if broken:
        raise WeightsUnreadable(f"{file} has numbers that are not finite, in {broken[0]}")
    return network


def _state(file: Path) -> dict[str, Tensor]:
    """The file's tensors, without those of the classifier that it was trained with."""
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes pickle and torch raise all kinds
        raise WeightsUnreadable(
            f"{file} is no file of weights: a state dictionary of tensors and nothing else is read,"
            " as torch.save or safetensors leave it"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise WeightsUnreadable(f"{file} is no state dictionary of tensors")
    return {key: value for key, value in state.items() if not key.startswith("logits.")}


def fetch(name: str) -> Path:
    """Let facenet-pytorch fetch the weights, if they are not there; returns where they are.

    Raises WeightsMissing, or WeightsUnreadable for a file that is not what it should be.
    """
    published = PUBLISHED[name]
    said = "nothing came"
    bring = f"bring it from {published.address} and name it: --encoder {name} --weights FILE"
    try:
        load_weights(InceptionResnetV1(pretrained=None, classify=False), published.pretrained)
    except Exception as error:  # whatever the network's libraries raise
        # Also when all is well: our module lacks the tensors of the classifier. The file tells.
        said = " ".join(str(error).split())[:200]
    if not published.cached.is_file():
        raise WeightsMissing(f"{published.cached} cannot be fetched ({said}); {bring}")
    try:
        _filled(published.cached)
    except WeightsUnreadable as error:
        raise WeightsUnreadable(f"{error}; delete it and fetch it again, or {bring}") from error
    return published.cached
