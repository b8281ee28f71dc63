"""Where pictures come from, and what is done to them before a network sees them."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, model_validator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from cut.config.bands import Bands, Channels, Range, ShownBands
from cut.config.loader import MOST_IMAGES, ClassNames, LoaderConfig, TransformConfig
from cut.config.own_code import is_own
from cut.config.section import OptionalPathText, PathText, Section, Unit
from cut.config.sides import MOST_PX, MULTIPLE_PX


class FolderConfig(TransformConfig):
    """Pictures of two domains, A and B."""

    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which domain is the source: AtoB translates A to B."""
    channels_a: Channels = 3
    """Channels of domain A on disk, whatever the direction: 3 colour, 1 gray, up to 64 of TIFF and .npy files."""
    channels_b: Channels = 3
    """Channels of domain B on disk, whatever the direction: 3 colour, 1 gray, up to 64 of TIFF and .npy files."""
    range_a: Range | None = None
    """Lowest and highest value of domain A, which become -1 and 1. null: 0 and the largest of 8 or 16 bits."""
    range_b: Range | None = None
    """Lowest and highest value of domain B, which become -1 and 1. null: 0 and the largest of 8 or 16 bits."""
    show_bands: ShownBands | None = None
    """Numbers, from 1, of the bands that sheets show as red, green and blue. null: the first three."""
    no_crop_in_decay: bool = False
    """Scale to crop_px without cropping while the learning rate decays, as the authors' code does."""

    @property
    def channels(self) -> dict[str, int]:
        on_disk = {"A": self.channels_a, "B": self.channels_b}
        return dict(zip("ab", (on_disk[domain] for domain in self.domains), strict=True))

    @property
    def bands(self) -> dict[str, Bands]:
        on_disk = {
            "A": Bands(self.channels_a, self.range_a, "a", self.show_bands),
            "B": Bands(self.channels_b, self.range_b, "b", self.show_bands),
        }
        return dict(zip("ab", (on_disk[domain] for domain in self.domains), strict=True))

    @model_validator(mode="after")
    def _shows_bands_that_are_there(self) -> "FolderConfig":
        most = min((n for n in (self.channels_a, self.channels_b) if n > 3), default=0)
        if self.show_bands and max(self.show_bands) > most:
            there = f"domains with more than 3 channels have {most}" if most else "no domain has more than 3 channels"
            raise ValueError(f"show_bands: {list(self.show_bands)}, but {there}")
        return self

    @property
    def domains(self) -> tuple[str, str]:
        return ("A", "B") if self.direction == "AtoB" else ("B", "A")

    def folders(self, split: str) -> tuple[Path, Path]:
        """The folders of a split: of the source and of the target domain, in the run's direction."""
        source, target = (Path(self.root) / f"{split}{domain}" for domain in self.domains)
        return source, target


