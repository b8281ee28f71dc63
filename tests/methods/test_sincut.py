"""What the golden step of SinCUT does not show: its options, its mistakes, and the programs."""

import importlib

import pytest
import torch
from conftest import REPOSITORY, make_single
from fixed import frozen_images

from cut.build import build_method, build_trainer, read_config
from cut.data.images import read_image
from cut.errors import UserError
from cut.methods.sincut import cut_into_tiles

SMALL = (
    "generator={base_channels: 4, num_blocks: 4}",
    "discriminator.base_channels=4",
    "data={crop_px: 16, batch_size: 2, num_workers: 0}",
    "train={max_steps: 2, accelerator: cpu, tensorboard: false}",
)
CONFIG = REPOSITORY / "configs" / "monet_etretat_sincut.yaml"


def config_of(folder, *overrides):
    pictures = [f"data.{key}={path}" for key, path in make_single(folder).items()]
    return read_config(CONFIG, [*SMALL, *pictures, *overrides])


def here(program, *arguments, status=0):
    """The program's main function in this process."""
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"cut.cli.{program}").main([str(word) for word in arguments])
    assert stop.value.code == status


def test_the_papers_settings_are_the_yaml_and_the_defaults():
    config = read_config(CONFIG)
    method, data = config.method, config.data
    assert (method.lambda_nce, method.lambda_identity, method.lambda_r1, method.num_patches) == (4.0, 1.0, 1.0, 1)
    assert method.nce_layers == (0, 2, 4) and method.temperature == 0.07
    assert (data.batch_size, data.crop_px, data.zoom_max, data.crops_per_epoch) == (16, 64, 3.0, 100_000)
    assert (config.optim.lr, config.optim.betas) == (2e-3, (0.0, 0.99))
    assert (config.schedule.constant_epochs, config.schedule.decay_epochs) == (8, 8)


def test_tiles_are_the_images_pieces_one_image_after_the_other():
    image = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    tiles = cut_into_tiles(image, 2)
    assert tiles.shape == (12, 3, 2, 2)
    for n in range(2):
        for row in range(2):
            for column in range(3):
                piece = image[n, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                assert torch.equal(tiles[n * 6 + row * 3 + column], piece)


def test_discriminator_sees_tiles_where_asked(tmp_path):
    method = build_method(config_of(tmp_path / "p", "method.discriminator_tile_px=8"))
    assert method.discriminator.image_px == 8
    seen = []
    method.discriminator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    images = frozen_images(4, 3, 16)
    t = method.translate({"real_a": images[:2], "real_b": images[2:]})
    method.discriminator_terms(t)
    method.generator_terms(t)
    assert seen == [(8, 3, 8, 8)] * 3  # two crops in four tiles each: generated, real, generated


def test_no_term_without_its_weight(tmp_path):
    trainer = build_trainer(config_of(tmp_path / "p", "method={lambda_r1: 0, lambda_identity: 0}"))
    trainer.train_step(next(trainer.batches(1)))
    names = {key.removeprefix("loss/") for key in trainer.losses.sums}
    assert names == {f"discriminator/{n}" for n in ("gan_real", "gan_fake")} | {
        f"generator/{n}" for n in ("gan", "nce", "nce_idt")
    }


def test_terms_are_proportional_to_their_weights(tmp_path):
    images, sums = frozen_images(4, 3, 16), []
    for index, factor in enumerate((1, 3)):
        weights = ", ".join(f"lambda_{n}: {factor}" for n in ("gan", "r1", "nce", "identity"))
        torch.manual_seed(0)
        method = build_method(config_of(tmp_path / str(index), f"method={{{weights}}}"))
        t = method.translate({"real_a": images[:2], "real_b": images[2:]})
        terms = method.discriminator_terms(t) | method.generator_terms(t)
        sums.append({name: term.item() for name, term in terms.items()})
    for name, value in sums[0].items():
        assert sums[1][name] == pytest.approx(value * (1 if name in ("gan_real", "gan_fake") else 3), rel=1e-5), name


def test_one_patch_alone_is_refused(tmp_path):
    trainer = build_trainer(config_of(tmp_path / "p", "data.batch_size=1"))
    with pytest.raises(UserError, match="data.batch_size 1 with method.num_patches 1: a patch has nothing to be told"):
        trainer.train_step(next(trainer.batches(1)))


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("method.discriminator_tile_px=12", "discriminator_tile_px 12 does not divide data.crop_px 16"),
        ("data.channels_a=1", "data.channels_a and data.channels_b must be equal"),
        ("method.nce_layers=[0, 9]", "the encoder has no layer 9"),
    ],
)
def test_settings_that_do_not_fit_are_told_before_training(tmp_path, setting, line):
    with pytest.raises(UserError, match=line):
        build_trainer(config_of(tmp_path / "p", setting))


def test_a_generator_without_numbered_layers_is_refused(tmp_path):
    unet = ("generator=null", "generator={name: unet, image_px: 32}")
    config = config_of(tmp_path / "p", *unet, "data.crop_px=32")
    with pytest.raises(UserError, match="PatchNCE reads numbered layers of the generator, which a U-Net has not"):
        build_method(config)


def test_train_and_translate_a_whole_picture_of_any_size(tmp_path, capsys):
    paths = make_single(tmp_path / "p", 37, 29)
    settings = [f"data.{key}={path}" for key, path in paths.items()]
    run = tmp_path / "run"
    here("train", "--config", CONFIG, "--run-dir", run, *(w for s in (*SMALL, *settings) for w in ("--set", s)))
    height, width, _ = read_image(run / "samples" / "step_00000001.png", 3).shape
    assert width > 3 * 36 and height > 28  # input, translation and style
    test = ("test", "--run", run, "--input", paths["a"], "--output", tmp_path / "out")
    here(*test)
    assert read_image(tmp_path / "out" / "photo.png", 3).shape == (29, 37, 3)
    here(*test, "--direction", "BtoA", status=2)
    assert capsys.readouterr().err.strip().endswith("train one with data.a and data.b exchanged")
