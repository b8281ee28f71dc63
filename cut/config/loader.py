"""What the sections of all kinds of data have: how pictures are loaded, scaled and cropped."""

import unicodedata
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from cut.config.bands import Bands
from cut.config.section import PathText, Section
from cut.config.sides import CropSides, Sides, as_text, both_sides
from cut.errors import shown

MOST_IMAGES = 100_000  # in a batch
_MOST_CLASS_CHARACTERS = 100
Preprocess = Literal[
    "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside_and_crop", "none"
]


def require_class_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, which are those of folders, and end those of translations: `NAME_CLASS.png`.

    Raises:
        ValueError: One is no folder's name, or stands there twice.
    """
    seen: set[str] = set()
    for name in names:
        if name.strip() in ("", ".", "..") or len(name) > _MOST_CLASS_CHARACTERS or set(name) & set("/\\\0"):
            most = _MOST_CLASS_CHARACTERS
            raise ValueError(f"{shown(name)} is not the name of a class: a folder's, of at most {most} characters")
        if name == "all":
            raise ValueError("'all' is not the name of a class, because --label all means every class")
        if unicodedata.normalize("NFC", name) in seen:
            raise ValueError(f"{shown(name)} stands there twice")
        seen.add(unicodedata.normalize("NFC", name))
    return names


ClassNames = Annotated[tuple[str, ...], AfterValidator(require_class_names)]


class LoaderConfig(Section):
    """What the sections of all kinds of data have, and `crop_px`, the size of the images, whose default is each kind's.

    That of a kind of a user's own adds its fields.
    """

    kind: ClassVar[str]
    """What batches are like, by which methods say what they can learn from: the name of a built-in kind."""

    name: str
    """Kind of data: one of cut/data, or package.module:Class."""
    batch_size: int = Field(1, ge=1, le=MOST_IMAGES)
    """Images per step, of all processes and micro-batches together."""
    num_workers: int = Field(2, ge=0, le=256)
    """Processes that load pictures; 0 loads them in the training process."""
    max_megapixels: float = Field(179.0, gt=0, le=1e6)
    """Largest picture that is read, in millions of pixels: a small file can claim any size."""

    @model_validator(mode="before")
    @classmethod
    def _has_colours_to_match(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("match_colours") and "match_colours" not in cls.model_fields:
            raise ValueError(
                "match_colours: is for data of name unpaired, two folders whose colours differ; leave it out"
            )
        return values

    @property
    def channels(self) -> dict[str, int]:
        """Channels of the source domain `a` and of the target domain `b`, in the run's direction."""
        raise NotImplementedError

    @property
    def crop_sides(self) -> tuple[int, int]:
        """Height and width of the training images."""
        return both_sides(self.crop_px)  # type: ignore[attr-defined]

    @property
    def bands(self) -> dict[str, Bands]:
        """What the files of each domain hold; keys as of `channels`."""
        return {domain: Bands(count) for domain, count in self.channels.items()}

    @property
    def domains(self) -> tuple[str, str]:
        """What the source and the target domain are called on disk, in the run's direction."""
        return "A", "B"


class TransformConfig(LoaderConfig):
    """Pictures on disk, scaled, cropped and mirrored."""

    root: PathText
    """Folder of the data set."""
    preprocess: Preprocess = "resize_and_crop"
    """How pictures are scaled to load_px, and whether they are cropped then."""
    load_px: Sides = 286
    """Side in pixels that a picture is scaled to before cropping, or [height, width]."""
    crop_px: CropSides = 256
    """Side of the random crop in pixels, or [height, width]; multiples of 4, because the generators halve it twice."""
    flip: bool = True
    """Mirror left and right with probability 1/2."""
    cache_mib: int = Field(2048, ge=0)
    """Size in MiB of the cache of scaled pictures in the user's cache folder; 0 keeps none."""

    @model_validator(mode="after")
    def _crop_fits(self) -> "TransformConfig":
        if self.preprocess in ("resize_and_crop", "scale_width_and_crop", "scale_shortside_and_crop"):
            if not self._holds_crop():
                raise ValueError(
                    f"load_px ({as_text(self.load_px)}) must be at least crop_px ({as_text(self.crop_px)})"
                )
        elif self.preprocess in ("none", "scale_width") and self.batch_size > 1:
            raise ValueError(f"preprocess {self.preprocess} leaves pictures of several sizes, so batch_size must be 1")
        if isinstance(self.load_px, tuple) and self.preprocess.startswith("scale_width"):
            raise ValueError(f"load_px: is the width alone with preprocess {self.preprocess}, so give one number")
        return self

    def _holds_crop(self) -> bool:
        """Whether pictures that were scaled to load_px can hold the crop, as far as that does not depend on them."""
        (height, width), (crop_height, crop_width) = both_sides(self.load_px), self.crop_sides
        if self.preprocess == "scale_width_and_crop":
            return width >= crop_width
        if self.preprocess == "scale_shortside_and_crop" and not isinstance(self.load_px, tuple):
            return height >= min(crop_height, crop_width)
        return height >= crop_height and width >= crop_width