class UnpairedDataConfig(FolderConfig):
    """Two folders of pictures per split: `<root>/{train,val,test}{A,B}`."""

    kind = "unpaired"

    name: Literal["unpaired"] = "unpaired"
    """Two folders of pictures that do not belong together, <root>/trainA and <root>/trainB."""
    root: OptionalPathText = ""
    """Folder of the data set; not needed where a and b name two folders."""
    a: PathText | None = None
    """Folder of domain A's training pictures, instead of <root>/trainA."""
    b: PathText | None = None
    """Folder of domain B's training pictures, instead of <root>/trainB."""
    held_back: Unit = 0.0
    """Share of each domain's training pictures that training leaves out, and that are the test split then."""
    match_colours: bool = False
    """Give domain A the mean and deviation per channel that domain B has, in training and in use, before G sees it."""
    masks: bool | None = None
    """Masks under the pictures' names in maskA (and maskB) beside trainA: white is translated. null: if there."""

    @model_validator(mode="after")
    def _colours_can_match(self) -> "UnpairedDataConfig":
        if self.match_colours and self.channels_a != self.channels_b:
            raise ValueError(
                f"match_colours: needs as many channels in both domains, got channels_a {self.channels_a} and "
                f"channels_b {self.channels_b}; make them equal, or leave match_colours out"
            )
        return self

    @model_validator(mode="after")
    def _names_folders(self) -> "UnpairedDataConfig":
        if bool(self.a) != bool(self.b):
            raise ValueError("a and b go together: give both folders, or neither")
        if not (self.root or self.a):
            raise ValueError("root: required, but not given (or a and b, two folders)")
        return self

    def folders(self, split: str) -> tuple[Path, Path]:
        if self.held_back and split == "test":
            split = "train"
        if self.a is None or self.b is None or (split != "train" and self.root):
            return super().folders(split)
        own = {"A": Path(self.a), "B": Path(self.b)}
        source, target = (own[domain] if split == "train" else own[domain] / split for domain in self.domains)
        return source, target

    def mask_folders(self) -> tuple[Path, Path]:
        """Where masks of the training pictures are, of the source and of the target domain."""
        folders = zip(self.folders("train"), self.domains, strict=True)
        source, target = (folder.parent / f"mask{domain}" for folder, domain in folders)
        return source, target


class TableConfig(Section):
    """Where one domain's pictures are in a data set of Hugging Face."""

    path: PathText
    """Parquet file, folder, or name on the hub (owner/name)."""
    split: str = "train"
    """Split, or a part of one: train[:500]."""
    column: str = "image"
    """Column of the pictures."""
    subset: str | None = None
    """Configuration of a data set that has several. null: the only one."""
    revision: str | None = None
    """Commit or tag on the hub, so that the pictures stay the same. null: the newest."""


class HuggingFaceDataConfig(FolderConfig):
    """Pictures of two domains in data sets of Hugging Face, read by the package `datasets`."""

    kind = "unpaired"

    name: Literal["huggingface"] = "huggingface"
    """Columns of pictures in data sets of Hugging Face, on this disk or on the hub."""
    root: Literal[""] = ""
    """Not used."""
    a: TableConfig
    """Pictures of domain A."""
    b: TableConfig
    """Pictures of domain B."""

    @property
    def tables(self) -> dict[str, TableConfig]:
        """The source domain's pictures `a` and the target domain's `b`, in the run's direction."""
        return dict(zip("ab", (getattr(self, domain.lower()) for domain in self.domains), strict=True))


class PairedDataConfig(FolderConfig):
    """Pairs per split: pictures A|B in `<root>/{train,val,test}`, or equal names in `<root>/{train,val,test}{A,B}`."""

    kind = "paired"

    name: Literal["paired"] = "paired"
    """Pairs, as pictures A|B in <root>/train, or under equal names in <root>/trainA and trainB."""


class ImagesDataConfig(TransformConfig):
    """One folder of any pictures, nested or not."""

    kind = "images"

    name: Literal["images"] = "images"
    """One folder of any pictures, nested or not."""
    batch_size: int = Field(128, ge=1, le=MOST_IMAGES)
    """Images per step, of all processes and micro-batches together."""
    num_channels: Literal[1, 3] = 3
    """Channels of the images: 3 colour; 1 makes the pictures gray."""
    preprocess: Literal["resize_and_crop", "crop", "scale_width_and_crop", "scale_shortside_and_crop"] = (
        "scale_shortside_and_crop"
    )
    """How pictures are scaled to load_px, and whether they are cropped then."""
    load_px: int = Field(64, ge=8, le=MOST_PX)
    """Side in pixels that a picture is scaled to before cropping."""
    crop_px: int = Field(64, ge=8, le=MOST_PX, multiple_of=MULTIPLE_PX)
    """Side of the square random crop in pixels, a multiple of 4."""

    @property
    def channels(self) -> dict[str, int]:
        return {"b": self.num_channels}


