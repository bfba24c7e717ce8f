"""The encoders that come with a head: what is known of them without loading a network."""

from __future__ import annotations

from gallery.encoders.protocol import Traits, Views
from gallery.encoders.template import ARCFACE_112, DLIB_150
from gallery.encoders.weights import DLIB_RESNET, MOBILEFACENET

_ACCURACY = "measured by us: `gallery guide accuracy`"

DLIB_TRAITS = Traits(
    name=DLIB_RESNET.name,
    spec=DLIB_RESNET.name,
    sha256=DLIB_RESNET.sha256,
    template=DLIB_150,
    dimension=128,
    licence_code="MIT (this program; the network is dlib's, Boost 1.0)",
    licence_weights=DLIB_RESNET.licence,
    accuracy=_ACCURACY,
    near_identical=0.986,
)
MOBILEFACENET_TRAITS = Traits(
    name=MOBILEFACENET.name,
    spec=MOBILEFACENET.name,
    sha256=MOBILEFACENET.sha256,
    template=ARCFACE_112,
    dimension=512,
    licence_code="MIT (this program; the network is Chen et al.'s MobileFaceNet)",
    licence_weights=MOBILEFACENET.licence,
    accuracy=_ACCURACY,
    near_identical=0.9,
    views=Views(probe=2, enrolled=2),
)
TRAITS = {traits.name: traits for traits in (MOBILEFACENET_TRAITS, DLIB_TRAITS)}
"""By the encoder's name, the best first."""
