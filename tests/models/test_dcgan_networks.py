"""Networks that make images from noise, and those that judge them."""

import pytest
import torch
from torch import nn

from cut.models.dcgan import DCGANDiscriminator, DCGANGenerator, start_and_doublings
from cut.models.initialisation import initialise
from cut.models.noise_map_generator import NoiseMapGenerator
from cut.models.vgg_discriminator import VGG16Discriminator


def layers(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("image_px", [8, 28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_the_size_asked_for_and_one_score_each(image_px, channels):
    generator = DCGANGenerator(5, channels, image_px, base_channels=2)
    image = generator(torch.randn(2, 5))
    assert image.shape == (2, channels, image_px, image_px) and image.abs().max() <= 1
    assert DCGANDiscriminator(channels, image_px, base_channels=2)(image).shape == (2, 1)
    assert VGG16Discriminator(channels, image_px, base_channels=2)(image).shape == (2, 1)


def test_generator_has_the_widths_of_the_papers_figure():
    convolutions = layers(DCGANGenerator(100, 3, 64), nn.ConvTranspose2d)
    assert [c.in_channels for c in convolutions] == [100, 1024, 512, 256, 128]
    assert convolutions[0].kernel_size == (4, 4) and convolutions[-1].out_channels == 3


def test_batch_norm_is_absent_where_the_paper_leaves_it_out():
    generator, discriminator = DCGANGenerator(5, 1, 32, 2).layers, DCGANDiscriminator(1, 32, 2).layers
    assert [type(layer).__name__ for layer in generator[-2:]] == ["ConvTranspose2d", "Tanh"]
    assert [type(layer).__name__ for layer in discriminator[:3]] == ["Conv2d", "LeakyReLU", "Conv2d"]
    assert [type(layer).__name__ for layer in discriminator[-2:]] == ["Conv2d", "Flatten"]
    assert len(layers(generator, nn.BatchNorm2d)) == 3 and len(layers(discriminator, nn.BatchNorm2d)) == 2


@pytest.mark.parametrize("image_px, expected", [(28, (7, 2)), (32, (4, 3)), (64, (4, 4)), (48, (6, 3))])
def test_sizes_start_from_a_small_map(image_px, expected):
    assert start_and_doublings(image_px) == expected


@pytest.mark.parametrize("image_px", [4, 36, 44, 100 * 11])
def test_other_sizes_are_refused_with_those_allowed(image_px):
    with pytest.raises(ValueError, match=f"{image_px} does not suit .* 28, 32, 64 or 128"):
        DCGANDiscriminator(1, image_px)


def test_noise_map_generator_knows_where_in_the_image_it_is():
    """The same noise everywhere does not give the same pixels everywhere: borders of zeros are seen from afar."""
    torch.manual_seed(0)
    generator = initialise(NoiseMapGenerator(1, 28, base_channels=4, num_blocks=3), "kaiming").eval()
    with torch.inference_mode():
        image = generator(torch.ones(1, 784))
        other = generator(torch.randn(1, 784))
    assert image.shape == (1, 1, 28, 28) and image.abs().max() <= 1
    middle = image[0, 0, 8:20, 8:20].unflatten(0, (3, 4)).unflatten(2, (3, 4))  # (3, 4, 3, 4): 4-px tiles
    assert (middle[0, :, 0] - middle[1, :, 1]).abs().max() > 1e-3
    assert (image - other).abs().max() > 1e-2


def test_vgg16_is_configuration_d():
    """At 224 px and 3 channels: 138 million parameters (table 2), less those of 999 classes."""
    with torch.device("meta"):
        network = VGG16Discriminator(3, 224)
    assert len(layers(network, nn.Conv2d)) == 13 and len(layers(network, nn.Linear)) == 3
    assert sum(p.numel() for p in network.parameters()) == 138_357_544 - 999 * 4097


def test_vgg16_equals_torchvisions_with_the_same_weights():
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    ours = VGG16Discriminator(3, 64, base_channels=64, norm="batch").eval()
    theirs = make_layers(cfgs["D"], batch_norm=True).eval()
    mine = [m for m in ours.layers if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    for a, b in zip(mine, layers(theirs, (nn.Conv2d, nn.BatchNorm2d)), strict=True):
        b.load_state_dict(a.state_dict() | ({"bias": torch.zeros(b.out_channels)} if isinstance(b, nn.Conv2d) else {}))
    image = torch.randn(1, 3, 64, 64)
    features = ours.layers[: [type(layer) for layer in ours.layers].index(nn.Flatten)]
    with torch.inference_mode():
        torch.testing.assert_close(features(image), theirs(image))
