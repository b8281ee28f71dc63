"""Gatys et al. against the numbers of their notebook."""

import pytest
import torch
from fixed import fill_by_key

from cut.methods.gatys import Gatys, GatysConfig
from cut.methods.stylizer import no_report
from cut.models.vgg import VGG, he_uniform

LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "conv4_2")


@pytest.fixture(scope="module")
def weights():
    return fill_by_key(VGG(19, LAYERS), 0.618).state_dict()


def small(**settings):
    vgg = he_uniform(VGG(19, LAYERS, settings.get("pooling", "max"), base_channels=2))
    return Gatys(GatysConfig(vgg="random", base_channels=2, **settings), vgg)


def pictures(size=24):
    stream = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, size, size + 8, generator=stream), torch.rand(1, 3, size, size, generator=stream)


@pytest.mark.parametrize("pooling, name", [("max", "max"), ("average", "avg")])
def test_terms_and_their_gradient_equal_the_authors(golden, weights, pooling, name):
    numbers = golden("gatys_objective")
    vgg = VGG(19, LAYERS, pooling)
    vgg.load_state_dict(weights)
    method = Gatys(GatysConfig(vgg="random", pooling=pooling), vgg)
    content, style = (method.preparation.prepare(numbers[f"{key}_u8"][None] / 255) for key in ("content", "style"))
    torch.testing.assert_close(content, numbers["content_prepared"])
    targets, expected = method.targets(content, style), numbers[name]
    seen = expected["start"].clone().requires_grad_()
    terms = torch.stack(list(method.terms(seen, targets).values()))
    torch.testing.assert_close(terms, expected["terms"], rtol=3e-6, atol=0)
    terms.sum().backward()
    assert (seen.grad - expected["grad"]).norm() < 1e-6 * expected["grad"].norm()
    if "lbfgs_losses" not in expected:
        return
    losses = []
    method.optimise(content, targets, 1, lambda number, terms, seen: losses.append(sum(terms.values()).item()))
    assert len(losses) == 20  # one step of L-BFGS
    # The second differs by 4e-5 from the first, so that float32 knows the curvature to a percent, and all that follows.
    assert losses[:2] == pytest.approx(expected["lbfgs_losses"][:2].tolist(), rel=1e-6)
    assert losses == pytest.approx(expected["lbfgs_losses"].tolist(), rel=0.06)


def test_the_picture_is_clipped_as_the_notebook_does(golden):
    numbers = golden("gatys_objective")
    found = small().preparation.restore(numbers["postp_in"][None])[0] * 255
    assert ((found - 1e-3).floor().clamp(0) <= numbers["postp_out_u8"]).all()  # which is cut to whole numbers
    assert (found + 1e-3 >= numbers["postp_out_u8"]).all()


def test_stages_count_evaluations_and_double_the_size():
    photo, painting = pictures()
    seen = []
    method = small(stages=((16, 21), (32, 1)))
    made = method.stylize(photo, painting, torch.Generator(), seen.append)
    assert made.shape == (1, 3, 32, 42) == (1, 3, *method.working_size(24, 32))
    steps = [progress.step for progress in seen]
    assert steps[:40] == list(range(1, 41)) and steps[40] == 22  # whole steps of 20; the next stage counts from 21
    assert seen[0].total == 22 and seen[0].picture().shape[2:] == (16, 21) and seen[-1].picture().shape[2:] == (32, 42)
    first, last = (sum(seen[i].terms.values()) for i in (0, 39))
    assert last < 0.5 * first


def test_settings_change_what_they_say():
    photo, painting = pictures()
    method = small()
    content, style = method.preparation.prepare(photo), method.preparation.prepare(painting)
    targets = method.targets(content, style)
    seen = content.roll(3, dims=3)
    one = method.terms(seen, targets)
    more = small(lambda_style=2000.0, lambda_content=3.0).terms(seen, targets)
    for name, term in more.items():
        assert term == pytest.approx(one[name].item() * (3.0 if name == "content" else 2.0))
    starts = []
    for start in ("photo", "noise"):
        method = small(stages=((24, 1),), start=start)
        method.stylize(photo, painting, torch.Generator().manual_seed(3), lambda p: starts.append(p.terms["content"]))
    assert starts[0] == 0.0 and starts[20] > 0.0  # the photograph has its own content
    made = small(stages=((16, 1),)).forward(photo * 2 - 1, painting * 2 - 1)
    assert made.shape == photo.shape and made.abs().max() <= 1.0
    assert no_report is not None
