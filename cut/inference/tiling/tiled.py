"""Translates one picture in tiles."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from cut.data.transforms import to_written_picture
from cut.errors import UserError, printable, reason
from cut.inference.tiling.disk_map import DiskMap, check_room
from cut.inference.tiling.nodes import Node, Region, Source, Span
from cut.inference.tiling.plan import Pass, disk_bytes, largest_map, plan_passes
from cut.inference.tiling.recorder import record


def translate_in_tiles(
    forward: Callable[[Any], Any],
    picture: np.ndarray,
    tile_px: int,
    device: torch.device,
    folder: Path,
    name: str,
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """What `forward` makes of the whole picture, equal up to rounding, but computed tile by tile.

    Call it where gradients are off and precision is set, as around `forward` itself.

    Args:
        forward: `(1, C, H, W)` in [-1, 1] -> the same; its networks lie on `device`.
        picture: `(H, W, C)`, uint8, uint16, or float32 in [-1, 1].
        tile_px: side of a tile where maps are widest; elsewhere tiles hold as many numbers.
        device: of the computation.
        folder: on whose disk intermediate maps lie meanwhile.
        name: of the picture, for errors and progress.
        progress: called after each tile with the number of tiles done and of all; what it raises ends the translation.

    Returns:
        `(H', W', C')`, of the picture's type.

    Raises:
        TilingError: the generator does what tiles cannot.
        UserError: the disk has no room.
    """
    source, output = record(forward, picture, device)
    passes, largest = plan_passes(output), largest_map(output)
    grids = [_grid(one, tile_px, source, largest) for one in passes]
    _make_folder(folder)
    check_room(folder, disk_bytes(passes), name)
    result = np.empty((*output.size, output.channels), picture.dtype)
    with contextlib.ExitStack() as files:
        maps: dict[Node, DiskMap] = {}
        done, total = 0, sum(rows * columns for rows, columns in grids)
        bar = files.enter_context(tqdm(total=total, unit="tile", desc=printable(name), leave=False, disable=None))
        for one, grid in zip(passes, grids, strict=True):
            for node in one.kept:
                maps[node] = DiskMap(folder, node)
                files.callback(maps[node].close)
            for region, tile in _run_pass(one, grid, maps, device):
                if not one.moments:
                    (top, bottom), (left, right) = region
                    result[top:bottom, left:right] = to_written_picture(tile[0], picture.dtype.type, name)
                bar.update()
                done += 1
                if progress:
                    progress(done, total)
            for node in one.dropped:
                maps.pop(node).close()
    return result


def _grid(one: Pass, tile_px: int, source: Source, largest: int) -> tuple[int, int]:
    """Rows and columns of tiles, so many that a tile of the pass's largest map holds no more than tile_px would."""
    factor = (one.num_elements / largest) ** 0.5
    rows, columns = (max(1, math.ceil(side * factor / tile_px)) for side in source.size)
    return rows, columns


def _run_pass(
    one: Pass, grid: tuple[int, int], maps: Mapping[Node, DiskMap], device: torch.device
) -> Iterator[tuple[Region, Tensor]]:
    """Computes a pass; gives the target tile by tile, whose moments are known when it is through."""
    for row in range(grid[0]):
        for column in range(grid[1]):
            asked = {}
            for node in (one.target, *one.kept):
                rows, columns = _divided(node.size[0], grid[0])[row], _divided(node.size[1], grid[1])[column]
                if rows[0] < rows[1] and columns[0] < columns[1]:
                    asked[node] = (rows, columns)
            tiles = _evaluate(one, asked, maps, device)
            for node in one.kept:
                if node in asked:
                    maps[node].write(asked[node], tiles[node])
            if one.target in asked:
                for moments in one.moments:
                    moments.add(tiles[one.target])
                yield asked[one.target], tiles[one.target]


def _evaluate(
    one: Pass, asked: Mapping[Node, Region], maps: Mapping[Node, DiskMap], device: torch.device
) -> dict[Node, Tensor]:
    """The tiles of `asked`; each node is computed once, on all that the nodes behind it need together."""
    wanted, readers = dict(asked), dict.fromkeys(asked, 1)  # an asked tile is never freed
    for node in reversed(one.computed):
        if node in wanted:
            for parent in node.inputs:
                wanted[parent] = _union(wanted.get(parent), node.needed(wanted[node]))
                readers[parent] = readers.get(parent, 0) + 1
    tiles = {node: maps[node].read(wanted[node], device) for node in one.read if node in wanted}
    for node in one.computed:
        if node not in wanted:
            continue
        inputs = [_cut(tiles[parent], wanted[parent], node.needed(wanted[node])) for parent in node.inputs]
        tiles[node] = node.compute(inputs, wanted[node])
        del inputs
        for parent in node.inputs:
            readers[parent] -= 1
            if not readers[parent]:
                del tiles[parent]
    return {node: _cut(tiles[node], wanted[node], region) for node, region in asked.items()}


def _divided(size: int, parts: int) -> list[Span]:
    """`size` rows in `parts` spans as equal as can be; some are empty where there are more parts than rows."""
    edges = [size * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(edges))


def _union(one: Region | None, other: Region) -> Region:
    if one is None:
        return other
    rows, columns = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one, other, strict=True))
    return rows, columns


def _cut(tile: Tensor, held: Region, region: Region) -> Tensor:
    """The part `region` of a tile that holds `held`."""
    for axis, ((begin, _), (first, last)) in enumerate(zip(held, region, strict=True)):
        tile = tile.narrow(2 + axis, first - begin, last - first)
    return tile


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({reason(error)}); choose another --output") from None
