"""Layers run with less memory give the bits of layers run plainly."""

import pytest
import torch
from torch import nn

from cut.kernels import recompute, winograd
from cut.kernels.blur import BlurDownsample, BlurUpsample
from cut.kernels.padding import ReflectionPad
from cut.kernels.recompute import run_layers
from cut.kernels.winograd import Conv2d
from cut.models.blocks import normalisation
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Generator

LAYERS = {
    "norm, activation, border": lambda: [normalisation("instance", 4), nn.ReLU(inplace=True), ReflectionPad(1)],
    "leaky, blur": lambda: [nn.LeakyReLU(0.2), BlurDownsample(4)],
    "resampling": lambda: [BlurUpsample(4)],
    "zeros": lambda: [nn.ZeroPad2d(1)],
    "an activation in place at the start": lambda: [nn.ReLU(inplace=True), ReflectionPad(1)],
    "batch norm and dropout": lambda: [normalisation("batch", 4), nn.ReLU(), nn.Dropout(0.5), ReflectionPad(1)],
}


@pytest.mark.parametrize("again", [recompute._CHEAP, recompute._DEARER], ids=["cheap", "dearer"])
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_results_and_gradients_are_those_of_plain_layers(monkeypatch, name, precision, fast, again):
    if fast:
        monkeypatch.setattr(winograd, "_MIN_CHANNELS", 1)
        monkeypatch.setattr(winograd, "_MIN_TILES", 1)
    torch.manual_seed(0)
    layers = nn.Sequential(Conv2d(4, 4, 3, padding=1), *LAYERS[name](), Conv2d(4, 5, 3, padding=1))
    x = torch.randn(2, 4, 12, 12, requires_grad=True)

    def run(function):
        torch.manual_seed(1)  # of the dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            y = function()
        return [y, *torch.autograd.grad(y.float().square().sum(), [x, *layers.parameters()])]

    for ours, plain in zip(run(lambda: run_layers(layers, x, again)), run(lambda: layers(x)), strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize(
    "build", [lambda: ResnetGenerator(base_channels=8, num_blocks=2), lambda: PatchDiscriminator(3, 8, antialias=False)]
)
def test_networks_keep_less_for_the_same_gradients(monkeypatch, build):
    torch.manual_seed(0)
    network, image = build(), torch.rand(1, 3, 64, 64)

    def kept_bytes_and_gradients():
        storages = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: storages.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
        ):
            loss = network(image).square().mean()
        return sum(storages.values()), torch.autograd.grad(loss, list(network.parameters()))

    ours, gradients = kept_bytes_and_gradients()
    monkeypatch.setattr(recompute, "_will_go_back", lambda x, layer: False)
    plain, expected = kept_bytes_and_gradients()
    assert ours < 0.85 * plain
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


@pytest.mark.parametrize(
    "build", [lambda: ResnetGenerator(base_channels=8, dropout=0.5), lambda: StyleGAN2Generator(base_channels=8)]
)
@pytest.mark.parametrize("taps", [(), (0, 2, 3)])
def test_checkpointing_keeps_least_and_changes_no_bit(build, taps):
    torch.manual_seed(0)
    network, image = build(), torch.rand(1, 3, 64, 64)
    results, kept = [], []
    for network.checkpoint_activations in (False, True):
        torch.manual_seed(1)  # of dropout and noise
        storages = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, s=storages: s.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t,
            lambda t: t,
        ):
            output, features = network.forward_with_features(image, taps)
        loss = output.square().mean() + sum(f.square().mean() for f in features)
        results.append([output, *torch.autograd.grad(loss, list(network.parameters()))])
        kept.append(sum(storages.values()))
    assert kept[1] < 0.5 * kept[0]
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_slope_can_be_penalised():
    torch.manual_seed(0)
    network = PatchDiscriminator(3, 8).double()
    image = torch.rand(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)

    def penalty(function):
        (slope,) = torch.autograd.grad(function().mean(), image, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), list(network.parameters()), allow_unused=True)

    ours, plain = penalty(lambda: network(image)), penalty(lambda: network.layers(image))
    for a, b in zip(ours, plain, strict=True):
        # The last bias has no influence on a slope; here that is None, there zeros, or the other way round.
        torch.testing.assert_close(*(torch.zeros(1).double() if g is None else g for g in (a, b)), check_device=False)


def test_hooks_on_layers_are_called_once():
    network, calls = PatchDiscriminator(3, 8), []
    for layer in network.layers:
        layer.register_forward_hook(lambda *_: calls.append(0))
    network(torch.rand(1, 3, 32, 32, requires_grad=True)).sum().backward()
    assert len(calls) == len(network.layers)
