"""The pictures by which a run is scored: the test or val split of its data, as folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from cut.config import DataConfig, FolderConfig, PairedDataConfig, SingleDataConfig, UnpairedDataConfig
from cut.data.images import copy_picture, evenly_chosen, images_if_any, list_images, read_image, write_image
from cut.data.numbers import number_type, suffix_for, to_stored
from cut.data.paired import find_pairs, list_of_pairs, read_pair
from cut.data.picture_list import PictureList
from cut.data.scale import scale_as_in_training
from cut.data.single import require_picture
from cut.data.stream import SampleStream
from cut.data.transforms import resized, to_float, to_picture
from cut.data.unpaired import list_of_domains, pictures_of_split
from cut.errors import UserError, listed
from cut.storage.written import is_foreign, list_beside, remove_own

NUM_FROM_NOISE = 1000  # images drawn, and training pictures to compare them with, where nobody says how many


@dataclass(frozen=True)
class EvaluationSet:
    """What to translate and what it should look like; `inputs` is None where a method draws from noise.

    With `has_style`, `targets` shows only in which style: other contents, so that pixels cannot be compared.
    """

    inputs: Path | None
    targets: Path
    has_style: bool = False


@dataclass(frozen=True)
class TranslationSet(EvaluationSet):
    """The same of a method that translates."""

    inputs: Path


def evaluation_set(config: DataConfig, folder: Path, split: str, num_images: int | None = None) -> TranslationSet:
    """The folders of a split, in the run's direction.

    Args:
        config: of the data.
        folder: where pictures are written that are no files of their own: halves of pairs, a chosen part.
        split: `test` or `val`.
        num_images: so many inputs, evenly chosen; all targets stay. None takes all.

    Raises:
        UserError: there is no such split; it cannot be read or written.
    """
    check_split(config, split)
    if config.kind == "paired":
        found = _of_pairs(cast(PairedDataConfig, config), folder, split)
    else:
        found = _of_folders(cast(FolderConfig, config), split, folder)
    _refuse_equal_names(list_images(found.inputs))
    return _choose(found, folder / "inputs", num_images) if num_images else found


def check_split(config: DataConfig, split: str) -> None:
    """Refuses a split that cannot be scored, before anything is written; the line says what can be done.

    Raises:
        UserError: it has no pictures, or is not in pairs.
    """
    if config.kind == "single":
        raise UserError("eval: two single pictures have no test split to score; set eval=null")
    if not isinstance(config, FolderConfig) or config.name == "huggingface":  # or a kind of a user's own
        raise UserError(f"eval: data.name {config.name} has no folders of test pictures to score; set eval=null")
    assert config.kind in ("paired", "unpaired"), "images without inputs have a `noise_evaluation_set`"
    other = "test" if split == "val" else "val"
    try:
        _find_split(config, split)
    except UserError as error:
        try:
            _find_split(config, other)
            instead = f"set eval.split={other}"
        except UserError:
            instead = "set eval=null, which scores nothing"
        raise UserError(f"eval: {error}; put pictures there, or {instead}") from None


def _find_split(config: FolderConfig, split: str) -> None:
    if config.kind == "paired":
        find_pairs(cast(PairedDataConfig, config), split)
    else:
        for part in pictures_of_split(config, split):
            if not part:
                raise UserError(f"data.held_back {getattr(config, 'held_back', 0)}: leaves no picture to score")


def noise_evaluation_set(stream: SampleStream, folder: Path, num_images: int | None) -> EvaluationSet:
    """The first training pictures, cropped as they are trained on, for a method that draws from noise."""
    targets = folder / "targets"
    empty_folder(targets)
    for n in range(min(num_images or NUM_FROM_NOISE, stream.num_pictures)):
        sample = stream[n]
        if isinstance(sample, UserError):
            raise sample
        write_image(targets / f"{n:05}.png", to_picture(sample["real"]), checked=True)
    return EvaluationSet(None, targets)


def single_evaluation_set(config: SingleDataConfig, folder: Path) -> TranslationSet:
    """Picture a, at most as large as `data.load_px` allows, and picture b at its size and under its name.

    Raises:
        UserError: a picture is missing or broken, or cannot be written.
    """
    found = TranslationSet(folder / "inputs", folder / "targets", has_style=True)
    photo, painting = (read_image(require_picture(config, domain), config.channels[domain]) for domain in ("a", "b"))
    if config.load_px and max(photo.shape[:2]) > config.load_px:
        photo = scale_as_in_training(photo, config, config.load_px)
    height, width = photo.shape[:2]
    painting = np.ascontiguousarray(to_picture(to_float(resized(painting, (height, width)))))
    for part, picture in ((found.inputs, photo), (found.targets, painting)):
        empty_folder(part)
        write_image(part / Path(config.a).with_suffix(".png").name, picture, checked=True)
    return found


def list_of_split(config: DataConfig, split: str) -> PictureList:
    """Which pictures a run is scored on; none where they are training pictures, or missing, which scoring reports."""
    try:
        if isinstance(config, UnpairedDataConfig):
            return list_of_domains(config, split, pictures_of_split(config, split))
        if isinstance(config, PairedDataConfig):
            return list_of_pairs(config, split, find_pairs(config, split))
    except UserError:
        pass
    return {}


def require_own_pictures(folder: Path, kind: str = "") -> None:
    """Refuses a folder for pictures of an evaluation that holds others, which would be scored with them.

    Args:
        folder: Folder; it need not exist.
        kind: As what they are written, see `cut.storage.written.mark`.

    Raises:
        UserError: so it does.
    """
    list_beside(folder, kind=kind)
    foreign = [path for path in images_if_any(folder) if is_foreign(path)]
    if foreign:
        raise UserError(
            f"{listed(foreign)}: would be scored, but is no picture that this program wrote, or was changed "
            "since; move it to another folder"
        )


def empty_folder(folder: Path, kind: str = "") -> None:
    """Deletes what an earlier evaluation wrote into a folder.

    Args:
        folder: Folder; it need not exist.
        kind: As what it was written, see `cut.storage.written.mark`.

    Raises:
        UserError: see `require_own_pictures`.
    """
    require_own_pictures(folder, kind)
    remove_own(folder)


def _of_folders(config: FolderConfig, split: str, folder: Path) -> TranslationSet:
    if not (getattr(config, "held_back", 0.0) and split == "test"):
        return TranslationSet(*config.folders(split))
    parts = TranslationSet(folder / "inputs", folder / "targets")  # of those that training leaves out
    domains = zip((parts.inputs, parts.targets), config.folders(split), pictures_of_split(config, split), strict=True)
    for part, source, paths in domains:
        empty_folder(part)
        for path in paths:
            copy_picture(path, part / path.relative_to(source))
    return parts


def _of_pairs(config: PairedDataConfig, folder: Path, split: str) -> TranslationSet:
    pairs = find_pairs(config, split)
    if pairs[0].path_b:
        return _of_folders(config, split, folder)
    _refuse_equal_names([pair.path_a for pair in pairs])
    parts = TranslationSet(folder / "inputs", folder / "targets")
    for part in (parts.inputs, parts.targets):
        empty_folder(part)
    for pair in pairs:
        folders = zip((parts.inputs, parts.targets), read_pair(pair, config), config.bands.values(), strict=True)
        for part, half, bands in folders:
            name = Path(pair.name).with_suffix(suffix_for(bands))
            write_image(part / name, to_stored(half, bands, number_type(pair.path_a)), checked=True)
    return parts


def _refuse_equal_names(paths: list[Path]) -> None:
    """Translations are PNG, whatever their input was."""
    named: dict[Path, Path] = {}
    for path in paths:
        other = named.setdefault(path.with_suffix(""), path)
        if other != path:
            raise UserError(f"eval: {other} and {path} would both become {path.stem}.png; rename one")


def _choose(found: TranslationSet, folder: Path, num_images: int) -> TranslationSet:
    paths = list_images(found.inputs)
    chosen = evenly_chosen(paths, num_images)
    if found.inputs == folder:  # written there just now
        for path in set(paths) - set(chosen):
            path.unlink()
        return found
    empty_folder(folder)
    for path in chosen:
        copy_picture(path, folder / path.relative_to(found.inputs))
    return TranslationSet(folder, found.targets)
