"""Public data sets: where they are, what they hold, and the command that fetches one.

Archives come from the authors of CycleGAN, CUT and pix2pix; MNIST, Fashion-MNIST and what lies in the repository of
CUT are single files.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

_SERVER = "https://efrosgans.eecs.berkeley.edu"


@dataclass(frozen=True)
class Dataset:
    """One public data set; `address` is None where its licence forbids others to hand it out."""

    name: str
    address: str | None  # of the archive, or of the folder of `files`
    layout: Literal["unpaired", "aligned", "single", "idx"]
    size_mb: int | None  # of what is fetched, about; None where nobody has published it
    holds: str
    files: Mapping[str, str] = field(default_factory=dict)  # path -> MD5, where it is no archive


def _unpaired(name: str, size_mb: int | None, holds: str) -> Dataset:
    return Dataset(name, f"{_SERVER}/cyclegan/datasets/{name}.zip", "unpaired", size_mb, holds)


def _aligned(name: str, size_mb: int | None, holds: str) -> Dataset:
    archive = name.removesuffix("_aligned")  # two names exist in both layouts
    return Dataset(name, f"{_SERVER}/pix2pix/datasets/{archive}.tar.gz", "aligned", size_mb, holds)


_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_MNIST_MD5 = (
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
_FASHION_MD5 = (
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)


def _idx(name: str, address: str, md5: tuple[str, ...], size_mb: int, holds: str) -> Dataset:
    return Dataset(name, address, "idx", size_mb, holds, dict(zip(_IDX_FILES, md5, strict=True)))


_TABLE = (
    _unpaired("horse2zebra", 117, "horses -> zebras, from ImageNet"),
    _unpaired("grumpifycat", None, "88 Russian Blue cats -> 214 pictures of Grumpy Cat; no test pictures"),
    _unpaired("maps", 1477, "aerial photographs -> Google Maps, 1096 of each for training"),
    _unpaired("facades", 35, "photographs of facades -> label maps, 400 of each for training"),
    Dataset(
        "cityscapes", None, "unpaired", 11_600, "street photographs -> label maps; from its owners, after registration"
    ),
    _unpaired("summer2winter_yosemite", 133, "Yosemite in summer -> in winter, from Flickr"),
    _unpaired("monet2photo", 305, "paintings by Monet -> landscape photographs"),
    _unpaired("cezanne2photo", 280, "paintings by Cezanne -> landscape photographs"),
    _unpaired("ukiyoe2photo", 293, "ukiyo-e prints -> landscape photographs"),
    _unpaired("vangogh2photo", 307, "paintings by Van Gogh -> landscape photographs"),
    _unpaired("apple2orange", 78, "apples -> oranges, from ImageNet"),
    _unpaired("iphone2dslr_flower", 340, "flowers by telephone -> by SLR camera (shallow depth of field)"),
    _unpaired("ae_photos", 10, "photographs to try the painting models on; test pictures only"),
    _aligned("facades_aligned", 31, "photograph | label map, 400 pairs for training"),
    _aligned("maps_aligned", 246, "aerial photograph | Google Maps, 1096 pairs for training"),
    _aligned("edges2shoes", 2200, "edges | shoe, 50,000 pairs for training"),
    _aligned("edges2handbags", 8600, "edges | handbag, 137,000 pairs for training"),
    _aligned("night2day", 1900, "night | day of the same place, about 20,000 pairs"),
    Dataset(
        "single_image_monet_etretat",
        "https://raw.githubusercontent.com/taesungp/contrastive-unpaired-translation/"
        "b3ac297708dfb6f7589d04662277e53c0d579c27/datasets/single_image_monet_etretat",
        "single",
        1,
        "one painting by Monet -> one photograph of the same cliffs, for SinCUT",
        {
            "trainA/monet.jpg": "49087f75e98085bcf0e5da43aee279a2",
            "trainB/etretat-normandy-france.jpg": "275083514c9288e9846b572e2761ee72",
        },
    ),
    _idx(
        "mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        _MNIST_MD5,
        12,
        "handwritten digits, 28 px, gray; 60,000 for training",
    ),
    _idx(
        "fashion_mnist",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",  # has no https; the checksums guard it
        _FASHION_MD5,
        31,
        "clothes in MNIST's format, 60,000 for training",
    ),
)
DATASETS = {dataset.name: dataset for dataset in _TABLE}


def fetch_command(root: str, paired: bool = False) -> str | None:
    """The command that fetches the data of a config's `root`, or None where we know none.

    Args:
        root: whose last part is the name of a data set.
        paired: the training needs pairs, so unpaired sets are of no use; else the other way round.

    >>> fetch_command("datasets/horse2zebra")
    'cut-data download horse2zebra'
    >>> fetch_command("/data/maps")
    'cut-data download maps --output /data'
    >>> fetch_command("datasets/earth2map_paired", paired=True)
    'cut-data earth2map --paired --output datasets/earth2map_paired'
    """
    path = PurePath(root)
    if path.name in ("earth2map", "earth2map_paired"):
        option = " --paired" if paired or path.name == "earth2map_paired" else ""
        return f"cut-data earth2map{option} --output {shlex.quote(str(path))}"
    if path.name == "animals":
        return f"cut-data animals --output {shlex.quote(str(path))}"
    if path.name in ("source", "target") and path.parent.name == "glyphs":
        return f"cut-data glyphs --output {shlex.quote(str(path.parent))}"
    if path.name not in DATASETS or (DATASETS[path.name].layout == "aligned") != paired:
        return None
    parent = str(path.parent)
    return f"cut-data download {path.name}" + ("" if parent == "datasets" else f" --output {shlex.quote(parent)}")
