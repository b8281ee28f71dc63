"""DiffAugment: what each change does, and that everything which D sees goes through it, for both players."""

import pytest
import torch
from conftest import make_paired
from fixed import formula_image

from cut.build import build_trainer, read_config
from cut.models import augmentation
from cut.models.augmentation import Augmentation, change_colour, cut_out, translate


def drawn(monkeypatch, *numbers):
    """Lets each image draw these numbers."""
    monkeypatch.setattr(augmentation, "draw_rows", lambda draw, rows: torch.tensor(numbers).expand(rows, -1))


def test_colour_follows_its_formula(monkeypatch):
    drawn(monkeypatch, 0.9, 0.25, 0.75)
    image = formula_image(2, 3, 8)
    bright = image + 0.4
    grey = bright.mean(1, keepdim=True)
    pale = grey + 0.5 * (bright - grey)
    mean = pale.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(change_colour(image, [3]), mean + 1.25 * (pale - mean))


def test_colours_of_two_images_behind_each_other_change_within_each(monkeypatch):
    drawn(monkeypatch, 0.9, 0.25, 0.75)
    one, other = formula_image(2, 3, 8), formula_image(2, 1, 8).flip(2)
    both = change_colour(torch.cat([one, other], 1), [3, 1])
    torch.testing.assert_close(both, torch.cat([change_colour(one, [3]), change_colour(other, [1])], 1))


@pytest.mark.parametrize("numbers, down, right", [((0.0, 0.999), 2, -1), ((0.5, 0.5), 0, 0), ((0.999, 0.0), -2, 1)])
def test_translation_moves_by_up_to_an_eighth_and_brings_in_nothing(monkeypatch, numbers, down, right):
    drawn(monkeypatch, *numbers)
    image = formula_image(1, 3, 16)[..., :8]
    expected = torch.zeros_like(image)
    rows, columns = range(max(0, down), 16 + min(0, down)), range(max(0, right), 8 + min(0, right))
    for row in rows:
        for column in columns:
            expected[..., row, column] = image[..., row - down, column - right]
    assert torch.equal(translate(image, [3]), expected)


@pytest.mark.parametrize("numbers, top, left", [((0.0, 0.0), -2, -2), ((0.5, 0.999), 2, 6)])
def test_cutout_is_a_quarter_of_the_image_with_its_middle_anywhere(monkeypatch, numbers, top, left):
    drawn(monkeypatch, *numbers)
    image = torch.ones(1, 1, 8, 8)
    expected = image.clone()
    expected[..., max(0, top) : top + 4, max(0, left) : left + 4] = 0
    assert torch.equal(cut_out(image, [1]), expected)


def test_each_image_changes_by_itself_and_gradients_flow():
    torch.manual_seed(0)
    image = formula_image(1, 3, 16).expand(2, -1, -1, -1).clone().requires_grad_()
    (changed,) = Augmentation(("color", "translation", "cutout"), [3])(torch.nn.Identity(), (image,))
    assert not torch.equal(changed[0], changed[1]) and image.min() < changed.min() + 2
    (gradient,) = torch.autograd.grad(changed.square().sum(), image)
    assert gradient.abs().sum() > 0


def trainer_of(path, *overrides):
    return build_trainer(read_config(path, overrides))


@pytest.mark.parametrize(
    "settings", [["method.lambda_r1=1"], ["method.gan_loss=wgangp"], ["method={name: pix2pix}", "data.name=paired"]]
)
def test_both_players_and_penalties_see_changed_images_alone(settings, tiny_yaml, tmp_path):
    """With a cutout everything that reaches D's first layer has a hole."""
    if "data.name=paired" in settings:
        settings = [*settings, f"data.root={make_paired(tmp_path / 'pairs')}"]
    trainer = trainer_of(tiny_yaml, "discriminator.augment=[cutout]", *settings)
    seen = []
    trainer.method.discriminator.layers[0].register_forward_pre_hook(lambda layer, images: seen.append(images[0]))
    batch = next(trainer.batches(1))
    trainer.train_step(batch)
    assert len(seen) >= 2
    for images in seen:
        holes = (images == 0).all(1).flatten(1).float().mean(1)
        assert (holes > 0.05).all(), "a hole at a corner has a sixteenth of the image"


def test_no_augmentation_leaves_a_run_as_it_was_and_keys_do_not_change(tiny_yaml):
    """Weights with and without go into each other's networks."""
    plain, augmented = trainer_of(tiny_yaml), trainer_of(tiny_yaml, "discriminator.augment=[color, cutout]")
    assert plain.method.state_dict().keys() == augmented.method.state_dict().keys()
    assert not plain.method.discriminator._forward_pre_hooks
    for trainer in (plain, augmented):
        trainer.train_step(next(trainer.batches(1)))
    weights = [t.method.generator.state_dict()["layers.1.weight"] for t in (plain, augmented)]
    assert not torch.equal(*weights)
