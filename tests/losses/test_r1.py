import pytest
import torch

from cut.losses.gradient_penalty import r1_penalty


def test_penalty_and_its_gradient_equal_the_closed_form():
    """D(x) = w / 2 sum x^2 has the slope w x, so the penalty is w^2 |x|^2, and its derivative by w 2 w |x|^2."""
    real, weight = torch.randn(4, 3, 5, 6), torch.tensor(0.7, requires_grad=True)
    scores, penalty = r1_penalty(lambda x: weight / 2 * x.square().sum((1, 2, 3)), real)
    squared = real.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, 0.49 * squared)
    torch.testing.assert_close(scores, 0.35 * real.square().sum((1, 2, 3)))
    (slope,) = torch.autograd.grad(penalty, weight, retain_graph=True)
    torch.testing.assert_close(slope, 1.4 * squared)
    scores.sum().backward()  # the scores serve for the adversarial loss too
    torch.testing.assert_close(weight.grad, 2 * squared)
    assert not real.requires_grad


def test_penalty_equals_finite_differences():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(2, 4, 3), torch.nn.Softplus(), torch.nn.Flatten(), torch.nn.Linear(16, 1)
    critic = torch.nn.Sequential(*layers)
    real, step = torch.randn(2, 2, 4, 4), 1e-2
    _, penalty = r1_penalty(critic, real)
    squared = 0.0
    with torch.no_grad():
        for place in range(32):
            nudge = torch.zeros(32).index_fill(0, torch.tensor(place), step).view(1, 2, 4, 4)
            squared += ((critic(real + nudge) - critic(real - nudge)) / (2 * step)).square().mean()
    assert float(penalty.detach()) == pytest.approx(float(squared), rel=1e-3)


def test_scores_of_parts_count_for_their_image():
    real = torch.randn(3, 1, 4, 4)
    whole = r1_penalty(lambda x: x.square().sum((1, 2, 3)), real)[1]
    parts = r1_penalty(lambda x: x.square().view(3, 2, 8).sum(2).flatten(), real)[1]
    torch.testing.assert_close(whole, parts)


def test_computed_in_float32_under_autocast():
    real, critic = torch.randn(2, 3, 8, 8), torch.nn.Conv2d(3, 1, 3)
    expected = r1_penalty(critic, real)
    with torch.autocast("cpu", torch.bfloat16):
        scores, penalty = r1_penalty(critic, real.bfloat16().float())
        assert critic(real).dtype == torch.bfloat16
    assert scores.dtype == penalty.dtype == torch.float32
    torch.testing.assert_close(penalty, expected[1])
