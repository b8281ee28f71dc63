"""`cut.load(...)(picture)`: every kind of picture, and the same translation as cut-test writes."""

import numpy as np
import pytest
import torch
from conftest import make_paired
from fixed import fill_with_unit_normals
from PIL import Image
from programs import inside, saved_run

import cut
from cut.data.images import read_image, write_image

STYLED = """
method:
  name: munit
  generator: {base_channels: 2, num_blocks: 1, mlp_channels: 8, style_dim: 3}
  discriminator: {base_channels: 2, num_scales: 2}
"""
SMALL_DATA = "crop_px: 32, load_px: 32, num_workers: 0"


@pytest.fixture
def run(tiny_yaml, tmp_path):
    return saved_run(tiny_yaml, tmp_path / "run")


@pytest.fixture
def photo(tmp_path):
    """A picture whose sides are no multiples of anything."""
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    write_image(tmp_path / "photo.png", pixels)
    return tmp_path / "photo.png"


def styled_run(unpaired, tmp_path):
    (tmp_path / "munit.yaml").write_text(
        f'{STYLED}data: {{name: unpaired, root: "{unpaired}", direction: BtoA, {SMALL_DATA}}}\n'
        "train: {accelerator: cpu}\n"
    )
    return saved_run(tmp_path / "munit.yaml", tmp_path / "munit")


def written(run, photo, folder, *options):
    """What cut-test makes of the photo."""
    inside("test", "--run", run, "--input", photo, "--output", folder, *options)
    return read_image(folder / photo.name, 3)


def test_a_path_gives_the_picture_that_cut_test_writes(run, photo, tmp_path):
    model = cut.load(run, device="cpu")
    picture = model(str(photo))
    assert isinstance(picture, Image.Image)
    assert np.array_equal(np.array(picture), written(run, photo, tmp_path / "out"))
    assert np.array_equal(np.array(picture), np.array(cut.load(run / "generator.safetensors", device="cpu")(photo)))
    assert (model.directions, model.labels, model.config.method.name) == (("AtoB",), (), "cut")


