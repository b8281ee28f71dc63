import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cut.inference.forward import translate_pictures
from cut.inference.request import ONE_OUTPUT, Request
from cut.methods.translator import Translator
from cut.models.initialisation import initialise
from cut.models.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from cut.models.stylegan2_blocks import EqualConv2d, EqualResidualBlock, UpsampleConv, blur


def small_generator(**settings):
    return StyleGAN2Generator(**{"base_channels": 4, "num_blocks": 4} | settings)


@pytest.mark.parametrize(("grow", "stride"), [(1, 1), (-1, 1), (-1, 2), (1, 2)])
def test_blur_equals_a_depthwise_convolution(grow, stride):
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(row, row).expand(2, 1, 4, 4)
    for size in ((9, 12), (2, 3), (8, 8)):
        image = torch.randn(3, 2, *size)
        expected = F.conv2d(image, kernel, stride=stride, padding=2 if grow > 0 else 1, groups=2)
        torch.testing.assert_close(blur(image, grow, stride, gain=0.5), 0.5 * expected)


@pytest.mark.parametrize("size", [(4, 4), (6, 10), (32, 18)])
def test_generator_keeps_the_size(size):
    image = torch.randn(2, 3, *size)
    generator = small_generator()
    output, features = generator.forward_with_features(image, (0, 2, 4))
    assert output.shape == image.shape
    assert [f.shape[1] for f in features] == generator.feature_channels((0, 2, 4)) == [3, 8, 8]
    assert features[1].shape[2:] == (size[0] // 2, size[1] // 2) and features[0] is image
    for feature, encoded in zip(features, generator.encode(image, (0, 2, 4)), strict=True):
        assert torch.equal(feature, encoded)


def test_more_downsamplings_and_other_channels():
    generator = small_generator(in_channels=1, out_channels=2, num_downsamplings=2, noise=False)
    assert generator.stride == 4 and generator.feature_channels((0, 1, 2, 3)) == [1, 4, 8, 16]
    assert generator(torch.randn(1, 1, 8, 12)).shape == (1, 2, 8, 12)


def test_a_layer_that_the_encoder_does_not_have_is_named():
    with pytest.raises(ValueError, match="nce_layers: the encoder has no layer 5; it has 0 to 4"):
        small_generator().feature_channels((0, 5))


def test_a_picture_of_any_size_goes_through_at_its_size():
    import numpy as np
    from lightning_fabric import Fabric

    method = Translator()
    method.generator = small_generator().eval()
    for size in ((1, 1), (5, 3), (17, 30)):
        picture = np.full((*size, 3), 100, np.uint8)
        fabric, keys = Fabric(accelerator="cpu", devices=1), [("a.png", ONE_OUTPUT)]
        (output,) = translate_pictures(method, [picture], fabric, Request(), keys, None, Path())
        assert output.shape == picture.shape and output.dtype == np.uint8


def test_noise_differs_in_training_and_is_always_the_same_afterwards():
    generator, image = small_generator(), torch.randn(1, 3, 8, 8).expand(2, -1, -1, -1)
    quiet = generator(image)
    with torch.no_grad():
        generator.decoder[2].noise.weight.fill_(1.0)
    first, second = generator(image), generator(image)
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])
    state = torch.random.get_rng_state()
    once, again = generator.eval()(image), generator(image[:1])
    torch.testing.assert_close(once, again.expand_as(once))
    torch.testing.assert_close(once[0], once[1])
    assert not torch.allclose(once, quiet) and torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("down", [False, True])
def test_layers_keep_the_mean_square_at_initialisation(down):
    """To the 4 % that the leaky ReLU's slope brings, on average over weights and images."""
    torch.manual_seed(0)
    image = torch.randn(64, 48, 1, 1).expand(-1, -1, 20, 20)  # flat, for a blur keeps only what is flat
    layers = EqualConv2d(48, 96, 3, down), EqualResidualBlock(48, 96, down)
    for layer in layers:
        inside = layer(image)[:, :, 4:-4, 4:-4]
        assert float(inside.detach().square().mean()) == pytest.approx(1.04, rel=0.15)


def test_upsampling_keeps_a_flat_map_flat_inside():
    layer = UpsampleConv(4, 3, noise=False)
    output = layer(torch.ones(1, 4, 8, 8))
    assert output.shape == (1, 3, 16, 16)
    inside = output[:, :, 4:-4, 4:-4]
    torch.testing.assert_close(inside, inside[:, :, :1, :1].expand_as(inside))


@pytest.mark.parametrize("image_px", [8, 12, 20, 48, 64])
def test_discriminator_gives_one_score_per_image(image_px):
    discriminator = StyleGAN2Discriminator(3, image_px, base_channels=2)
    scores = discriminator(torch.randn(3, 3, image_px, image_px))
    assert scores.shape == (3, 1) and len({float(s) for s in scores.detach().flatten()}) == 3
    # Halved until 3 to 5 px are left, as the authors' final layer for 4 px has it.
    assert 3 <= math.isqrt(discriminator.linear[0].weight.shape[1] // discriminator.linear[0].weight.shape[0]) <= 5


def test_discriminator_refuses_images_that_cannot_be_halved():
    with pytest.raises(ValueError, match="images of 4 px are too small"):
        StyleGAN2Discriminator(3, 4)


def test_the_papers_widths():
    """ngf 10 and ndf 8 at 64 px: the widths that their code computes, capped at 384 in D."""
    generator, discriminator = StyleGAN2Generator(), StyleGAN2Discriminator()
    assert generator.feature_channels((0, 1, 2, 5)) == [3, 80, 160, 160]
    widths = [layer.out_channels for layer in discriminator.layers]
    assert widths == [32, 64, 128, 256, 384, 384]
    assert discriminator.linear[0].weight.shape == (384, 384 * 16)


def test_initialisation_by_name_leaves_their_weights_alone():
    generator = small_generator()
    before = [p.clone() for p in generator.parameters()]
    initialise(generator, "normal", 0.02)
    assert all(torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))
