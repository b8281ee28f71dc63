"""Public data sets, fetched so that a broken line or a hostile archive does no harm.

An archive is unpacked beside its target and moved there whole, or not at all.
"""

import hashlib
import os
from pathlib import Path, PureWindowsPath

from cut.datasets.catalogue import DATASETS, Dataset
from cut.datasets.fetch import fetch, num_bytes
from cut.datasets.unpack import unpack
from cut.errors import UserError, nearest, reason
from cut.storage.files import why_unreadable
from cut.terminal import say

MAX_BYTES = 20_000_000_000  # of an archive, and of all its files together


def download_dataset(
    name: str,
    output_root: str | os.PathLike = "datasets",
    base_url: str | None = None,
    max_bytes: int = MAX_BYTES,
    progress: bool = True,
) -> Path:
    """Puts the data set `name` into `<output_root>/<name>`; where that exists already, says so and does nothing.

    An archive that lies ready as `<output_root>/<name>.zip` (or .tar.gz) is used instead of the network.

    Args:
        name: a key of `DATASETS`.
        output_root: the folder that holds all data sets; made if missing.
        base_url: the folder of another server that holds the same archives, or files.
        max_bytes: refuse archives, and sums of unpacked files, above this.
        progress: show a bar on stderr.

    Returns:
        The folder of the data set.

    Raises:
        UserError: unknown name, no network, refused file, full disk, a set that only its owners may hand out.
    """
    dataset = _find(name)
    root = Path(output_root)
    target = root / name
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        say(f"{target}: there already, nothing to do (delete it to download it again)")
        return target
    address = _address(dataset, base_url)
    get = _fetch_files if dataset.files else _fetch_archive
    try:
        root.mkdir(parents=True, exist_ok=True)
        get(dataset, address, target, max_bytes, progress)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written ({reason(error)}) with what comes from {address}; "
            "make room or choose another --output, then run the same command again"
        ) from None
    return target


def _fetch_archive(dataset: Dataset, address: str, target: Path, max_bytes: int, progress: bool) -> None:
    archive = target.with_name(f"{target.name}{'.zip' if address.endswith('.zip') else '.tar.gz'}")
    is_ours = not os.path.lexists(archive)
    if not (is_ours or archive.is_file()):
        raise UserError(f"{archive}: {why_unreadable(archive)}; delete it, so that it is fetched")
    if is_ours:
        fetch(address, archive, max_bytes, progress)
    _make_way(target)
    unpack(archive, target, address, max_bytes, is_ours)
    if is_ours:
        archive.unlink()
    else:
        say(f"{archive}: kept; delete it if nothing else needs it")


def _fetch_files(dataset: Dataset, address: str, target: Path, max_bytes: int, progress: bool) -> None:
    """Fetches the files into a folder beside `target`, which takes its name when all of them are there and right."""
    folder = target.with_name(f".{target.name}.fetching")
    if folder.is_symlink():
        raise UserError(f"{folder}: is in the way, and a link; delete it")
    folder.mkdir(exist_ok=True)
    for name, md5 in dataset.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():  # those that an earlier run fetched are kept
            fetched = sum(num_bytes(folder / other) for other in dataset.files)
            fetch(f"{address}/{name}", path, max_bytes - fetched, progress)
        got = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if got != md5:
            path.unlink()
            raise UserError(
                f"{address}/{name}: refused and deleted, not the published file (MD5 {got} instead of {md5}); "
                "run the same command again, or try another --base-url"
            )
    _make_way(target)
    os.replace(folder, target)


def _make_way(target: Path) -> None:
    if target.is_dir():
        target.rmdir()  # an empty folder, made by hand


def _find(name: str) -> Dataset:
    if name in DATASETS:
        return DATASETS[name]
    if name == "earth2map":
        raise UserError(f"{name}: is not downloaded but made: cut-data earth2map --output datasets/earth2map")
    is_path = PureWindowsPath(name).name != name  # this class splits at both kinds of slash
    what = "a path was given where a name belongs" if is_path else "no such data set"
    near = nearest(PureWindowsPath(name).name, DATASETS)
    hint = f"did you mean {near}? " if near else ""
    raise UserError(f"{name!r}: {what}; {hint}known names: {', '.join(DATASETS)}")


def _address(dataset: Dataset, base_url: str | None) -> str:
    if dataset.address is None:
        raise UserError(
            f"{dataset.name}: its licence lets only its owners hand it out; register at "
            "https://www.cityscapes-dataset.com and get gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip, "
            "then put the photographs into trainA and valA, the label maps into trainB and valB"
        )
    if base_url is None:
        return dataset.address
    if not base_url.lower().startswith(("http://", "https://")):
        raise UserError(f"--base-url {base_url}: must start with http:// or https://")
    return base_url.rstrip("/") if dataset.files else f"{base_url.rstrip('/')}/{dataset.address.rpartition('/')[2]}"
