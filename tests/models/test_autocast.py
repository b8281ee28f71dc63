"""Networks made of the kernels, under autocast."""

import pytest
import torch
from fixed import formula_image

from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator


@pytest.mark.parametrize("affine", [False, True])
def test_networks_stay_in_bfloat16_and_in_one_layout_under_autocast(affine):
    seen = {}

    def look(module, inputs, output):
        seen.setdefault(type(module).__name__, set()).add(
            (output.dtype, output.is_contiguous(memory_format=torch.channels_last))
        )

    generator, discriminator = ResnetGenerator(base_channels=4, num_blocks=2), PatchDiscriminator(base_channels=4)
    if affine:
        generator = ResnetGenerator(base_channels=4, num_blocks=2, norm="instance_affine", padding="zero")
        discriminator = PatchDiscriminator(base_channels=4, norm="instance_affine")
    for layer in [*generator.layers[1:-1], *generator.layers[12].layers, *discriminator.layers[:-1]]:
        layer.register_forward_hook(look)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        discriminator(generator(formula_image(2, 3, 32)))
    kinds = {"AffineInstanceNorm", "ZeroPad2d"} if affine else {"InstanceNorm", "ReflectionPad"}
    assert kinds | {"Conv2d", "ReLU", "LeakyReLU", "BlurDownsample", "BlurUpsample"} <= {*seen}
    assert all(states == {(torch.bfloat16, True)} for states in seen.values()), seen
