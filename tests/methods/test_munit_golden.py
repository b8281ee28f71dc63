"""Whole training steps of MUNIT against the authors' code (tests/golden/README.md)."""

import pytest
import torch
from golden_steps import assert_final_weights, draw_from, load_weights, training_step_of

from cut.methods.munit import MUNIT, MUNITConfig

NAMES = {"gan": "gan", "recon_x": "image", "recon_s": "style", "recon_c": "content", "cycle": "cycle"}
NETWORKS = {"generator": {"base_channels": 2, "num_blocks": 2, "style_dim": 4, "mlp_channels": 8}}
NETWORKS |= {"discriminator": {"base_channels": 2}}


class Networks:
    channels, image_px = {"a": 3, "b": 3}, 64


def method_of(expected, **config):
    method = MUNIT.build(MUNITConfig(**NETWORKS, **config), Networks).to(torch.get_default_dtype())
    load_weights(method, expected["weights"])
    return method


def named_as_theirs(discriminator, generator):
    sums = {f"discriminator/gan_{d}": discriminator[f"gan_real_{d}"] + discriminator[f"gan_fake_{d}"] for d in "ab"}
    terms = {f"generator/{theirs}_{d}": generator[f"{ours}_{d}"] for theirs, ours in NAMES.items() for d in "ab"}
    return sums | terms | {"generator/sum": sum(generator.values())}


def run(expected, monkeypatch, num_steps):
    """The method after the steps, and each step's losses by the authors' names."""
    method = method_of(expected)
    step, found = training_step_of(method), []
    for number in range(num_steps):
        batch = {key: images[number].to(torch.get_default_dtype()) for key, images in expected["inputs"].items()}
        none_left = draw_from(monkeypatch, [style.flatten(1) for style in expected["draws"][number]])
        terms, _ = step(batch, number)
        none_left()
        found.append(named_as_theirs(*terms))
    return method, found


def test_steps_equal_the_authors(golden, double, monkeypatch):
    expected = golden("munit_steps")["cycle"]
    method, found = run(expected, monkeypatch, 2)
    assert found[0].keys() == expected["losses"].keys()
    for number, losses in enumerate(found):
        for name, theirs in expected["losses"].items():
            assert float(losses[name]) == pytest.approx(float(theirs[number]), abs=1e-9), name
    assert_final_weights(method, expected["final"])


def test_first_step_equals_the_authors_in_float32(golden, monkeypatch):
    expected = golden("munit_steps")["cycle"]
    _, (losses,) = run(expected, monkeypatch, 1)
    for name, theirs in expected["losses_float32"].items():
        assert float(losses[name]) == pytest.approx(float(theirs), rel=1e-5), name


def test_losses_of_two_images_are_means_of_each(golden, double, monkeypatch):
    """Without norms over the batch; the layer norm's statistics are those of one image."""
    expected = golden("munit_steps")["cycle"]
    method, draws = method_of(expected), expected["draws"]
    images = {key: values[:, 0].double() for key, values in expected["inputs"].items()}

    def losses(rows):
        styles = [torch.cat([draws[row][place].flatten(1) for row in rows]) for place in range(4)]
        draw_from(monkeypatch, styles)
        translated = method.translate({key: values[rows] for key, values in images.items()})
        return [player.terms(translated) for player in method.players()]

    for both, one, other in zip(losses([0, 1]), losses([0]), losses([1]), strict=True):
        for name, value in both.items():
            torch.testing.assert_close(value, (one[name] + other[name]) / 2, rtol=1e-9, atol=0, msg=name)


def test_without_the_cycle_term_the_others_stay(golden, double, monkeypatch):
    expected = golden("munit_steps")["cycle"]
    batch = {key: images[0].double() for key, images in expected["inputs"].items()}
    terms = []
    for weight in (10.0, 0.0):
        method = method_of(expected, lambda_cycle=weight)
        draw_from(monkeypatch, [style.flatten(1) for style in expected["draws"][0]])
        terms.append(method.players()[1].terms(method.translate(batch)))
    assert terms[0].keys() - terms[1].keys() == {"cycle_a", "cycle_b"}
    assert all(torch.equal(value, terms[0][name]) for name, value in terms[1].items())
