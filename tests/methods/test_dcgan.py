"""DCGAN: its step is algorithm 1 of Goodfellow et al., its sheets show what they say."""

import math

import pytest
import torch

from cut.methods.dcgan import DCGAN, DCGANConfig, interpolate
from cut.train.ema import AveragedNetworks


class FakeNetworks:
    channels, image_px = {"b": 1}, 8


RESNET = {"name": "resnet", "latent_size": 64, "base_channels": 2, "num_blocks": 1}


def build(**settings):
    small = {
        "generator": {"name": "dcgan", "latent_size": 6, "base_channels": 4},
        "discriminator": {"name": "dcgan", "base_channels": 4},
    }
    torch.manual_seed(0)
    return DCGAN.build(DCGANConfig(**(small | settings)), FakeNetworks())


def batch(count):
    return {"real": torch.linspace(-1, 1, count).view(-1, 1, 1, 1).expand(count, 1, 8, 8).contiguous()}


class Recorder(torch.nn.Module):
    """Keeps what the module behind it is given."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.network(x)


def test_each_discriminator_update_sees_images_and_noise_of_its_own():
    method = build(discriminator_steps=3)
    method.generator, method.discriminator = Recorder(method.generator), Recorder(method.discriminator)
    players, real = method.players(), batch(6)
    assert [p.name for p in players] == ["discriminator"] * 3 + ["generator"] and method.batches_per_step == 3
    drawn = method.translate(real)
    for player in players:
        player.terms(drawn)
    reals = method.discriminator.seen[0:6:2]  # each update looks at real images first
    assert torch.equal(torch.cat(reals), real["real"])
    noise = torch.cat(method.generator.seen)  # three updates of D and one of G, two latents each
    assert noise.shape == (8, 6) and len(noise.unique(dim=0)) == 8


def test_the_discriminators_loss_does_not_reach_the_generator():
    method = build()
    sum(method.discriminator_terms(method.translate(batch(4)), 0).values()).backward()
    assert all(p.grad is None for p in method.generator.parameters())
    assert all(p.grad is not None for p in method.discriminator.parameters())


@pytest.mark.parametrize("kind", ["nonsaturating", "saturating"])
def test_at_chance_the_value_of_the_game_is_minus_log_4(kind):
    """Theorem 1 of Goodfellow et al."""
    method = build(gan_loss=kind)
    torch.nn.init.zeros_(method.discriminator.layers[-2].weight)
    drawn = method.translate(batch(4))
    assert -sum(method.discriminator_terms(drawn, 0).values()).item() == pytest.approx(-math.log(4))
    expected = math.log(2) if kind == "nonsaturating" else -math.log(2)
    assert method.generator_terms(drawn)["gan"].item() == pytest.approx(expected)


def test_the_moving_average_has_statistics_of_batch_norm_that_fit_its_weights():
    method = build()
    average = AveragedNetworks(method, decay=0.5)
    before = average.state_dict()["generator.layers.1.running_var"].clone()
    method.generator.layers[1].running_var.fill_(3.0)
    average.update(method, step=1)
    expected = 2 / 11 * before + 9 / 11 * 3.0  # in the first step most is new
    torch.testing.assert_close(average.state_dict()["generator.layers.1.running_var"], expected)


def test_latents_are_uniform_or_normal_and_repeat_with_their_generator():
    uniform, normal = (build(latent=kind) for kind in ("uniform", "normal"))
    draws = [m.latents(20_000, torch.Generator().manual_seed(1)) for m in (uniform, normal)]
    assert draws[0].abs().max() <= 1 and draws[0].std().item() == pytest.approx(1 / math.sqrt(3), rel=0.01)
    assert draws[1].abs().max() > 3 and draws[1].std().item() == pytest.approx(1, rel=0.01)
    assert torch.equal(draws[0], uniform.latents(20_000, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("spherical", [True, False])
def test_interpolation_starts_and_ends_at_its_latents(spherical):
    start, end = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    path = interpolate(start, end, 9, spherical)
    torch.testing.assert_close(path[0], start)
    torch.testing.assert_close(path[-1], end)
    middle = (start + end) / 2
    if spherical:  # as long as its ends
        angle = torch.acos(torch.nn.functional.cosine_similarity(start, end, dim=0))
        middle = middle / torch.cos(angle / 2)
        lengths = interpolate(start / start.norm(), end / end.norm(), 9, True).norm(dim=1)
        torch.testing.assert_close(lengths, torch.ones(9))
    torch.testing.assert_close(path[4], middle)


@pytest.mark.parametrize("latent", ["uniform", "normal"])
def test_the_strip_of_a_sheet_goes_from_the_first_to_the_last_image_of_row_0(latent):
    method = build(latent=latent).eval()
    row, other = (method.visuals({"row": torch.tensor([n])}) for n in (0, 1))
    ((name, strip),) = method.further_visuals().items()
    assert name == "interpolation from the first to the last image of row 1"
    assert list(row) == list("12345678") and row["1"].shape == (1, 1, 8, 8)
    for end in "18":
        torch.testing.assert_close(strip[end], row[end])
    assert not torch.allclose(strip["4"], row["4"]) and not torch.allclose(row["1"], other["1"])
    again = method.visuals({"row": torch.tensor([1])})
    assert all(torch.equal(again[key], other[key]) for key in other)


def test_resnet_generator_reads_its_latent_as_a_map_and_refuses_another_size():
    method = build(generator=RESNET, discriminator={"name": "vgg16", "base_channels": 1})
    latent = method.latents(2, torch.Generator().manual_seed(0))
    expected = method.generator.layers[1:](latent.view(2, 1, 8, 8))
    method.eval()
    assert method(latent).shape == expected.shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match="784 is no map of 8 x 8 px; set it to 64"):
        build(generator=RESNET | {"latent_size": 784})


def test_weights_start_as_the_paper_says():
    config = DCGANConfig()
    networks = FakeNetworks()
    networks.image_px = 28
    method = DCGAN.build(config, networks)
    for weight in (method.generator.layers[3].weight, method.discriminator.layers[2].weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02) and abs(weight.mean().item()) < 1e-3


def test_r1_is_half_the_squared_slope_of_the_scores_of_real_images():
    method = build(lambda_r1=3.0, discriminator={"name": "vgg16", "base_channels": 2, "dropout": 0.0})
    drawn, plain = (
        method.translate(batch(4)),
        build(discriminator={"name": "vgg16", "base_channels": 2, "dropout": 0.0}),
    )
    terms = method.discriminator_terms(drawn, 0)
    real = drawn.reals[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(method.discriminator(real).sum(), real)
    expected = 1.5 * slope.square().sum((1, 2, 3)).mean()
    assert expected > 0 and terms["r1"].item() == pytest.approx(expected.item(), rel=1e-4)
    others = plain.discriminator_terms(drawn, 0)
    assert terms.keys() - others.keys() == {"r1"}
    for key, value in others.items():
        assert terms[key].item() == pytest.approx(value.item()), key
    terms["r1"].backward()
    assert method.discriminator.layers[0].weight.grad.abs().sum() > 0
