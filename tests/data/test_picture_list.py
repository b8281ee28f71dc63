"""Which pictures a run learns from: what counts as a change, for each kind of data."""

import shutil

import numpy as np
import pytest
from conftest import make_idx, make_paired, make_single, make_unpaired
from PIL import Image

from cut.build import build_stream, read_config
from cut.data.evaluation_set import list_of_split
from cut.data.picture_list import changes_of_pictures, entry_of_files


@pytest.fixture
def list_of(tmp_path):
    """The picture list of a training with these data settings."""
    path = tmp_path / "config.yaml"

    def make(method, **data):
        path.write_text(f"method: {{name: {method}}}\ndata: {data | {'num_workers': 0}}\n")
        return build_stream(read_config(path)).picture_list()

    return make


def test_two_folders_of_one_name_are_both_listed(tmp_path, list_of):
    """Before, what changed in `data.a` went unnoticed."""
    root = make_unpaired(tmp_path / "data")
    folders = {}
    for side in "ab":
        folders[side] = root / side / "images"
        shutil.copytree(root / f"train{side.upper()}", folders[side])
    settings = {side: str(folder) for side, folder in folders.items()}
    before = list_of("cut", **settings)
    (folders["a"] / "0.png").unlink()
    assert changes_of_pictures(before, list_of("cut", **settings)) == ["images (A): 4 -> 3 pictures"]
    assert changes_of_pictures(before, list_of("cut", direction="BtoA", **settings)) == ["images (A): 4 -> 3 pictures"]


def test_added_pictures_are_counted_in_their_folder(tmp_path, list_of):
    root = make_unpaired(tmp_path / "data")
    before = list_of("cut", root=str(root))
    assert before.keys() == {"trainA", "trainB"} and changes_of_pictures(before, list_of("cut", root=str(root))) == []
    for name in ("x.png", "deeper/y.png"):
        (root / "trainA" / "deeper").mkdir(exist_ok=True)
        shutil.copyfile(root / "trainA" / "0.png", root / "trainA" / name)
    (root / "trainB" / "3.png").unlink()
    now = list_of("cut", root=str(root))
    assert changes_of_pictures(before, now) == ["trainA: 4 -> 6 pictures", "trainB: 4 -> 3 pictures"]
    reverse = list_of("cut", root=str(root), direction="BtoA")
    assert changes_of_pictures(now, reverse) == []  # a change of the config, not of the folders


def test_renamed_and_replaced_pictures_are_others_and_a_moved_or_copied_folder_is_not(tmp_path, list_of):
    root = make_unpaired(tmp_path / "data")
    before = list_of("cut", root=str(root))
    shutil.copytree(root, tmp_path / "elsewhere")  # with other times
    assert changes_of_pictures(before, list_of("cut", root=str(tmp_path / "elsewhere"))) == []
    (root / "trainA" / "0.png").rename(root / "trainA" / "9.png")
    Image.new("RGB", (40, 40)).save(root / "trainB" / "0.png")
    changes = changes_of_pictures(before, list_of("cut", root=str(root)))
    assert changes == [f"{name}: as many pictures as before (4), but other ones" for name in ("trainA", "trainB")]


def test_pairs_in_either_layout_are_known_by_their_folders(tmp_path, list_of):
    root = make_paired(tmp_path / "pairs")
    before = list_of("pix2pix", root=str(root), load_px=256)
    shutil.copyfile(root / "train" / "0.png", root / "train" / "x.png")
    now = list_of("pix2pix", root=str(root), load_px=256)
    assert changes_of_pictures(before, now) == ["train: 4 -> 5 pictures"]
    folders = make_unpaired(tmp_path / "folders")
    before = list_of("pix2pix", root=str(folders), load_px=256)
    (folders / "trainA" / "0.png").unlink()
    (folders / "trainB" / "0.png").unlink()
    now = list_of("pix2pix", root=str(folders), load_px=256)
    assert changes_of_pictures(before, now) == ["trainA: 4 -> 3 pictures", "trainB: 4 -> 3 pictures"]


def test_files_that_hold_the_same_number_of_bytes_are_known_by_their_content(tmp_path, list_of):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    root = make_idx(tmp_path / "idx", pixels=pixels)
    before = list_of("dcgan", name="idx", root=str(root), batch_size=2)
    pixels[3, 4, 5] ^= 1
    make_idx(root, pixels=pixels)
    now = list_of("dcgan", name="idx", root=str(root), batch_size=2)
    assert changes_of_pictures(before, now) == ["pictures: as many pictures as before (16), but other ones"]
    paths = {name: str(path) for name, path in make_single(tmp_path / "single", 80, 80).items()}
    before = list_of("sincut", **paths)
    shutil.copyfile(paths["a"], paths["b"])
    assert changes_of_pictures(before, list_of("sincut", **paths)) == [
        "b: as many pictures as before (1), but other ones"
    ]


def test_one_folder_of_pictures(tmp_path, list_of):
    root = make_unpaired(tmp_path / "data", size=64) / "trainA"
    before = list_of("dcgan", name="images", root=str(root), batch_size=2)
    (root / "0.png").unlink()
    now = list_of("dcgan", name="images", root=str(root), batch_size=2)
    assert changes_of_pictures(before, now) == ["pictures: 4 -> 3 pictures"]


def test_what_a_run_is_scored_on_is_a_list_of_its_split(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"method: {{name: cut}}\ndata: {{root: {make_unpaired(tmp_path / 'data')}}}\n")
    data = read_config(path).data
    assert {name: entry[0] for name, entry in list_of_split(data, "test").items()} == {"testA": 4, "testB": 4}
    assert list_of_split(data, "val") == {}


def test_a_picture_that_is_gone_meanwhile_is_reported_when_it_is_read_not_here(tmp_path):
    paths = [tmp_path / "gone.png"]
    assert entry_of_files(paths, tmp_path)[0] == 1


@pytest.mark.parametrize("before", [None, 1, [], {}, {"trainA": 1}, {"trainA": [1]}, {"trainA": ["1", 2]}, {1: []}])
def test_what_is_no_list_differs_in_nothing(before):
    assert changes_of_pictures(before, {"trainA": [1, "x"]}) == []


def test_the_text_of_changes_is_bounded_whatever_a_checkpoint_holds():
    before = {f"{number}" * 400: [number, ""] for number in range(9)}
    before |= {7: [10**30, ""], "x": [-1, ""], "y": [True, ""]}
    changes = changes_of_pictures(before, {"trainA": [3, ""]})
    assert len(changes) == 7 and changes[-1] == "and 3 more folders" and max(map(len, changes)) < 200
