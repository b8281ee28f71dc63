"""cut-train with two folders of pictures and no YAML, and YAMLs by their names."""

import numpy as np
import pytest
from conftest import make_unpaired
from PIL import Image
from programs import inside, told

from cut.api.recipe import find_folders, plan
from cut.build import build_stream, read_config
from cut.cli.train import _parse, _plan
from cut.config.packaged import config_folder, find_config, list_configs
from cut.data.evaluation_set import evaluation_set
from cut.data.images import list_images
from cut.data.unpaired import pictures_of_split
from cut.errors import UserError

TINY = (
    *("generator.base_channels=2", "generator.num_blocks=4", "discriminator.base_channels=2"),
    *("data.load_px=36", "data.crop_px=32", "data.num_workers=0", "method.num_patches=16", "method.head_channels=8"),
    *("train.max_steps=2", "train.accelerator=cpu", "train.tensorboard=false"),
)


@pytest.fixture
def photos(tmp_path):
    """Twelve photographs as a phone saves them, half of them lying on their side, and nine paintings."""
    rng = np.random.default_rng(0)
    for folder, count, suffix, size in (("photos", 12, ".JPG", (80, 60)), ("paintings", 9, ".png", (50, 70))):
        (tmp_path / folder).mkdir()
        for number in range(count):
            picture = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
            exif = picture.getexif()
            exif[0x0112] = 6 if number % 2 else 1
            picture.save(tmp_path / folder / f"{number}{suffix}", exif=exif)
    return tmp_path


def settings(*extra):
    return [word for setting in (*TINY, *extra) for word in ("--set", setting)]


def planned(*arguments):
    args = _parse([str(a) for a in arguments])
    _plan(args)
    return args, read_config(args.config, args.set)


def test_two_folders_train_and_the_same_command_resumes(photos, monkeypatch, capfd):
    monkeypatch.chdir(photos)
    inside("train", "--a", "photos", "--b", "paintings", *settings())
    said = capfd.readouterr().err
    assert "A: 12 pictures of photos; B: 9 pictures of paintings" in said and "recipe fast, because" in said
    assert "1 of 12 pictures of A, 1 of 9 of B" in said and "held_back: 0.1" in said
    inside("train", "--a", "photos", "--b", "paintings", *settings("train.max_steps=3"), "--resume")
    said = capfd.readouterr().err
    assert "going on from step 2 of 3" in said and "goes on with its own settings" in said


def test_held_back_pictures_are_not_trained_on_but_shown_and_scored(photos, tmp_path):
    overrides = [f"data.a={photos / 'photos'}", f"data.b={photos / 'paintings'}", "data.held_back=0.25", "data.root=''"]
    data = read_config("recipes/fast", [*TINY, *overrides]).data
    train, test = (pictures_of_split(data, split) for split in ("train", "test"))
    assert [len(paths) for paths in (*train, *test)] == [9, 7, 3, 2]
    assert sorted([*train[0], *test[0]]) == list_images(photos / "photos")
    stream = build_stream(read_config("recipes/fast", [*TINY, *overrides]))
    assert stream.num_pictures == 9 and set(stream.paths_a) == set(train[0])
    assert {row["name"] for row in stream.fixed_samples(8)} == {path.name for path in test[0]}
    found = evaluation_set(data, tmp_path / "evaluation", "test")
    assert [len(list_images(folder)) for folder in (found.inputs, found.targets)] == [3, 2]
    back = read_config("recipes/fast", [*TINY, *overrides, "data.direction=BtoA"]).data
    assert pictures_of_split(back, "train") == train[::-1]
    (photos / "photos" / "new.png").write_bytes((photos / "photos" / "0.JPG").read_bytes())
    assert len(set(test[0]) - set(pictures_of_split(data, "test")[0])) <= 1  # the others stay where they were


def test_a_test_split_that_is_there_is_used(tmp_path):
    args, config = planned("--data", make_unpaired(tmp_path / "mine"))
    assert config.data.held_back == 0 and config.eval is None and config.data.root == str(tmp_path / "mine")
    assert args.run_dir.as_posix() == "runs/mine"
    assert planned("--data", tmp_path / "mine", "--config", "horse2zebra_cyclegan")[1].method.name == "cyclegan"
    paper = planned("--data", tmp_path / "mine", "--recipe", "paper")[1]
    assert (paper.generator.base_channels, paper.schedule.decay_epochs, paper.data.load_px) == (64, 200, 286)


def test_the_recipe_follows_machine_and_number(photos):
    folders = find_folders(None, photos / "photos", photos / "paintings")
    chosen = {gpu: plan(folders, None, (), None, gpu).configs for gpu in (False, True)}
    assert chosen == {False: ("recipes/fast",), True: ("recipes/few-pictures",)}
    assert plan(find_folders(photos, None, None), None, (), None, False).run_dir.name == "paintings2photos"


