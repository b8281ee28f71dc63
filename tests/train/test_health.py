"""Figures of a run's health: what they are on cases that can be counted by hand, and when they warn."""

import numpy as np
import pytest
import torch

from cut.methods.base import Judgement
from cut.train.health import discriminator_accuracy, output_figures, signs_of_collapse, to_numbers, worst_figures


def picture(value, size=32):
    return np.full((size, size, 3), value, dtype=np.uint8)


def noise(seed, size=32):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(("kind", "real", "fake"), [("lsgan", 0.75, 1.0), ("vanilla", 1.0, 0.5), ("hinge", 1.0, 0.5)])
def test_accuracy_counts_the_scores_on_the_right_side_of_the_losses_threshold(kind, real, fake):
    judged = Judgement(torch.tensor([0.6, 0.7, 0.9, 0.4]), torch.tensor([0.1, 0.3, -1.0, -0.2]), kind)
    assert to_numbers(discriminator_accuracy({"discriminator": judged})) == {
        "health/discriminator/accuracy_real": real,
        "health/discriminator/accuracy_fake": fake,
    }


def test_a_critic_has_no_accuracy():
    judged = Judgement(torch.ones(3), torch.zeros(3), "wgangp")
    assert to_numbers(discriminator_accuracy({"discriminator": judged})) == {}


def test_figures_of_pictures_that_can_be_counted():
    halves = np.concatenate([picture(0), picture(100)], axis=1)
    figures = output_figures([halves, picture(200)], [picture(10), picture(61)])
    assert figures["health/output_std"] == pytest.approx(0.5 * 50 / 255)  # 50 and 0
    assert figures["health/saturated_share"] == pytest.approx(0.25)  # half of the first picture
    assert figures["health/output_variety"] == pytest.approx(150 / 255, abs=0.01)  # 200 and 100 apart
    assert figures["health/input_variety"] == pytest.approx(51 / 255)


def test_sound_pictures_show_no_sign():
    assert signs_of_collapse(output_figures([noise(0), picture(90)], [noise(1), picture(60)])) == []


@pytest.mark.parametrize(
    ("outputs", "sign"),
    [
        ([picture(100), picture(200)], "flat"),
        ([noise(0), noise(0)], "all the same"),
        ([np.where(noise(s) > 127, 255, 0).astype(np.uint8) for s in (0, 1)], "ends of the range"),
    ],
)
def test_collapse_is_told(outputs, sign):
    inputs = [noise(3), picture(20)]
    assert any(sign in text for text in signs_of_collapse(output_figures(outputs, inputs)))


def test_two_collapsed_generators_do_not_excuse_each_other():
    inputs = [noise(3), picture(20)]
    to_b, to_a = ([noise(0), noise(0)], [255 - noise(0) // 2] * 2)  # each always the same, and unlike the other
    assert signs_of_collapse(output_figures([*to_b, *to_a], inputs)) == []  # why they are not thrown together
    worst = worst_figures([output_figures(to_b, inputs), output_figures(to_a, inputs)])
    assert signs_of_collapse(worst) == ["the generator's pictures are all the same"]
    sound = output_figures([noise(5), picture(90)], inputs)
    assert signs_of_collapse(worst_figures([sound, output_figures(to_a, inputs)])) == signs_of_collapse(worst)


def test_inputs_that_are_alike_excuse_alike_outputs():
    inputs = [picture(100), picture(101)]
    assert signs_of_collapse(output_figures([noise(0), noise(1)], inputs)) == []


def test_gray_pictures_and_sizes_that_differ_are_compared():
    assert output_figures([noise(0)[:, :, :1], noise(1, 48)[:, :, :1]])["health/output_variety"] > 0
