"""Scores translations between classes (DeepI2I) against real pictures of these classes.

    python scripts/class_scores.py --real datasets/glyphs/target --sources datasets/glyphs/target/test \\
        --translations results/capitals --output results/capitals.json

- rc: accuracy of a classifier, trained on real pictures, on the translations; higher is better;
- fc: accuracy on real test pictures of one that was trained on the translations; higher is better;
- frechet: Frechet distance of the first classifier's features to those of real test pictures, per class, averaged;
- ground_kept, glyph_kept: correlation of the colours of a source and its translation, at the border and of what stands
  out from it, over pictures and channels: 1 where they are kept, 0 where they are others;
- tilt_kept: correlation of the tilt of a source and its translation, as seen by a network that was trained to tell how
  far real pictures were turned, so that nobody need know the tilt of a picture.

The classifier is a small network of three convolutions; `judge` is its own accuracy on real test pictures. `tilt_judge`
is the other network's: the correlation of a turn of real test pictures with the change that it sees.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.cli import check_json_file, run, write_json_file
from cut.config import LabelledDataConfig
from cut.data.images import list_images, read_image
from cut.data.labelled import LabelledStream, beside_classes
from cut.errors import UserError, shortened
from cut.metrics.fid import feature_statistics, frechet_distance
from cut.runtime.seeding import seed_all
from cut.terminal import say

_SIDE_PX, _FEATURES, _BATCH = 32, 64, 32
_TURN_DEGREES = 20.0  # largest, either way, of what is turned to learn tilt


class Classifier(nn.Module):
    """Three convolutions, each halving the size, and one linear layer over `features`."""

    def __init__(self, num_classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in ((3, 16), (16, 32), (32, _FEATURES)):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(_FEATURES * 16, _FEATURES), nn.ReLU())
        self.last = nn.Linear(_FEATURES, num_classes)

    def features(self, image: Tensor) -> Tensor:
        return self.layers(image)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(self.features(image))


def read(paths: Sequence[Path]) -> Tensor:
    """Pictures as `(N, 3, 32, 32)` in [-1, 1]."""
    images = torch.stack([torch.from_numpy(read_image(path, 3)).permute(2, 0, 1).float() for path in paths])
    return F.interpolate(images / 127.5 - 1.0, (_SIDE_PX, _SIDE_PX), mode="bilinear", antialias=True)


def read_classes(folder: Path, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Pictures and labels of a folder per class."""
    paths = [(path, label) for label, name in enumerate(classes) for path in list_images(folder / name)]
    return read([path for path, _ in paths]), torch.tensor([label for _, label in paths])


