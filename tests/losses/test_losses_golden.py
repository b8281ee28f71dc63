"""Losses against the authors' numbers and against closed forms."""

import math

import pytest
import torch

from cut.losses.adversarial import GAN_LOSSES, discriminator_loss, generator_loss
from cut.losses.gradient_penalty import gradient_penalty
from cut.losses.patchnce import patchnce_loss


@pytest.mark.parametrize("negatives, name", [("image", "internal"), ("minibatch", "minibatch")])
def test_patchnce_equals_the_authors(negatives, name, golden):
    g = golden(f"patchnce_{name}")
    query = g["query"].clone().requires_grad_()
    batch = int(g["batch_size"])
    loss = patchnce_loss(query.view(batch, -1, 32), g["key"].view(batch, -1, 32), 0.07, negatives)
    loss.mean().backward()
    torch.testing.assert_close(loss, g["loss"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(query.grad, g["grad_query"], rtol=1e-4, atol=1e-7)


def unit_vectors(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_patchnce_of_equal_patches_is_log_of_their_number():
    same = unit_vectors(1, 1, 8).expand(2, 10, 8)
    torch.testing.assert_close(patchnce_loss(same, same), torch.full((20,), math.log(10)))
    torch.testing.assert_close(patchnce_loss(same, same, negatives="minibatch"), torch.full((20,), math.log(20)))


def test_patchnce_by_hand_with_two_patches():
    query, key = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.6, 0.8], [0.0, 1.0]]])
    # Similarities: (0.6, 0) for the first patch, (0.8, 1) for the second.
    expected = [-math.log(math.exp(0.6) / (math.exp(0.6) + 1)), -math.log(math.e / (math.exp(0.8) + math.e))]
    torch.testing.assert_close(patchnce_loss(query, key, temperature=1.0), torch.tensor(expected))


def test_focal_with_gamma_0_and_alpha_1_is_cross_entropy_to_the_last_bit():
    query, key = unit_vectors(2, 16, 8).requires_grad_(), unit_vectors(2, 16, 8).roll(1, 1)
    plain, focal = patchnce_loss(query, key), patchnce_loss(query, key, gamma=0.0, alpha=1.0)
    assert torch.equal(plain, focal)
    assert torch.equal(*(torch.autograd.grad(loss.sum(), query, retain_graph=True)[0] for loss in (plain, focal)))


@pytest.mark.parametrize("gamma, alpha", [(2.0, 0.25), (3.0, 0.5), (0.5, 1.0)])
def test_focal_follows_its_formula(gamma, alpha):
    query, key = unit_vectors(2, 16, 8), unit_vectors(2, 16, 8).roll(1, 1)
    p = torch.exp(-patchnce_loss(query, key).double())
    expected = -alpha * (1 - p) ** gamma * p.log()
    torch.testing.assert_close(
        patchnce_loss(query, key, gamma=gamma, alpha=alpha).double(), expected, rtol=1e-4, atol=1e-6
    )


def test_focal_gradient_stays_finite_where_the_positive_is_certain():
    key = torch.eye(8)[None]
    query = key.clone().requires_grad_()
    patchnce_loss(query, key, temperature=0.001, gamma=0.5).sum().backward()
    assert torch.isfinite(query.grad).all()


def test_no_gradient_reaches_the_keys():
    key = unit_vectors(1, 4, 8).requires_grad_()
    query = unit_vectors(1, 4, 8).clone().requires_grad_()
    patchnce_loss(query, key).sum().backward()
    assert key.grad is None and query.grad is not None


