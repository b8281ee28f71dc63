"""MUNIT and DRIT: an image has as many translations as there are styles, and a picture's style can be lent to it."""

import numpy as np
import pytest
import torch

from cut.data.transforms import to_picture, to_tensor
from cut.errors import UserError
from cut.inference.tiling.tiled import translate_in_tiles
from cut.methods.drit import DRIT, DRITConfig
from cut.methods.munit import MUNIT, MUNITConfig
from cut.train.step import only_trainable

DISCRIMINATOR = {"base_channels": 2, "num_scales": 2}
SMALL = {
    "munit": {"generator": {"base_channels": 2, "num_blocks": 1, "mlp_channels": 8}, "discriminator": DISCRIMINATOR},
    "drit": {"generator": {"base_channels": 2}, "discriminator": DISCRIMINATOR, "content_discriminator_layers": 0},
}
METHODS = {"munit": (MUNIT, MUNITConfig), "drit": (DRIT, DRITConfig)}


class Networks:
    def __init__(self, image_px=32, b=3):
        self.channels, self.image_px = {"a": 3, "b": b}, image_px


def build(name, networks=None, **settings):
    torch.manual_seed(0)
    kind, config = METHODS[name]
    method = kind.build(config(**SMALL[name] | settings), networks or Networks())
    with torch.no_grad():  # weights of 0.02 make all images alike
        for parameter in method.parameters():
            parameter.mul_(5 if name == "drit" and parameter.dim() > 1 else 1)
    return method


def image_of(seed, channels=3):
    return torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", METHODS)
def test_without_a_style_the_mean_one_is_taken_every_time(name):
    method, image = build(name).prepare_inference(), image_of(0)
    assert torch.equal(method(image), method(image))
    assert torch.equal(method(image), method(image, torch.zeros(2, 8)))


