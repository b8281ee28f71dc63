"""Names that look equal are equal, and names that one disk takes for one are never two files."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import inside, saved_run, told

from cut.config import PairedDataConfig, UnpairedDataConfig
from cut.data.images import list_images, read_image
from cut.data.paired import find_pairs
from cut.data.unpaired import fixed_samples
from cut.datasets.check import check_folder
from cut.errors import UserError
from cut.inference.output_folder import OutputFolder
from cut.inference.request import Given
from cut.inference.translate import plan_jobs
from cut.scoring.find_pictures import find_pictures
from cut.storage import files

COMPOSED = "caf\u00e9/\u00fcber \uac01.png"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def _picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """Folders of pairs, of which one side was zipped on a Mac."""
    assert COMPOSED != DECOMPOSED
    for split in ("train", "val", "test"):
        _picture(tmp_path / "names" / f"{split}A" / COMPOSED, 10)
        _picture(tmp_path / "names" / f"{split}B" / DECOMPOSED, 200)
        for side in "AB":
            _picture(tmp_path / "names" / f"{split}{side}" / "plain.png", 30)
    return tmp_path / "names"


def test_two_forms_of_a_name_are_a_pair_wherever_pairs_are_made(root, tmp_path):
    config = PairedDataConfig(root=str(root), load_px=32, crop_px=32)
    assert [pair.name for pair in find_pairs(config, "train")] == ["caf\u00e9/\u00fcber \uac01", "plain"]
    unpaired = UnpairedDataConfig(root=str(root), load_px=32, crop_px=32)
    assert ["target" in sample for sample in fixed_samples(unpaired, 2)] == [True, True]
    assert len(find_pictures(root / "testA", root / "testB", ["ssim"])[2]) == 2
    report = check_folder(root, progress=False)
    assert report.num_pairs == {"train": 2, "val": 2, "test": 2} and not report.without_partner
    inside_data("pair", root / "trainA", root / "trainB", tmp_path / "joined")
    assert len(list_images(tmp_path / "joined")) == 2
    inside_data("split", tmp_path / "joined", tmp_path / "halves")
    assert len(list_images(tmp_path / "halves" / "joinedB")) == 2


def inside_data(*arguments):
    from cut.cli.data import main

    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0


def test_two_forms_of_a_name_meet_on_the_sheet_of_cut_test(root, tiny_yaml, tmp_path):
    arguments = ("test", "--run", saved_run(tiny_yaml, tmp_path / "run"), "--input", root / "testA")
    inside(*arguments, "--target", root / "testB", "--output", tmp_path / "out")
    sheet = read_image(tmp_path / "out_sheet.png", 1)
    assert np.count_nonzero((sheet == 200).sum(axis=0) > 10) >= 32, "the target of 200 has its column"


@pytest.fixture
def one_case(monkeypatch):
    """A disk that takes capital letters and small ones, and all forms of Unicode, for one."""

    def is_one_file(folder, name, other):
        one, two = (unicodedata.normalize("NFD", text).casefold() for text in (name, other))
        return one == two

    monkeypatch.setattr(files, "_is_one_file", is_one_file)


@pytest.mark.parametrize("names", [("A.tif", "a.jpg"), ("Sub/x.png", "sub/X.jpg"), ("\u00e9.bmp", "E\u0301.png")])
def test_pictures_that_a_disk_takes_for_one_are_refused(names, one_case, tmp_path):
    for name in names:
        _picture(tmp_path / "in" / name)
    with pytest.raises(Exception, match="would both become .*leave --format out, or rename one") as caught:
        plan_jobs(tmp_path / "in", tmp_path / "out", ".png")
    assert all(Path(name).name in str(caught.value) for name in names)


def test_a_disk_that_tells_capital_letters_apart_keeps_both(tmp_path, tiny_yaml):
    for number, name in enumerate(("A.tif", "a.jpg")):
        _picture(tmp_path / "in" / name, 100 * number)
    if len(list_images(tmp_path / "in")) < 2 or files._is_one_file(tmp_path, "A", "a"):
        pytest.skip("this disk does not")
    run = saved_run(tiny_yaml, tmp_path / "run")
    inside("test", "--run", run, "--input", tmp_path / "in", "--output", tmp_path / "out", "--format", "png")
    assert [path.name for path in list_images(tmp_path / "out")] == ["A.png", "a.png"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".cut-") and path.is_dir()]


def test_halves_that_a_disk_takes_for_one_are_refused(one_case, tmp_path):
    for side in "ab":
        for name in ("X.tif", "x.jpg"):
            _picture(tmp_path / side / name)
    said = []
    for command in (("pair", tmp_path / "a", tmp_path / "b", tmp_path / "out"), ("split", tmp_path / "a", tmp_path)):
        with pytest.raises(SystemExit) as ended:
            from cut.cli.data import main

            main([str(argument) for argument in command])
        said.append(ended.value.code)
    assert said == [2, 2] and not (tmp_path / "out").exists() and not (tmp_path / "aA").exists()


def test_an_output_that_is_an_input_under_another_case_is_refused(tmp_path):
    _picture(tmp_path / "in" / "x.png")
    folder = OutputFolder(tmp_path / "in")
    with pytest.raises(Exception, match="is one of the pictures that are read"):
        folder.check([tmp_path / "in" / "x.png"], [tmp_path / "in" / ".." / "in" / "x.png"])


def test_names_that_differ_in_form_alone_are_told_in_one_folder(root, tmp_path):
    _picture(root / "trainA" / DECOMPOSED)
    if len(list_images(root / "trainA")) < 3:
        pytest.skip("this disk takes both forms for one")
    said = told("train", "--config", _paired_yaml(root, tmp_path), "--run-dir", tmp_path / "run")
    assert "have one name, apart from the suffix and the form of accents, so pairs are ambiguous" in said


def _paired_yaml(root, tmp_path):
    path = tmp_path / "paired.yaml"
    path.write_text(
        f"""
method: {{name: pix2pix}}
generator: {{name: resnet, base_channels: 2, num_blocks: 1}}
discriminator: {{name: patch, base_channels: 2, num_layers: 1}}
data: {{name: paired, root: "{root}", load_px: 32, crop_px: 32, num_workers: 0}}
schedule: {{name: constant, total_steps: 1}}
train: {{accelerator: cpu}}
"""
    )
    return path


def test_translations_of_one_name_are_refused_with_advice_that_helps(tmp_path):
    for name in ("x.png", "x_a.png"):
        _picture(tmp_path / "in" / name)
    outputs = [Given(f"_{label}") for label in ("a", "a_a")]
    with pytest.raises(UserError, match=r"x.png and .*x_a.png would both become .*x_a_a.png; rename one$"):
        plan_jobs(tmp_path / "in", tmp_path / "out", None, outputs)
    _picture(tmp_path / "in" / "x.jpg")
    with pytest.raises(UserError, match="would both become .*x.png; leave --format out, or rename one$"):
        plan_jobs(tmp_path / "in", tmp_path / "out", ".png")


def test_names_too_long_to_be_written_do_not_keep_the_others(tmp_path):
    """Whether two of them are one file cannot be tried; each is reported when it is written."""
    for name in ("k" * 251, "K" * 251, "x"):
        _picture(tmp_path / "in" / f"{name}.png")
    jobs = plan_jobs(tmp_path / "in", tmp_path / "out", None, [Given("_longer")])
    assert len(jobs) == 3 and not (tmp_path / "out").exists()
