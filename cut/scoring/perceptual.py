"""LPIPS, through the package of its authors."""

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cut.errors import UserError
from cut.scoring.torchscript import first_line
from cut.storage.files import why_unreadable
from cut.storage.public_weights import hub_file
from cut.storage.torch_file import read_torch_file

LPIPS_SMALLEST_PX = 64  # which AlexNet's poolings leave anything of
_BACKBONE_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"


class Lpips(nn.Module):
    """Learned perceptual distance, 0 for equal pictures: Zhang et al., CVPR 2018, eq. 1, version 0.1 with AlexNet.

    The linear weights come with the package `lpips`. AlexNet's are never downloaded: they must be at hand.

    Args:
        backbone: torchvision's weights of AlexNet; None takes them from torch.hub's folder (which TORCH_HOME moves).

    Raises:
        UserError: the package or the weights are missing, or the file holds something else.
    """

    def __init__(self, backbone: Path | None = None):
        super().__init__()
        path = Path(backbone) if backbone else default_backbone()
        if not path.is_file():
            raise UserError(
                f"lpips: {path}: {why_unreadable(path)}; put {_BACKBONE_URL} there (cut-eval also takes "
                "--lpips-backbone FILE), or leave lpips out of the metrics"
            )
        try:
            weights = read_torch_file(path)
            backbone_weights = {name: value for name, value in weights.items() if name.startswith("features.")}
            if not backbone_weights:
                raise KeyError("no key starts with features.")
            self.network = _network(backbone_weights)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  a broken file raises RuntimeError, UnpicklingError, EOFError, ...
            raise UserError(
                f"lpips: {path}: does not hold torchvision's weights of AlexNet ({first_line(error)}); "
                f"replace it by {_BACKBONE_URL}"
            ) from None

    @torch.inference_mode()
    def forward(self, image: np.ndarray, target: np.ndarray) -> float:
        """The distance of two pictures `(H, W, 3)` in [0, 1]; both sides of `LPIPS_SMALLEST_PX` or more.

        Raises:
            UserError: the picture is too small for AlexNet.
        """
        height, width, _ = image.shape
        if min(height, width) < LPIPS_SMALLEST_PX:
            raise UserError(
                f"picture of {width}x{height} px is smaller than the {LPIPS_SMALLEST_PX} px of lpips; leave the metric "
                "out"
            )
        device = next(self.network.parameters()).device
        pair = [torch.from_numpy(a).float().permute(2, 0, 1)[None].to(device) * 2.0 - 1.0 for a in (image, target)]
        return float(self.network(*pair))  # (1, 1, 1, 1)


def default_backbone() -> Path:
    """Where torch.hub keeps AlexNet's weights."""
    return hub_file(_BACKBONE_URL)


def _network(weights: dict[str, torch.Tensor]) -> nn.Module:
    """The package's network, with these weights in its AlexNet."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # it calls torchvision in an old way
            import lpips

            # pnet_rand keeps it from downloading AlexNet.
            network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    except ImportError:
        raise UserError("lpips: its package is not installed; pip install 'cut[lpips]'") from None
    # In slices, the layers keep torchvision's numbers: slice2.3 is features.3.
    names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
    network.net.load_state_dict({name: weights[theirs] for name, theirs in names.items()})
    return network
