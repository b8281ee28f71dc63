"""Winograd's way against torch's convolution in float64."""

import pytest
import torch
import torch.nn.functional as F

from cut.kernels import winograd
from cut.kernels.winograd import Conv2d


@pytest.fixture
def used(monkeypatch):
    """How often the fast way was gone; it is gone for small convolutions too."""
    monkeypatch.setattr(winograd, "_MIN_CHANNELS", 1)
    monkeypatch.setattr(winograd, "_MIN_TILES", 1)
    monkeypatch.setattr(winograd, "_CHUNK_NUMBERS", 4000)  # so that there are several chunks
    calls = []
    plain = winograd._Winograd.apply
    monkeypatch.setattr(winograd._Winograd, "apply", lambda *args: calls.append(args) or plain(*args))
    return calls


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("size", [(2, 8, 20, 24), (1, 5, 17, 31), (3, 4, 6, 6), (1, 3, 7, 9)])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_results_and_gradients_are_those_of_the_plain_convolution(used, kernel, size, padding, bias):
    torch.manual_seed(0)
    layer, x = Conv2d(size[1], 6, kernel, padding=padding, bias=bias), torch.randn(size, requires_grad=True)
    exact_x = x.detach().double().requires_grad_()
    exact = [p.detach().double().requires_grad_() for p in layer.parameters()]
    result, expected = layer(x), F.conv2d(exact_x, *exact, padding=padding)
    assert result.shape == expected.shape and len(used) == 1
    weights = torch.randn_like(result)
    gradients = torch.autograd.grad((result * weights).sum(), [x, *layer.parameters()])
    expected_gradients = torch.autograd.grad((expected * weights.double()).sum(), [exact_x, *exact])
    for ours, right in zip([result, *gradients], [expected, *expected_gradients], strict=True):
        assert (ours - right).abs().max() < 2e-5 * right.abs().max()


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_can_be_differentiated_again(used, bias):
    torch.manual_seed(0)
    layer, x = Conv2d(4, 4, 3, bias=bias), torch.randn(1, 4, 10, 10, requires_grad=True)
    exact_x = x.detach().double().requires_grad_()
    exact = [p.detach().double().requires_grad_() for p in layer.parameters()]

    def slope_of_slope(output, image, weight):
        (slope,) = torch.autograd.grad(output.square().sum(), image, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), weight)[0]

    ours = slope_of_slope(layer(x), x, layer.weight)
    right = slope_of_slope(F.conv2d(exact_x, *exact), exact_x, exact[0])
    assert len(used) == 1 and (ours - right).abs().max() < 2e-5 * right.abs().max()


def test_only_the_gradients_that_are_wanted_are_computed(used):
    layer, x = Conv2d(4, 4, 3).requires_grad_(False), torch.randn(1, 4, 10, 10, requires_grad=True)
    layer(x).sum().backward()
    assert used and x.grad is not None and layer.weight.grad is None and layer.bias.grad is None


@pytest.mark.parametrize(
    ("channels", "size_px", "kind"), [(63, 64, "float32"), (64, 30, "float32"), (64, 64, "float64")]
)
def test_few_channels_few_pixels_and_double_precision_go_the_plain_way(monkeypatch, channels, size_px, kind):
    monkeypatch.setattr(winograd._Winograd, "apply", None)  # would fail
    kind = getattr(torch, kind)
    layer, x = Conv2d(channels, channels, 3).to(kind), torch.randn(1, channels, size_px, size_px, dtype=kind)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias))


def test_half_precision_goes_the_plain_way(monkeypatch):
    monkeypatch.setattr(winograd._Winograd, "apply", None)
    with torch.autocast("cpu", torch.bfloat16):
        assert Conv2d(64, 64, 3)(torch.randn(1, 64, 64, 64)).dtype == torch.bfloat16


def test_large_convolutions_go_the_fast_way(monkeypatch):
    calls = []
    monkeypatch.setattr(winograd._Winograd, "apply", lambda *args: calls.append(args))
    Conv2d(64, 64, 3)(torch.randn(1, 64, 64, 64))
    assert len(calls) == 1


@pytest.mark.parametrize(
    "settings", [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding_mode": "reflect", "padding": 1}]
)
def test_other_convolutions_go_the_plain_way(used, settings):
    torch.manual_seed(0)
    layer, x = Conv2d(4, 4, 3, **settings), torch.randn(1, 4, 12, 12)
    assert torch.equal(layer(x), torch.nn.Conv2d.forward(layer, x)) and not used
