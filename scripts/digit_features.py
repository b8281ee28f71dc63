"""Trains a small network to read the digits of a set in MNIST's format, and exports its 64 features as TorchScript.

    cut-data download mnist
    python scripts/digit_features.py datasets/mnist datasets/features/digits.pt datasets/mnist_test

The last folder gets the pictures of the test split, for `cut-eval --target`. FID's Inception and other networks for
photographs know little of digits of 28 px; this one tells whether generated digits are digits, and whether all ten
occur.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.config import IDXDataConfig
from cut.data.idx import IDXStream
from cut.data.images import write_image

_EPOCHS, _BATCH_SIZE, _LR = 8, 64, 1e-3
_SHIFT_PX = 2  # by which each batch is moved at most, along either side


class DigitFeatures(nn.Module):
    """Two convolutions and a linear layer; `scores` reads the digit from the features."""

    def __init__(self, image_px: int):
        super().__init__()
        side = -(-image_px // 4)  # halved twice, rounded up
        self.layers = nn.Sequential(
            nn.Conv2d(1, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(24, 48, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * side**2, 64),
            nn.ReLU(),
        )
        self.scores = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] -> `(N, 64)`."""
        return self.layers(images.mean(1, keepdim=True) * 2.0 - 1.0)


def main(root: str, features: str, pictures: str) -> float:
    """Writes the network and the test pictures.

    Returns:
        Share of the test pictures that the network reads rightly.
    """
    train, test = (_read(root, split) for split in ("train", "t10k"))
    images, labels = _tensors(train)
    torch.manual_seed(0)
    network = DigitFeatures(images.shape[-1])
    optimizer = torch.optim.Adam(network.parameters(), _LR)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(images)).split(_BATCH_SIZE):
            shift = torch.randint(-_SHIFT_PX, _SHIFT_PX + 1, (2,)).tolist()
            scores = network.scores(network(images[rows].roll(shift, (2, 3))))
            optimizer.zero_grad()
            F.cross_entropy(scores, labels[rows]).backward()
            optimizer.step()
    network.eval()
    for folder in (Path(features).parent, Path(pictures)):
        folder.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        torch.jit.script(network).save(features)
        images, labels = _tensors(test)
        rightly = (network.scores(network(images)).argmax(1) == labels).float().mean().item()
    for number, picture in enumerate(test.pictures):
        write_image(Path(pictures) / f"{number:05d}.png", picture[:, :, None])
    return rightly


def _read(root: str, split: str) -> IDXStream:
    return IDXStream(IDXDataConfig(root=root, split=split, classes=tuple("0123456789")), seed=0)


def _tensors(stream: IDXStream) -> tuple[Tensor, Tensor]:
    """Images `(N, 3, H, W)` in [0, 1], and labels `(N,)`."""
    images = torch.tensor(stream.pictures).float().div(255.0)[:, None].expand(-1, 3, -1, -1)
    return images, torch.tensor(stream.labels).long()


if __name__ == "__main__":
    print(f"{sys.argv[2]}: reads {main(*sys.argv[1:]):.1%} of the test digits rightly")