def read_translations(folder: Path, sources: Path, classes: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Translations that `cut-test --label all` wrote, the classes that were asked for, and their sources."""
    paths, labels, found = list_images(folder), [], []
    of_path = {path.relative_to(sources).with_suffix(""): path for path in list_images(sources)}
    for path in paths:
        asked = [name for name in classes if path.stem.endswith(f"_{name}")]
        stems = [(path.stem.removesuffix(f"_{name}"), name) for name in sorted(asked, key=len, reverse=True)]
        places = [(path.relative_to(folder).with_name(stem), name) for stem, name in stems if stem]
        made_from = next(((of_path[place], name) for place, name in places if place in of_path), None)
        if made_from is None:
            raise UserError(
                f"{path}: is named after no picture of {sources} and a class ({shortened(', '.join(classes))}); make "
                "translations with cut-test --label all, one output each"
            )
        found.append(made_from[0])
        labels.append(classes.index(made_from[1]))
    return read(paths), torch.tensor(labels), read(found)


def train(images: Tensor, labels: Tensor, num_classes: int, steps: int, seed: int) -> Classifier:
    """A classifier of these pictures, set for inference."""
    return _fit(
        num_classes, lambda network, i: F.cross_entropy(network(images[i]), labels[i]), len(images), steps, seed
    )


def train_tilt(images: Tensor, steps: int, seed: int) -> Classifier:
    """A network whose one output is the tilt of a picture as a share of the largest turn, set for inference."""

    def loss(network: Classifier, chosen: Tensor) -> Tensor:
        turns = 2.0 * torch.rand(len(chosen)) - 1.0
        return F.mse_loss(network(turned(images[chosen], turns))[:, 0], turns)

    return _fit(1, loss, len(images), steps, seed)


def _fit(outputs: int, loss: Callable[[Classifier, Tensor], Tensor], count: int, steps: int, seed: int) -> Classifier:
    seed_all(seed)
    network = Classifier(outputs)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(network, torch.randint(count, (_BATCH,))).backward()
        optimizer.step()
    return network.eval()


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Pictures `(N, C, H, W)` turned about their centres by shares `(N,)` of the largest turn; their border goes on."""
    angle, zero = torch.deg2rad(_TURN_DEGREES * turns), torch.zeros(len(turns))
    matrix = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.inference_mode()
def accuracy(network: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of pictures that the classifier takes for their class."""
    return (network(images).argmax(1) == labels).float().mean().item()


@torch.inference_mode()
def frechet_per_class(network: Classifier, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> float:
    """Mean over classes."""
    distances = []
    for label in real[1].unique():
        mine = [network.features(images[labels == label]).numpy() for images, labels in (real, fake)]
        distances.append(frechet_distance(*feature_statistics([mine[0]]), *feature_statistics([mine[1]])))
    return float(np.mean(distances))


def colours(images: Tensor) -> tuple[Tensor, Tensor]:
    """Colour `(N, 3)` of the border, and of the tenth of the pixels that differ most from it."""
    ground = torch.cat([images[:, :, 0], images[:, :, -1]], 2).median(2).values
    pixels = images.flatten(2)
    distance = (pixels - ground[:, :, None]).square().sum(1)
    furthest = distance.topk(pixels.shape[2] // 10, dim=1).indices
    return ground, pixels.gather(2, furthest[:, None].expand(-1, 3, -1)).mean(2)


def correlation(one: Tensor, other: Tensor) -> float:
    """Of two sets of colours `(N, 3)`, or of other numbers, each channel about its mean."""
    a, b = (tensor - tensor.mean(0) for tensor in (one, other))
    return ((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-9)).item()


@torch.inference_mode()
def tilt_scores(network: Classifier, test: Tensor, sources: Tensor, images: Tensor) -> dict[str, float]:
    """`tilt_judge` and `tilt_kept`."""
    turns = torch.linspace(-1.0, 1.0, len(test))[torch.randperm(len(test))]
    seen = network(turned(test, turns)) - network(test)
    return {
        "tilt_judge": correlation(turns[:, None], seen),
        "tilt_kept": correlation(network(sources), network(images)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the scores, and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--sources", type=Path, required=True, help="what was given to cut-test --input")
    parser.add_argument("--translations", type=Path, required=True, help="what cut-test --label all wrote")
    parser.add_argument("--steps", type=int, default=600, help="of the classifiers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args(arguments)
    check_json_file(str(args.output))
    classes = LabelledStream.find_classes(LabelledDataConfig(root=str(args.real)))
    for split in ("train", "test"):
        if line := beside_classes(args.real / split, classes):
            say(f"class_scores: note: {line}")
    test = read_classes(args.real / "test", classes)
    real = read_classes(args.real / "train", classes)
    judge = train(*real, len(classes), args.steps, args.seed)
    images, labels, sources = read_translations(args.translations, args.sources, classes)
    student = train(images, labels, len(classes), args.steps, args.seed)
    kept = [correlation(one, other) for one, other in zip(colours(sources), colours(images), strict=True)]
    scores = {
        "judge": accuracy(judge, *test),
        "rc": accuracy(judge, images, labels),
        "fc": accuracy(student, *test),
        "frechet": frechet_per_class(judge, test, (images, labels)),
        "ground_kept": kept[0],
        "glyph_kept": kept[1],
        **tilt_scores(train_tilt(real[0], args.steps, args.seed), test[0], sources, images),
        "num_translations": len(images),
    }
    write_json_file(str(args.output), scores)
    print(", ".join(f"{name} {value:.3g}" for name, value in scores.items()), file=sys.stdout)


if __name__ == "__main__":
    run("class_scores", main)
