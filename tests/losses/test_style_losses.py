"""Losses of Gatys, STROTSS and WCT2 against the authors' numbers (float32, so up to its rounding)."""

import pytest
import torch

from cut.losses.gram import content_loss, gram, style_loss
from cut.losses.optimal_transport import (
    cosine_distances,
    moment_distance,
    moments,
    palette_distance,
    relaxed_emd,
    self_similarity_distance,
)
from cut.losses.whitening import transfer


def rows(values):
    """The authors' `(1, C, n, 1)` as `(n, C)`."""
    return values[0, :, :, 0].T


def leaf(values):
    return values.clone().requires_grad_()


def test_gram_matrix_and_both_losses_of_gatys(golden):
    numbers = golden("gatys_losses")
    feature = leaf(numbers["feature"])
    torch.testing.assert_close(gram(feature), numbers["gram"], rtol=1e-6, atol=1e-6)
    loss = style_loss(feature, numbers["target_gram"])
    torch.testing.assert_close(loss, numbers["style_loss"])
    loss.backward()
    torch.testing.assert_close(feature.grad, numbers["style_grad"], rtol=1e-5, atol=1e-7)
    feature = leaf(numbers["feature"])
    loss = content_loss(feature, numbers["content_target"])
    torch.testing.assert_close(loss, numbers["content_loss"])
    loss.backward()
    torch.testing.assert_close(feature.grad, numbers["content_grad"])


def test_relaxed_transport_takes_the_larger_side_and_does_not_depend_on_the_order(golden):
    numbers = golden("strotss_losses")
    x, y = leaf(numbers["x"]), leaf(numbers["y"])
    cost = cosine_distances(rows(x), rows(y))
    torch.testing.assert_close(cost, numbers["remd_cost"], rtol=0, atol=1e-6)
    loss = relaxed_emd(cost)
    torch.testing.assert_close(loss, numbers["remd"])
    torch.testing.assert_close(relaxed_emd(cost.T), numbers["remd_swapped"])
    loss.backward()
    torch.testing.assert_close(x.grad, numbers["remd_grad_x"], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(y.grad, numbers["remd_grad_y"], rtol=1e-5, atol=1e-7)


def test_moments_self_similarity_and_palette(golden):
    numbers = golden("strotss_losses")
    x = leaf(numbers["x"])
    loss = moment_distance(moments(rows(x)), moments(rows(numbers["y"])))
    torch.testing.assert_close(loss, numbers["moment"])
    loss.backward()
    torch.testing.assert_close(x.grad, numbers["moment_grad_x"], rtol=1e-5, atol=1e-7)
    x = leaf(numbers["self_x"])
    own, other = (rows(values)[:, :-2] for values in (x, numbers["self_y"]))  # the last two are the places
    loss = self_similarity_distance(own, other)
    torch.testing.assert_close(loss, numbers["self_similarity"])
    loss.backward()
    torch.testing.assert_close(x.grad, numbers["self_grad_x"], rtol=1e-4, atol=1e-6)
    x = leaf(numbers["palette_x"])
    loss = palette_distance(rows(x), rows(numbers["palette_y"]))
    torch.testing.assert_close(loss, numbers["palette"])
    loss.backward()
    torch.testing.assert_close(x.grad, numbers["palette_grad_x"], rtol=1e-5, atol=1e-7)


def test_a_black_pixel_leaves_the_palette_and_its_gradient_finite(golden):
    numbers = golden("strotss_losses")
    assert numbers["palette_with_a_black_pixel"].isnan()  # what the authors' code gives
    colours, palette = rows(numbers["palette_x"]).clone(), rows(numbers["palette_y"])
    colours[3] = 0.0
    colours.requires_grad_()
    loss = palette_distance(colours, palette)
    loss.backward()
    assert loss.isfinite() and colours.grad.isfinite().all()
    near = colours.detach().clone()
    near[3] = 1e-4  # of which the authors' code makes a number
    assert abs(loss - palette_distance(near, palette)) < 0.05


@pytest.mark.parametrize(
    "content, style, alpha, expected",
    [
        ("content", "style", 1.0, "full"),
        ("content", "style", 0.6, "alpha_0.6"),
        ("few", "style", 1.0, "content_few_places"),
        ("content", "few", 1.0, "style_few_places"),
    ],
)
def test_whitening_and_colouring(golden, content, style, alpha, expected):
    numbers = golden("wct2_whitening")
    found = transfer(numbers[content], numbers[style], alpha)
    torch.testing.assert_close(found, numbers[expected], rtol=0, atol=2e-6)


def test_whitening_within_labels(golden):
    numbers = golden("wct2_whitening")
    labels = (numbers["content_segment"], numbers["style_segment"])
    found = transfer(numbers["content"], numbers["style"], labels=labels)
    torch.testing.assert_close(found, numbers["segmented"], rtol=0, atol=2e-6)
    alone = torch.full_like(labels[0], 7)  # a label that the style has not: nothing moves
    assert torch.equal(transfer(numbers["content"], numbers["style"], labels=(alone, labels[1])), numbers["content"])