def test_folders_that_do_not_tell_are_refused_in_one_line(photos):
    (photos / "more").mkdir()
    assert "--b: missing; --a and --b go together" in told("train", "--a", photos / "photos")
    assert "more: holds no picture" in told("train", "--a", photos / "photos", "--b", photos / "more")
    assert "no such folder" in told("train", "--data", photos / "none")
    (photos / "paintings" / "0.png").rename(photos / "more" / "0.png")
    assert "it holds more, paintings, photos" in told("train", "--data", photos)
    assert "--config: missing" in told("train") and "goes with --data" in told("train", "--recipe", "fast")


def test_one_folder_that_is_both_kinds_is_refused(photos):
    a, inside_a = photos / "photos", photos / "photos" / "best"
    inside_a.mkdir()
    (a / "0.JPG").rename(inside_a / "0.JPG")
    (photos / "link").symlink_to(inside_a)
    assert "are the same folder; name two" in told("train", "--a", a, "--b", a)
    for b in (inside_a, photos / "link"):
        assert "lie in each other, so some pictures would be of both kinds" in told("train", "--a", a, "--b", b)
        assert "lie in each other" in told("train", "--a", b, "--b", a)
    assert f"--a: {a / '1.JPG'}: is a file" in told("train", "--a", a / "1.JPG", "--b", a)


def test_what_lies_beside_the_two_folders_is_said_and_runs_are_no_pictures(photos, monkeypatch, capfd):
    for name in ("beside.png", ".thumbnails/0.png", "runs/mine/samples/step_1.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes((photos / "paintings" / "0.png").read_bytes())
    (photos / "runs" / "mine" / "config.yaml").touch()
    (photos / "line\nbreak.txt").touch()
    monkeypatch.chdir(photos)
    inside("train", "--data", ".", *settings(), "--dry-run")
    said = capfd.readouterr().err
    assert "A: 9 pictures of paintings; B: 12 pictures of photos" in said
    assert (
        "left out beside the two folders: 1 pictures; 1 .txt file, which are not read as pictures; .thumbnails, "
        in said
    )


def test_folders_mean_what_they_mean_in_a_yaml(photos, monkeypatch):
    monkeypatch.setenv("CUT_PICTURES", str(photos))
    config = planned("--a", "$CUT_PICTURES/photos", "--b", photos / "paintings")[1]
    assert config.data.a == str(photos / "photos")


def test_configs_are_found_by_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_config("horse2zebra_cut") == read_config("configs/horse2zebra_cut.yaml")
    assert read_config(["methods/cut", "overlays/earth2map_64_cpu"]).data.crop_px == 64
    assert find_config("methods/cut") == config_folder() / "methods" / "cut.yaml"
    inside("train", "--list-configs")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list_configs()) > 60 and any(line.startswith("recipes/fast  ") for line in lines)
    with pytest.raises(UserError, match="horse2zebra_cat: no such config file; did you mean 'horse2zebra_cut'"):
        read_config("horse2zebra_cat")
    (tmp_path / "quickstart").write_text("method: {name: cyclegan}\ndata: {root: x}\n")
    assert read_config("quickstart").method.name == "cyclegan"  # a file of the user's goes first


def test_scores_of_pairs_are_not_asked_of_pictures_without_pairs(tmp_path):
    root = make_unpaired(tmp_path / "mine")
    words = ("--data", root, "--config", "quickstart")
    assert planned(*words)[1].eval.metrics == ("ssim", "psnr", "l1")  # of equal names
    for number, path in enumerate((root / "testB").iterdir()):
        path.rename(path.with_name(f"painting{number}.png"))
    assert planned(*words)[1].eval is None
    assert planned(*words, "--set", "eval.metrics=[ssim, fid]")[1].eval.metrics == ("ssim", "fid")
    said = told("train", "--config", "quickstart", *settings(f"data.root={root}"), "--run-dir", tmp_path / "run")
    assert said.startswith("eval.metrics: ") and "4 of 4 pictures have none" in said
    assert said.endswith("--set 'eval.metrics=[fid]' does, and --set eval=null scores nothing")
    inside("train", "--config", "quickstart", *settings(f"data.root={root}", "eval=null"), "--dry-run")


def test_held_back_pictures_without_pairs_are_not_scored_as_pairs(photos):
    for number, path in enumerate(sorted((photos / "paintings").iterdir())):
        path.rename(path.with_name(f"painting{number}.png"))
    words = ("--a", photos / "photos", "--b", photos / "paintings", "--config", "quickstart")
    assert planned(*words)[1].eval is None