def test_patchnce_stays_float32_under_autocast():
    query, key = unit_vectors(1, 16, 8), unit_vectors(1, 16, 8).roll(1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(patchnce_loss(query, key), patchnce_loss(query.clone(), key))
        assert patchnce_loss(query, key).dtype == torch.float32


@pytest.mark.parametrize("kind", ["lsgan", "vanilla", "nonsaturating", "wgangp"])
@pytest.mark.parametrize("real", [True, False])
def test_adversarial_losses_equal_the_authors(kind, real, golden):
    g = golden("gan_losses")
    torch.testing.assert_close(discriminator_loss(g["prediction"], real, kind), g[kind]["real" if real else "fake"])


def test_hinge_by_hand():
    prediction = torch.tensor([-2.0, 0.5, 3.0])
    assert discriminator_loss(prediction, True, "hinge").item() == pytest.approx((3 + 0.5 + 0) / 3)
    assert discriminator_loss(prediction, False, "hinge").item() == pytest.approx((0 + 1.5 + 4) / 3)
    assert generator_loss(prediction, "hinge").item() == pytest.approx(-0.5)


def test_clamped_hinge_leaves_a_generator_alone_that_fools_the_discriminator():
    prediction = torch.tensor([-2.0, 0.5, 3.0], requires_grad=True)
    loss = generator_loss(prediction, "hinge_clamped")
    assert loss.item() == pytest.approx((3 + 0.5 + 0) / 3)
    assert torch.autograd.grad(loss, prediction)[0].tolist() == pytest.approx([-1 / 3, -1 / 3, 0.0])
    for real in (True, False):
        assert torch.equal(*(discriminator_loss(prediction, real, kind) for kind in ("hinge", "hinge_clamped")))


def test_saturating_plays_the_minimax_game():
    """Goodfellow et al. 2014, equation 1: D minimises -log D(x) - log(1 - D(G(z))), G minimises log(1 - D(G(z)))."""
    score = torch.tensor([-1.3, 0.2, 2.0], dtype=torch.float64)
    probability = torch.sigmoid(score)
    expected = {"real": -probability.log().mean(), "fake": -(1 - probability).log().mean()}
    assert discriminator_loss(score, True, "saturating").item() == pytest.approx(expected["real"].item(), rel=1e-6)
    assert discriminator_loss(score, False, "saturating").item() == pytest.approx(expected["fake"].item(), rel=1e-6)
    assert generator_loss(score, "saturating").item() == pytest.approx(-expected["fake"].item(), rel=1e-6)


def test_only_the_saturating_gradient_vanishes_where_the_discriminator_wins():
    gradients = {}
    for kind in ("saturating", "nonsaturating"):
        score = torch.full((1,), -200.0, requires_grad=True)
        loss = generator_loss(score, kind)
        loss.backward()
        assert torch.isfinite(loss)
        gradients[kind] = score.grad.item()
    assert gradients["saturating"] == pytest.approx(0, abs=1e-30) and gradients["nonsaturating"] == pytest.approx(-1)


@pytest.mark.parametrize("kind", GAN_LOSSES)
def test_a_better_fake_costs_the_generator_less(kind):
    assert generator_loss(torch.tensor([0.9]), kind) < generator_loss(torch.tensor([-0.9]), kind)
    for real in (True, False):
        right, wrong = (0.9, -0.4) if real else (-0.4, 0.9)
        assert discriminator_loss(torch.tensor([right]), real, kind) < discriminator_loss(
            torch.tensor([wrong]), real, kind
        )


def test_unknown_adversarial_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match="lsgan, vanilla"):
        discriminator_loss(torch.zeros(1), True, "lsgam")


def test_gradient_penalty_of_a_linear_critic():
    weight = torch.full((3, 4, 4), 0.5, requires_grad=True)  # gradient norm sqrt(48) / 2 everywhere
    real, fake = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    penalty = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3))[:, None], real, fake)
    assert penalty.item() == pytest.approx((math.sqrt(48) / 2 - 1) ** 2, rel=1e-5)
    patches = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)).view(2, 1, 1, 1).expand(2, 1, 6, 6), real, fake)
    torch.testing.assert_close(patches, penalty)  # the same score on every patch is the same critic
    penalty.backward()
    assert weight.grad.norm() > 0
