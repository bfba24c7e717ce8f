"""The parser of dlib's file accepts the published bytes, and refuses truncated or altered ones."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest

from gallery.encoders.dlib_dat import DlibNetwork, Layer, read_detector, read_network
from gallery.encoders.dlib_resnet import DlibResNet, state_of
from gallery.encoders.weights import DLIB_MMOD, DLIB_RESNET
from gallery.errors import WeightsUnreadable


@pytest.fixture(scope="module")
def content() -> bytes:
    return DLIB_RESNET.read()


@pytest.fixture(scope="module")
def network(content: bytes) -> DlibNetwork:
    return read_network(content)


def test_published_file_is_the_documented_network(network: DlibNetwork) -> None:
    assert network.side == 150
    assert network.mean == pytest.approx((122.782, 117.001, 104.298), abs=1e-5)
    kinds = [layer.kind for layer in network.layers]
    assert kinds.count("con") == kinds.count("affine") == 29
    assert kinds[-1] == "fc" and network.layers[-1].shape == (128, 256)
    assert sum(layer.parameters.size for layer in network.layers) == 5_614_592
    for layer in network.layers:
        assert layer.parameters.dtype == np.float32 and np.isfinite(layer.parameters).all()
        if layer.kind == "con":
            filters, rows, columns = layer.shape[:3]
            assert (layer.parameters.size - filters) % (filters * rows * columns) == 0


def test_state_fills_the_whole_module(network: DlibNetwork) -> None:
    module = DlibResNet()
    state = state_of(network)
    module.load_state_dict(state, strict=True)
    assert all(math.isfinite(value.abs().max().item()) for value in state.values())


@pytest.mark.parametrize("share", [0.0, 1e-7, 1e-6, 1e-5, 1e-4, 0.01, 0.3, 0.5, 0.9, 0.9999])
def test_truncated_file_is_refused(content: bytes, share: float) -> None:
    with pytest.raises(WeightsUnreadable):
        read_network(content[: int(len(content) * share)])


@pytest.mark.parametrize("missing", [1, 2, 3, 100])
def test_file_without_its_last_bytes_is_refused(content: bytes, missing: int) -> None:
    with pytest.raises(WeightsUnreadable):
        read_network(content[:-missing])


@pytest.mark.parametrize("trailing", [b"\0", b"0", b"\1\2", b"x" * 1000])
def test_trailing_bytes_are_refused(content: bytes, trailing: bytes) -> None:
    with pytest.raises(WeightsUnreadable):
        read_network(content + trailing)


@pytest.mark.parametrize("position", range(17))
def test_altered_header_is_refused(content: bytes, position: int) -> None:
    altered = bytearray(content)
    altered[position] ^= 0x55
    with pytest.raises(WeightsUnreadable):
        read_network(bytes(altered))


def test_altered_bytes_raise_no_other_error(content: bytes) -> None:
    positions = np.random.default_rng(1).integers(17, 400, 40).tolist()
    for name in (b"con_", b"affine_", b"relu_", b"max_pool_", b"fc_"):
        at = content.index(name)
        positions += [at - 1, at, at + len(name) + 1, at + len(name) + 2]
    for position in positions:
        altered = bytearray(content)
        altered[position] ^= 0xC5
        with suppress(WeightsUnreadable):  # for some bytes, such as the margin, any value is valid
            read_network(bytes(altered))


def test_negative_length_is_refused(content: bytes) -> None:
    # Replace the length of the name, 13 in one byte, with -1 in one byte.
    at = content.index(b"loss_metric_2") - 2
    altered = bytearray(content)
    altered[at : at + 2] = b"\x81\x01"
    with pytest.raises(WeightsUnreadable):
        read_network(bytes(altered))


def test_file_of_another_format_is_refused() -> None:
    for other in (b"", b"\x89PNG\r\n\x1a\n" + bytes(500), b"PK\x03\x04" + bytes(500)):
        with pytest.raises(WeightsUnreadable):
            read_network(other)


@pytest.mark.parametrize(
    "altered",
    [
        pytest.param(lambda layers: layers[:-1], id="without the last layer"),
        pytest.param(lambda layers: layers[1:], id="without the first layer"),
        pytest.param(lambda layers: (*layers, layers[-1]), id="with an extra layer"),
        pytest.param(lambda layers: layers[::-1], id="in another order"),
        pytest.param(lambda _layers: (), id="without layers"),
    ],
)
def test_wrong_layers_are_refused(network: DlibNetwork, altered) -> None:
    with pytest.raises(WeightsUnreadable):
        state_of(DlibNetwork(network.mean, network.side, tuple(altered(network.layers))))


def test_layers_of_wrong_size_are_refused(network: DlibNetwork) -> None:
    first = network.layers[0]
    for parameters in (first.parameters[:-1], first.parameters[:100]):
        smaller = (Layer(first.kind, first.shape, parameters), *network.layers[1:])
        with pytest.raises(WeightsUnreadable):
            state_of(DlibNetwork(network.mean, network.side, smaller))


def test_wrong_input_size_is_refused(network: DlibNetwork) -> None:
    with pytest.raises(WeightsUnreadable, match="200"):
        state_of(DlibNetwork(network.mean, 200, network.layers))


def test_published_detector_is_the_documented_network() -> None:
    network = read_detector(DLIB_MMOD.read())
    assert network.side == 80
    assert network.mean == pytest.approx((122.782, 117.001, 104.298), abs=1e-5)
    convolutions = [layer.shape for layer in network.layers if layer.kind == "con"]
    halving = [(filters, 5, 5, 2, 2, 0, 0) for filters in (16, 32, 32)]
    assert convolutions == [*halving, *[(45, 5, 5, 1, 1, 2, 2)] * 3, (1, 9, 9, 1, 1, 4, 4)]
    assert [layer.kind for layer in network.layers] == ["con", "affine", "relu"] * 6 + ["con"]
    assert all(np.isfinite(layer.parameters).all() for layer in network.layers)


def test_each_reader_refuses_the_other_network(content: bytes) -> None:
    detector = DLIB_MMOD.read()
    for read, other in ((read_network, detector), (read_detector, content)):
        with pytest.raises(WeightsUnreadable, match="instead of 'loss_m"):
            read(other)
    for altered in (detector[:-1], detector[:5000], detector + b"0"):
        with pytest.raises(WeightsUnreadable):
            read_detector(altered)
