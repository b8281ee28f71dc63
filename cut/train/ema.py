"""An exponential moving average of the networks that inference needs (as in Karras et al., ICLR 2018, section 6)."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from cut.methods.base import Method


class AveragedNetworks:
    """A slow copy of a method's inference networks: parameters are averaged, and so are batch norm's statistics.

    Those of the newest weights would not fit.

    Args:
        method: whose `inference_networks` are followed.
        decay: share of the old average kept per step; less in the first steps, min(decay, (1 + n) / (10 + n)), so that
            the untrained weights are soon forgotten.
    """

    def __init__(self, method: Method, decay: float):
        self.decay = decay
        self.networks = {name: copy.deepcopy(network) for name, network in method.inference_networks().items()}
        for network in self.networks.values():
            network.requires_grad_(False)

    @torch.no_grad()
    def update(self, method: Method, step: int) -> None:
        """Follows the method after its step number `step`, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, network in method.inference_networks().items():
            averaged = self.networks[name]
            torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), 1.0 - decay)
            for slow, fast in zip(averaged.buffers(), network.buffers(), strict=True):
                if slow.is_floating_point():
                    slow.lerp_(fast, 1.0 - decay)
                else:
                    slow.copy_(fast)

    @contextmanager
    def applied(self, method: Method) -> Iterator[None]:
        """Inside, the method's inference networks are the averaged ones."""
        own = method.inference_networks()
        for name, averaged in self.networks.items():
            averaged.train(method.training)
            setattr(method, name, averaged)
        try:
            yield
        finally:
            for name, network in own.items():
                setattr(method, name, network)

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors, with the names that they have in the method's own state."""
        return {
            f"{name}.{key}": value
            for name, network in self.networks.items()
            for key, value in network.state_dict().items()
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`; other keys are passed over, so that a method's own state starts an average."""
        for name, network in self.networks.items():
            prefix = f"{name}."
            network.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
