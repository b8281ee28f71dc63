"""VGG's features: names of layers, weights of both public kinds, pooling."""

import pytest
import torch
from fixed import fill_by_key

from cut.models.vgg import (
    CAFFE,
    TORCHVISION,
    VGG,
    at_caffes_scale,
    by_layer_name,
    he_uniform,
    layer_names,
    torchvision_numbers,
    width_of,
)

SCALE = 255.0 * (0.229 + 0.224 + 0.225) / 3


def state(depth, of_torchvision):
    """Weights of the whole network under the names of either public file, random up to conv3_1, then zero."""
    stream, numbers, tensors, width = torch.Generator().manual_seed(3), torchvision_numbers(depth), {}, 3
    for layer in layer_names(depth):
        bound = 0.05 if layer <= "conv3_1" else 0.0
        for leaf, shape in (("weight", (width_of(layer), width, 3, 3)), ("bias", (width_of(layer),))):
            name = f"features.{numbers[layer]}" if of_torchvision else layer
            tensor = torch.zeros(shape)
            tensors[f"{name}.{leaf}"] = tensor.uniform_(-bound, bound, generator=stream) if bound else tensor
        width = width_of(layer)
    return tensors


def test_layers_have_torchvisions_numbers():
    sixteen, nineteen = torchvision_numbers(16), torchvision_numbers(19)
    assert [sixteen[name] for name in ("conv1_1", "conv2_1", "conv3_3", "conv5_3")] == [0, 5, 14, 28]
    assert list(nineteen.values()) == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert len(sixteen) == 13 and nineteen["conv4_2"] == 21


def test_torchvisions_own_network_gives_the_same_features():
    vgg_of_torchvision = pytest.importorskip("torchvision.models.vgg")
    # `vgg16().features` without the classifier, whose 120 million numbers would be drawn first.
    theirs = vgg_of_torchvision.make_layers(vgg_of_torchvision.cfgs["D"], batch_norm=False).eval()
    vgg = VGG(16, ("conv1_2", "conv3_3"))
    vgg.load(by_layer_name({f"features.{key}": value for key, value in theirs.state_dict().items()}, 16)[0])
    image = torch.rand(1, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        shallow, deep = vgg(image)
        assert torch.equal(shallow, theirs[:4](image)) and torch.equal(deep, theirs[:16](image))


def test_the_golden_weights_are_those_of_the_formula(golden):
    for depth, name in ((16, "vgg16_formula"), (19, "vgg19_formula")):
        numbers, expected = torchvision_numbers(depth), golden(name)

        def theirs(key, depth=depth, numbers=numbers):
            layer, _, leaf = key.partition(".")
            return f"features.{numbers[layer]}.{leaf}" if depth == 16 else key

        network = fill_by_key(VGG(depth, ("conv2_2",)), expected["offset"].item(), theirs)
        for key, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor.flatten()[:3], expected["first"][theirs(key)])
            torch.testing.assert_close(tensor.abs().mean(), expected["mean_abs"][theirs(key)])


def test_torchvisions_weights_are_brought_to_caffes_scale():
    tensors = state(19, of_torchvision=True)
    image = torch.rand(1, 3, 20, 16, generator=torch.Generator().manual_seed(1))
    plain, scaled = VGG(19, ("conv2_2", "conv3_1")), VGG(19, ("conv2_2", "conv3_1"))
    plain.load(by_layer_name(tensors, 19)[0])
    weights, preparation = at_caffes_scale(tensors)
    scaled.load(weights)
    assert not preparation.is_bgr
    with torch.no_grad():
        own = scaled(preparation.prepare(image))
        for large, small in zip(own, plain(TORCHVISION.prepare(image)), strict=True):
            torch.testing.assert_close(large, SCALE * small, rtol=1e-4, atol=1e-3)
    assert at_caffes_scale(state(19, of_torchvision=False))[1] is CAFFE


def test_preparations_can_be_undone():
    picture = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    for preparation in (CAFFE, TORCHVISION):
        torch.testing.assert_close(preparation.restore(preparation.prepare(picture)), picture)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert CAFFE.prepare(red).flatten().tolist() == pytest.approx([-103.94, -116.78, 131.32], abs=0.01)  # BGR


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"no weights of VGG-19: conv1_1.weight is missing"):
        by_layer_name({"conv9.weight": torch.zeros(1)}, 19)
    with pytest.raises(ValueError, match=r"features.7.weight has the shape \(128, 256, 3, 3\), not \(128, 128, 3, 3\)"):
        by_layer_name(state(19, True) | {"features.7.weight": torch.zeros(128, 256, 3, 3)}, 19)


def test_random_weights_do_not_depend_on_the_run_and_a_pool_that_does_not_fit_is_left_out():
    torch.manual_seed(5)
    one = he_uniform(VGG(16, ("conv5_3",), base_channels=4))
    torch.manual_seed(6)
    other = he_uniform(VGG(16, ("conv5_3",), base_channels=4))
    assert torch.equal(one.conv3_2.weight, other.conv3_2.weight)
    assert one.conv3_2.weight.abs().max() <= (6 / 144) ** 0.5 and not one.conv3_2.bias.any()
    (features,) = one(torch.rand(1, 3, 4, 40))
    assert features.shape == (1, 32, 1, 10)  # halved twice, of four times
