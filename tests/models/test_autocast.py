"""Networks made of the kernels, under autocast."""

import torch
from fixed import formula_image

from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator


def test_networks_stay_in_bfloat16_and_in_one_layout_under_autocast():
    seen = {}

    def look(module, inputs, output):
        seen.setdefault(type(module).__name__, set()).add(
            (output.dtype, output.is_contiguous(memory_format=torch.channels_last))
        )

    generator, discriminator = ResnetGenerator(base_channels=4, num_blocks=2), PatchDiscriminator(base_channels=4)
    for layer in [*generator.layers[1:-1], *generator.layers[12].layers, *discriminator.layers[:-1]]:
        layer.register_forward_hook(look)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        discriminator(generator(formula_image(2, 3, 32)))
    assert {"Conv2d", "InstanceNorm", "ReLU", "LeakyReLU", "BlurDownsample", "BlurUpsample", "ReflectionPad"} <= {*seen}
    assert all(states == {(torch.bfloat16, True)} for states in seen.values()), seen
