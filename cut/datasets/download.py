"""Public data sets, fetched so that a broken line or a hostile archive does no harm.

A download is continued where it broke off; an archive is unpacked beside its target and moved there whole, or not at
all.
"""

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PureWindowsPath
from typing import Any

from tqdm import tqdm

from cut.datasets.catalogue import DATASETS, Dataset
from cut.datasets.unpack import unpack
from cut.errors import UserError, nearest, reason
from cut.terminal import say

MAX_BYTES = 20_000_000_000  # of an archive, and of all its files together
_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30
_RETRIES = 5
_RETRY_SECONDS = 2.0


class _BrokenConnectionError(Exception):
    """The connection failed; what has arrived is kept, and the next request continues it."""


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
    fetch = _fetch_files if dataset.files else _fetch_archive
    try:
        root.mkdir(parents=True, exist_ok=True)
        fetch(dataset, address, target, max_bytes, progress)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written ({reason(error)}) with what comes from {address}; "
            "make room or choose another --output, then run the same command again"
        ) from None
    return target


def _fetch_archive(dataset: Dataset, address: str, target: Path, max_bytes: int, progress: bool) -> None:
    archive = target.with_name(f"{target.name}{'.zip' if address.endswith('.zip') else '.tar.gz'}")
    if not archive.exists():
        _download(address, archive, max_bytes, progress)
    _make_way(target)
    unpack(archive, target, address, max_bytes)
    archive.unlink()


def _fetch_files(dataset: Dataset, address: str, target: Path, max_bytes: int, progress: bool) -> None:
    """Fetches the files into a folder beside `target`, which takes its name when all of them are there and right."""
    folder = target.with_name(f".{target.name}.fetching")
    folder.mkdir(exist_ok=True)
    for name, md5 in dataset.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():  # those that an earlier run fetched are kept
            fetched = sum(_num_bytes(folder / other) for other in dataset.files)
            _download(f"{address}/{name}", path, max_bytes - fetched, progress)
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


def _download(address: str, archive: Path, max_bytes: int, progress: bool) -> None:
    part = archive.with_name(f"{archive.name}.part")
    tag = archive.with_name(f"{archive.name}.part.tag")
    furthest, retries = _num_bytes(part), 0  # bytes that arrive earn the retries: without network there is none
    while True:
        try:
            _receive(address, part, tag, max_bytes, progress)
            break
        except _BrokenConnectionError as error:
            retries = _RETRIES if _num_bytes(part) > furthest else retries - 1
            furthest = max(furthest, _num_bytes(part))
            if retries <= 0:
                raise UserError(
                    f"{address}: cannot be fetched ({error}), {furthest / 1e6:.1f} MB are kept; run the same command "
                    f"again to go on, or save the file by hand as {archive} and run it then"
                ) from None
            time.sleep(_RETRY_SECONDS)
    os.replace(part, archive)
    tag.unlink(missing_ok=True)


def _receive(address: str, part: Path, tag: Path, max_bytes: int, progress: bool) -> None:
    """One request: appends to `part` what it lacks, or starts it again where the server cannot continue it.

    `tag` keeps the version that `part` belongs to (the ETag, or else the date); the server compares it (If-Range).
    """
    done = _num_bytes(part)
    headers = {"User-Agent": "cut-data"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if tag.exists():
            headers["If-Range"] = tag.read_text()
    with _open(address, headers) as response:
        given_range = response.headers.get("Content-Range", "")
        if response.status == 416 and given_range == f"bytes */{done}":
            return  # all of it had arrived
        if done and (
            response.status == 416 or (response.status == 206 and not given_range.startswith(f"bytes {done}-"))
        ):
            part.unlink()  # not the range that was asked for: nothing to append to, so ask for the whole
            _receive(address, part, tag, max_bytes, progress)
            return
        done = done if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdecimal() else None
        if total is not None and total > max_bytes:
            raise UserError(f"{address}: {total / 1e9:.2f} GB, above the bound of {max_bytes / 1e9:g} GB (--max-gb)")
        with open(part, "ab" if done else "wb") as file, _bar(part.stem, total, done, progress) as bar:
            if not done:
                _write_tag(tag, response.headers)
            for block in _blocks(response):
                done += len(block)
                if done > max_bytes:
                    raise UserError(f"{address}: above the bound of {max_bytes / 1e9:g} GB (--max-gb)")
                file.write(block)
                bar.update(len(block))
                if done == total:  # some servers keep the connection open
                    break
    if total is not None and done != total:
        raise _BrokenConnectionError(f"the connection broke after {done} of {total} bytes")


def _open(address: str, headers: dict[str, str]) -> Any:
    """The server's response; a refused range (416) is one too."""
    request = urllib.request.Request(address, headers=headers)  # noqa: S310  http and https only, see _address
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:
            return error
        with error:
            raise UserError(
                f"{address}: the server answers {error.code} {error.reason}; try later, or --base-url"
            ) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _BrokenConnectionError(getattr(error, "reason", error)) from None


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    """What arrives; only here does an OSError mean the network, elsewhere it means the disk."""
    while True:
        try:
            block = response.read1(_BLOCK_BYTES)  # not read: it would lose what came before the connection broke
        except (OSError, HTTPException) as error:
            raise _BrokenConnectionError(error) from None
        if not block:
            return
        yield block


def _bar(name: str, total: int | None, done: int, shown: bool) -> tqdm:
    return tqdm(desc=name, total=total, initial=done, unit="B", unit_scale=True, mininterval=0.5, disable=not shown)


def _write_tag(tag: Path, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag", "")
    version = headers.get("Last-Modified") if not etag or etag.startswith("W/") else etag  # If-Range takes no weak ETag
    if version:
        tag.write_text(version)
    else:
        tag.unlink(missing_ok=True)


def _num_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
