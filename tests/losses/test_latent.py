"""Losses on latents, against torch's distributions and figures worked out by hand."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from cut.losses.latent import kl_to_standard_normal, mode_seeking_loss


def test_kl_is_that_of_torchs_distributions_summed_over_numbers():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(3, 5).double(), torch.randn(3, 5).double()
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)


def test_kl_of_the_standard_normal_itself_is_0():
    assert kl_to_standard_normal(torch.zeros(2, 4), torch.zeros(2, 4)) == 0


def test_mode_seeking_is_the_inverse_of_the_distances_ratio():
    one, other = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    loss = mode_seeking_loss(one, other, torch.zeros(1, 8), torch.full((1, 8), 2.0))
    assert float(loss) == pytest.approx(1 / (0.5 / 2.0 + 1e-5), rel=1e-6)


def test_mode_seeking_of_equal_images_is_large_and_finite():
    image = torch.rand(1, 3, 4, 4)
    loss = mode_seeking_loss(image, image, torch.zeros(1, 8), torch.ones(1, 8))
    assert float(loss) == pytest.approx(1e5, rel=1e-3)


def test_losses_of_a_batch_are_means_over_its_images():
    torch.manual_seed(0)
    images, latents = torch.rand(2, 2, 3, 4, 4), torch.randn(2, 2, 8)
    for loss, values in ((mode_seeking_loss, (*images, *latents)), (kl_to_standard_normal, latents)):
        parts = [loss(*(value[i : i + 1] for value in values)) for i in range(2)]
        torch.testing.assert_close(loss(*values), (parts[0] + parts[1]) / 2)
