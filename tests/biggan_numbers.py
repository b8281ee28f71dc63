"""Golden numbers of BigGAN's networks: the authors' state dicts, and what our layers call their tensors."""

import math

from torch import nn

from cut.config import AdamConfig

# Rates and terms of the authors' 128 px script; the numbers were made with them.
ADAM = AdamConfig(lr=1e-4, betas=(0.0, 0.999), eps=1e-6, per_player={"discriminator": {"lr": 4e-4}})


def in_our_names(weights):
    """The authors' state dict; batch norm's numbers are kept by torch's layer here."""
    renamed = {}
    for key, value in weights.items():
        own = key.replace(".stored_mean", ".norm.running_mean").replace(".stored_var", ".norm.running_var")
        own = own.replace("output_layer.0.norm.", "output_layer.0.").replace(
            "output_layer.0.gain", "output_layer.0.weight"
        )
        renamed[own] = value.double() if value.is_floating_point() else value
    return renamed


def unpacked(numbers, name, vector):
    """The authors' state dict out of one vector."""
    shapes = numbers["keys"][name]
    parts = vector.split([math.prod(shape) for shape in shapes.values()])
    return {key: part.view(shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}


def load(network: nn.Module, weights):
    missing, unexpected = network.load_state_dict(in_our_names(weights), strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    return network