class LabelledDataConfig(ImagesDataConfig):
    """A folder per class: pictures of any names in `<root>/train/<class>`, to look at also in `<root>/test/<class>`."""

    kind = "labelled"

    name: Literal["labelled"] = "labelled"  # type: ignore[assignment]
    """A folder per class: <root>/train/<class>/*.png."""
    classes: ClassNames | None = Field(None, min_length=1)
    """Names of the classes, folders below <root>/train, in the order of their numbers. null: all, by their names."""

    @property
    def channels(self) -> dict[str, int]:
        return dict.fromkeys("ab", self.num_channels)  # of one class and of another


class IDXDataConfig(LoaderConfig):
    """A set in MNIST's format: `<root>/<split>-images-idx3-ubyte`, packed (.gz) or not."""

    kind = "idx"

    name: Literal["idx"] = "idx"
    """A set in MNIST's format, <root>/<split>-images-idx3-ubyte, packed (.gz) or not."""
    root: PathText
    """Folder of the data set."""
    split: str = Field("train", pattern=r"^[\w-]+$")
    """First word of the file's name; MNIST has train and t10k."""
    batch_size: int = Field(128, ge=1, le=MOST_IMAGES)
    """Images per step, of all processes and micro-batches together."""
    num_channels: Literal[1, 3] = 1
    """Channels of the images; 3 repeats the gray value."""
    max_megapixels: float = Field(4000.0, gt=0, le=1e6)
    """Largest file that is read, in millions of pixels of all its pictures together; MNIST has 47."""
    crop_px: int = Field(28, ge=8, le=MOST_PX, multiple_of=MULTIPLE_PX)
    """Side of the images in pixels, a multiple of 4; pictures of another size are scaled to it."""
    classes: ClassNames | None = Field(None, min_length=1)
    """Names of the classes by their labels, which methods with classes read. null: the labels themselves."""

    @property
    def channels(self) -> dict[str, int]:
        return dict.fromkeys("ab", self.num_channels)  # of one class and of another, where there are classes


class SingleDataConfig(LoaderConfig):
    """One picture per domain, of which each step takes crops at a random size: SinCUT's data."""

    kind = "single"

    name: Literal["single"] = "single"
    """One picture per domain, of which each step takes crops at a random size."""
    a: PathText
    """Path of the picture to translate."""
    b: PathText
    """Path of the picture whose style it takes on."""
    channels_a: Literal[1, 3] = 3
    """Channels of picture a: 3 colour, 1 gray."""
    channels_b: Literal[1, 3] = 3
    """Channels of picture b: 3 colour, 1 gray."""
    batch_size: int = Field(16, ge=1, le=MOST_IMAGES)
    """Crops per step, of all processes and micro-batches together."""
    load_px: int | None = Field(None, ge=8, le=MOST_PX)
    """Largest longer side in pixels; a larger picture is scaled down to it first. null: no limit."""
    crop_px: int = Field(64, ge=8, le=MOST_PX, multiple_of=MULTIPLE_PX)
    """Side of the square crops in pixels, a multiple of 4."""
    zoom_max: float = Field(3.0, ge=1, le=1000)
    """Largest factor by which width and height are each divided, drawn per step; 1 keeps the size."""
    crops_per_epoch: int = Field(100_000, ge=1, le=10**9)
    """Crops that make an epoch."""
    flip: bool = True
    """Mirror left and right with probability 1/2."""

    @property
    def channels(self) -> dict[str, int]:
        return {"a": self.channels_a, "b": self.channels_b}


def _or_own(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A section of a user's own kind of data has been validated by `cut.config.load`, which knows its class."""
    return value if isinstance(value, LoaderConfig) and is_own(value.name) else validate(value)


DataConfig = Annotated[
    UnpairedDataConfig
    | HuggingFaceDataConfig
    | PairedDataConfig
    | SingleDataConfig
    | ImagesDataConfig
    | LabelledDataConfig
    | IDXDataConfig,
    Field(discriminator="name"),
    WrapValidator(_or_own),
]
