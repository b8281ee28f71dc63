"""torch.compile for a method's networks."""

import torch
from torch import nn

_ENTRIES = ("forward", "forward_with_features", "encode")  # what methods call of a network


def compile_networks(method: nn.Module, backend: str = "inductor") -> None:
    """Compiles each network when it is first called; where that fails, it runs as it is, and torch's log says so.

    Names of weights stay as they are. Compiled instances cannot be copied.
    """
    torch._dynamo.config.suppress_errors = True
    for network in method.children():
        if any(True for _ in network.parameters()):
            for name in _ENTRIES:
                if hasattr(network, name):
                    setattr(network, name, torch.compile(getattr(network, name), dynamic=False, backend=backend))