@pytest.mark.parametrize("name", METHODS)
def test_styles_change_the_translation_both_ways(name):
    method, image = build(name).prepare_inference(), image_of(0)
    styles = method.latents(2, torch.Generator().manual_seed(1))
    assert method.directions().keys() == {"ab", "ba"}
    for translate in method.directions().values():
        assert (translate(image, style=styles) - translate(image)).abs().mean() > 1e-3
    assert (method(image) - method.directions()["ba"](image)).abs().mean() > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_a_guide_lends_its_own_style(name):
    method, image, guide = build(name).prepare_inference(), image_of(0), image_of(1)
    assert "guide" in method.inputs and "style" in method.inputs
    style = method.guide_style(guide)
    assert style.shape == (2, 8) and torch.equal(style, method.guide_style(guide))
    assert torch.equal(style, method.encode_style(guide, "b"))
    assert torch.equal(method.guide_style(guide, "ba"), method.encode_style(guide, "a"))
    assert (method(image, style) - method(image, method.guide_style(-guide))).abs().mean() > 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_latents_are_standard_normal_and_those_of_their_stream(name):
    method = build(name)
    draws = method.latents(20_000, torch.Generator().manual_seed(3))
    assert draws.shape == (20_000, 8)
    assert float(draws.mean()) == pytest.approx(0, abs=0.01) and float(draws.std()) == pytest.approx(1, abs=0.01)
    one, again, other = (method.latents(1, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_an_image_is_translated_as_if_it_were_alone(name):
    method, image = build(name).prepare_inference(), image_of(0)
    both, alone = method(image), method(image[1:])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    assert not method.goes_one_by_one


@pytest.mark.parametrize("injection", ["adain", "concat", "feature"])
def test_tiles_equal_the_whole_picture(injection, tmp_path):
    """Norms over each image, the mean over all places of the guide and the attribute's maps are those of the whole."""
    settings = {} if injection == "adain" else {"generator": {"base_channels": 2, "injection": injection}}
    method = build("munit" if injection == "adain" else "drit", **settings).prepare_inference()
    noise = np.random.default_rng(0).integers(0, 30000, (96, 128, 3))
    picture = (noise + np.where(np.arange(128) < 64, 0, 35000)[None, :, None]).astype(np.uint16)
    style = method.latents(1, torch.Generator().manual_seed(0))
    for forward in (lambda x: method(x, style), lambda x: method.directions()["ba"](x, method.guide_style(x, "ba"))):
        with torch.inference_mode():
            whole = to_picture(forward(to_tensor(picture)[None])[0], np.uint16)
            tiles = translate_in_tiles(forward, picture, 40, torch.device("cpu"), tmp_path, "x.png")
        assert whole.std() > 1000
        assert np.abs(whole.astype(np.int64) - tiles.astype(np.int64)).max() < 8  # of 65535


@pytest.mark.parametrize("name", METHODS)
def test_sheet_shows_reconstruction_fixed_styles_and_the_guide(name):
    method = build(name).prepare_inference()
    batch = {"real_a": image_of(0), "real_b": image_of(1)}
    shown = method.visuals(batch)
    assert list(shown) == ["input", "reconstruction", "style 1", "style 2", "style 3", "guide", "guided"]
    assert set(method.output_columns) <= shown.keys()
    own = method.decode(method.encode_content(batch["real_a"], "a"), method.encode_style(batch["real_a"], "a"), "a")
    assert torch.equal(shown["reconstruction"], own)
    assert torch.equal(shown["guided"], method(batch["real_a"], method.guide_style(batch["real_b"])))
    assert (shown["style 1"] - shown["style 2"]).abs().mean() > 1e-3
    torch.rand(3)  # the styles are those of the run, whatever was drawn meanwhile
    again = build(name)
    again.load_state_dict(method.state_dict())
    assert all(torch.equal(image, again.visuals(batch)[label]) for label, image in shown.items())


@pytest.mark.parametrize("name", METHODS)
def test_domains_may_differ_in_channels(name):
    method = build(name, Networks(b=1))
    assert method(image_of(0)).shape == (2, 1, 32, 32)
    assert method.directions()["ba"](image_of(0, channels=1)).shape == (2, 3, 32, 32)
    terms = [p.terms for p in method.players()]
    batch = {"real_a": image_of(0), "real_b": image_of(1, channels=1)}
    turns = method.batches_per_step
    translated = method.translate({key: images.repeat(turns, 1, 1, 1) for key, images in batch.items()})
    assert all(torch.isfinite(value) for function in terms for value in function(translated).values())


@pytest.mark.parametrize(
    ("name", "settings", "image_px", "message"),
    [
        ("munit", {"discriminator": {"num_scales": 3}}, 60, "discriminator.num_scales: needs images of at least 61 px"),
        ("drit", {"discriminator": {"num_scales": 3}}, 60, "discriminator.num_scales: needs images of at least 61 px"),
        ("drit", {"content_discriminator_layers": 3}, 208, "content_discriminator_layers: needs .* 209 px.* is 208"),
    ],
)
def test_too_small_images_are_refused_with_the_field_that_lowers_it(name, settings, image_px, message):
    with pytest.raises(ValueError, match=message):
        build(name, Networks(image_px), **settings)


def test_content_discriminator_learns_slowly_and_with_clipped_gradients():
    players = build("drit", content_discriminator_steps=3).players()
    assert [player.name for player in players] == [
        "content_discriminator",
        "content_discriminator",
        "discriminator",
        "content_discriminator",
        "generator",
        "generator",
    ]
    assert {(p.lr_factor, p.clip_norm) for p in players if p.name == "content_discriminator"} == {(0.4, 5.0)}
    assert {(p.lr_factor, p.clip_norm) for p in players if p.name != "content_discriminator"} == {(1.0, None)}


def test_content_discriminator_has_batches_of_its_own():
    method = build("drit", content_discriminator_steps=3)
    batch = {
        f"real_{d}": torch.cat([image_of(number + offset) for number in range(3)]) for d, offset in (("a", 0), ("b", 9))
    }
    translated = method.translate(batch)
    terms = [method.content_terms(translated, turn) for turn in range(3)]
    assert len({float(term["domain_a"].detach()) for term in terms}) == 3
    torch.testing.assert_close(translated.real["a"], batch["real_a"][4:5])  # of the last batch the first
    torch.testing.assert_close(translated.further["b"], batch["real_b"][5:6])


def test_second_generator_update_leaves_the_attribute_encoder():
    """It goes through it, for the latent regression, but has no gradient for it: Adam then passes over it."""
    method = build("drit", content_discriminator_steps=1)
    last = method.players()[-1]
    translated = method.translate({"real_a": image_of(0), "real_b": image_of(1)})
    with only_trainable(method, last.networks):
        torch.stack(list(last.terms(translated).values())).sum().backward()
    assert all(p.grad is None for p in method.attribute_encoder_a.parameters())
    assert all(p.grad is not None for p in method.content_encoder.parameters())


def test_translations_of_the_second_update_come_from_the_weights_of_now():
    method = build("drit", content_discriminator_steps=1)
    translated = method.translate({"real_a": image_of(0), "real_b": image_of(1)})
    with torch.no_grad():
        before = method.random_terms(translated)
        for parameter in method.decoder.parameters():
            parameter.mul_(1.5)
        after = method.random_terms(translated)
    assert after.keys() == before.keys() and float(after["gan_random_a"]) != float(before["gan_random_a"])


def test_mode_seeking_adds_a_second_translation():
    terms = {}
    for with_it in (True, False):
        method = build("drit", content_discriminator_steps=1, mode_seeking=with_it)
        translated = method.translate({"real_a": image_of(0), "real_b": image_of(1)})
        assert len(translated.drawn) == (2 if with_it else 1)
        terms[with_it] = method.random_terms(translated)
    assert terms[True].keys() - terms[False].keys() == {"mode_seeking_a", "mode_seeking_b"}


def test_an_odd_batch_is_refused():
    method = build("drit", content_discriminator_steps=1)
    with pytest.raises(UserError, match="data.batch_size: drit needs an even number of images per process.* take 2"):
        method.translate({"real_a": image_of(0)[:1], "real_b": image_of(1)[:1]})
