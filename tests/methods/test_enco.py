"""What the golden steps of EnCo do not show: its options, its mistakes, and the end of the identity."""

import pytest
import torch
from fixed import formula_image

from cut.build import build_method, read_config
from cut.errors import UserError
from cut.methods.enco import EnCo, EnCoConfig, choose_places
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator

PAIRS = ((3, -4), (7, -8), (13, 14))


def terms_of(progress=0.0, **settings):
    """The generator's terms on two images of different domains, and the gradient of G's first convolution."""
    torch.manual_seed(0)
    config = EnCoConfig.model_validate({"layer_pairs": PAIRS, "num_patches": 16, "head_channels": 8} | settings)
    method = EnCo(config, ResnetGenerator(3, 3, 4, 4), PatchDiscriminator(3, 2, 2))
    method.progress = progress
    image = formula_image(2, 3, 32)
    terms = method.generator_terms(method.translate({"real_a": image, "real_b": image.flip(2)}))
    (gradient,) = torch.autograd.grad(sum(terms.values()), method.generator.layers[1].weight)
    return {name: float(value.detach()) for name, value in terms.items()}, gradient


def test_identity_ends_at_its_share_and_the_content_term_doubles():
    before, _ = terms_of(0.49)
    after, _ = terms_of(0.5)
    never, _ = terms_of(0.0, lambda_identity=0.0)
    assert before.keys() == {"gan", "nce", "identity"} and after.keys() == never.keys() == {"gan", "nce"}
    assert after["nce"] == pytest.approx(2 * before["nce"], rel=1e-5) and never == pytest.approx(after)
    assert terms_of(0.5, identity_share=0.6)[0].keys() == before.keys()


def test_places_of_a_discriminator_with_several_heads_follow_the_mean_of_their_scores():
    scores = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    chosen = []
    for given in (scores, scores.mean(1, keepdim=True)):
        torch.manual_seed(1)
        chosen.append(choose_places(given, torch.Size([8, 8]), EnCoConfig(num_patches=16)))
    assert chosen[0].max() < 64 and torch.equal(*chosen)


def test_terms_are_proportional_to_their_weights():
    once, _ = terms_of()
    other, _ = terms_of(lambda_gan=3.0, lambda_nce=5.0, lambda_identity=7.0)
    assert other == pytest.approx(
        {"gan": 3 * once["gan"], "nce": 2.5 * once["nce"], "identity": 0.7 * once["identity"]}
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"head_norm": "layer"},
        {"oversampling": 1},
        {"random_share": 0.25},
        {"layer_pairs": PAIRS[:2]},
        {"gan_loss": "hinge_clamped"},
    ],
)
def test_each_setting_changes_the_gradient(setting):
    assert not torch.equal(terms_of()[1], terms_of(**setting)[1])


def test_places_are_the_most_fake_of_candidates_then_random_ones():
    scores = torch.linspace(1, -1, 64).view(1, 1, 8, 8)  # the bottom looks fake
    config = EnCoConfig(num_patches=8, oversampling=8)
    ids = choose_places(scores, torch.Size([8, 8]), config)
    assert sorted(ids[0, :4].tolist()) == [60, 61, 62, 63] and ids.shape == (1, 8)
    everything = choose_places(scores, torch.Size([8, 8]), EnCoConfig(num_patches=100, random_share=0.0))
    assert everything[0].tolist() == list(range(63, -1, -1))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"layer_pairs": [[3, -8]]}, r"layer_pairs: layers \(3, -8\) have \[4, 8\] channels"),
        ({"layer_pairs": [[3, 40]]}, "no layer 40"),
        ({"layer_pairs": [[4, 10]]}, r"layers \(4, 10\) have \[8, 16\] channels"),
    ],
)
def test_pairs_of_different_stages_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        terms_of(**settings)


def test_pairs_of_different_sizes_are_refused_before_the_first_update():
    with pytest.raises(UserError, match=r"layers \(6, 7\) have sizes \[\(32, 32\), \(16, 16\)\]"):
        terms_of(layer_pairs=[[6, 7]])


def test_a_generator_without_a_decoder_to_read_and_a_discriminator_without_a_map_are_refused(tiny_yaml):
    with pytest.raises(UserError, match="layer_pairs|no layer"):
        build_method(read_config(tiny_yaml, ["method={name: enco}", "generator={name: stylegan2}"]))
    with pytest.raises(UserError, match="use patch or pixel"):
        choose_places(torch.zeros(2, 1), torch.Size([8, 8]), EnCoConfig())