def test_every_kind_of_picture_gives_its_own_kind_and_the_same_translation(run, photo):
    model = cut.load(run, device="cpu")
    want, pixels = np.array(model(photo)), read_image(photo, 3)
    assert np.array_equal(np.array(model(Image.open(photo))), want)
    assert np.array_equal(model(pixels), want)
    batch = model(np.stack([pixels, pixels[::-1]]))
    assert batch.shape == (2, *want.shape) and np.array_equal(batch[0], want) and not np.array_equal(batch[1], want)
    chw = torch.from_numpy(pixels).permute(2, 0, 1)
    assert torch.equal(model(chw), torch.from_numpy(want).permute(2, 0, 1))
    floats = model((chw[None].double() / 127.5) - 1)
    assert floats.dtype == torch.float64 and floats.shape == (1, 3, 37, 50) and not floats.is_inference()
    assert np.array_equal(((floats[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), want)
    several = model([photo, pixels[:8, :9], Image.open(photo)])
    assert [type(one) for one in several] == [Image.Image, np.ndarray, Image.Image]
    assert several[1].shape == (8, 9, 3) and np.array_equal(np.array(several[2]), want)


def test_16_bits_and_gray_pictures_keep_their_depth(tiny_yaml, run, tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (32, 32, 3), dtype=np.uint16)
    model = cut.load(run, device="cpu")
    assert model(deep).dtype == np.uint16 and len(np.unique(model(deep))) > 256
    gray = cut.load(saved_run(tiny_yaml, tmp_path / "gray", "data.channels_a=1", "data.channels_b=1"), device="cpu")
    assert gray(deep[:, :, 0]).shape == (32, 32) and gray(Image.new("RGB", (20, 10))).mode == "L"
    assert gray(Image.fromarray(deep[:, :, 0])).mode.startswith("I;16")


def test_what_is_no_picture_is_refused_in_one_line(run, tmp_path):
    model = cut.load(run, device="cpu")
    for given, words in (
        (np.zeros((8, 8, 3)), "uint8 or uint16, got float64"),
        (np.zeros((8, 8, 4), np.uint8), r"got \(8, 8, 4\)"),
        (torch.zeros(3, 8, 8) + 100.0, r"in \[-1, 1\], got 100"),
        (torch.zeros(2, 8, 8), "got .2, 8, 8"),
        (7, "got a int"),
        ([], "no pictures"),
        (tmp_path / "none.png", "no such file"),
    ):
        with pytest.raises(cut.UserError, match=words):
            model(given)
    with pytest.raises(cut.UserError, match="direction BtoA: this cut generator has learnt AtoB only"):
        model(np.zeros((8, 8, 3), np.uint8), direction="BtoA")
    with pytest.raises(cut.UserError, match="guide: cut takes no style"):
        model(np.zeros((8, 8, 3), np.uint8), guide=np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(cut.UserError, match=r"call model\(picture\)"):
        model.sample(3)
    with pytest.raises(cut.UserError, match="holds neither"):
        cut.load(tmp_path)
    with pytest.raises(TypeError, match="seeed"):
        model(np.zeros((8, 8, 3), np.uint8), seeed=3)


def test_scaling_and_tiles_are_those_of_cut_test(run, photo, tmp_path):
    model = cut.load(run, device="cpu")
    scaled = written(run, photo, tmp_path / "scaled", "--load-px", 32)
    assert np.array_equal(np.array(model(photo, load_px=[32, 32])), scaled)
    for wrong in ("32x32", (32,), (32, 32, 3), 32.5):
        with pytest.raises(cut.UserError, match=r"load_px .*: must be a number, or \(height, width\)"):
            model(photo, load_px=wrong)
    assert np.array_equal(np.array(model(photo, load_px=32)), scaled) and scaled.shape == (32, 32, 3)
    tiled = np.array(model(photo, tile_px=32)).astype(int)
    assert abs(tiled - np.array(model(photo)).astype(int)).max() <= 1
    with pytest.raises(cut.UserError, match="scale tensors yourself"):
        model(torch.zeros(3, 8, 8), load_px=8)


def test_styles_are_those_of_cut_test_and_directions_those_of_the_folders(unpaired, photo, tmp_path):
    run = styled_run(unpaired, tmp_path)
    model = cut.load(run, device="cpu")
    assert model.directions == ("BtoA", "AtoB")
    state, random = torch.get_rng_state(), np.random.get_state()[1].copy()
    third = np.array(model(photo, seed=3, direction="AtoB"))
    assert torch.equal(torch.get_rng_state(), state) and np.array_equal(np.random.get_state()[1], random)
    assert np.array_equal(third, written(run, photo, tmp_path / "a", "--seed", 3, "--direction", "AtoB"))
    guide = unpaired / "testA" / "0.png"
    guided = np.array(model(photo, guide=guide))
    assert np.array_equal(guided, written(run, photo, tmp_path / "b", "--guide", guide))
    pixels = read_image(photo, 3)
    two = model([pixels, pixels])
    assert not np.array_equal(*two)  # each its own style, by its place
    given = model([pixels, pixels], style=[[1.0, 0, -2], [0, 0, 0]])
    assert np.array_equal(given[1], model(pixels, style=np.zeros(3))) and not np.array_equal(*given)
    mean = cut.load(run, device="cpu", deterministic=True)
    assert np.array_equal(mean(pixels), given[1])
    with pytest.raises(cut.UserError, match="style: .4,. numbers; needed are .3,."):
        model(pixels, style=[0.0] * 4)


def test_noise_at_test_time_is_that_of_cut_test(photo, tmp_path):
    (tmp_path / "p.yaml").write_text(
        "method: {name: pix2pix}\ngenerator: {base_channels: 2, image_px: 64}\ntrain: {accelerator: cpu}\n"
        f'data: {{root: "{make_paired(tmp_path / "pairs", size=64)}", crop_px: 64, load_px: 64, num_workers: 0}}\n'
    )
    run = saved_run(tmp_path / "p.yaml", tmp_path / "run")
    model = cut.load(run, device="cpu")
    fill_with_unit_normals(model.method.generator)
    first = [np.array(model(photo, seed=seed)) for seed in (5, 5, 6)]
    assert np.array_equal(first[0], first[1]) and not np.array_equal(first[0], first[2])
    plain = cut.load(run, device="cpu")
    assert np.array_equal(np.array(plain(photo, seed=5)), written(run, photo, tmp_path / "out", "--seed", 5))


def test_images_from_noise_are_those_of_cut_test(tiny_dcgan_yaml, tmp_path):
    run = saved_run(tiny_dcgan_yaml, tmp_path / "run")
    model = cut.load(run, device="cpu")
    inside("test", "--run", run, "--num-images", 3, "--seed", 4, "--output", tmp_path / "out")
    for number, image in enumerate(model.sample(3, seed=4)):
        want = read_image(tmp_path / "out" / f"{number:05}.png", 1)[:, :, 0].astype(int)
        assert abs(np.array(image).astype(int) - want).max() <= 1  # one by one, or as a batch
    with pytest.raises(cut.UserError, match=r"call model.sample\(64\)"):
        model(np.zeros((8, 8), np.uint8))
