"""Exports EfficientNet-Lite0, trained on ImageNet, as a TorchScript file, for other programs and other machines.

    pip install "cut[features]"
    python scripts/efficientnet_features.py datasets/features/efficientnet_lite0.pt

cut-eval and cut-compare need no such file: --features efficientnet_lite0 is the same network.
"""

import sys
from pathlib import Path

import torch

from cut.scoring.feature_networks import PackagedFeatures


def main() -> None:
    output = Path(sys.argv[1])
    output.parent.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        traced = torch.jit.trace(PackagedFeatures("efficientnet_lite0"), torch.rand(2, 3, 128, 128))
    traced.save(output)
    print(output)


if __name__ == "__main__":
    main()
