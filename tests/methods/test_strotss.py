"""STROTSS against the authors' numbers."""

import pytest
import torch
from fixed import fill_by_key

from cut.methods import strotss
from cut.methods.strotss import STROTSS, Draws, Painting, STROTSSConfig, from_pyramid, pyramid, read_bilinear
from cut.methods.stylizer import no_report
from cut.models.vgg import VGG, he_uniform, torchvision_numbers

LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_3", "conv5_3")


@pytest.fixture(scope="module")
def vgg():
    numbers = torchvision_numbers(16)
    return fill_by_key(VGG(16, LAYERS), 0.618, lambda key: f"features.{numbers[key[:7]]}{key[7:]}")


def small(**settings):
    config = STROTSSConfig(vgg="random", base_channels=2, **settings)
    return STROTSS(config, he_uniform(VGG(16, LAYERS, base_channels=2)))


def test_pyramid_and_its_inverse(golden):
    numbers = golden("strotss_pyramid")
    levels = pyramid(numbers["image"])
    for level, expected in zip(levels, numbers["levels"], strict=True):
        torch.testing.assert_close(level, expected)
    torch.testing.assert_close(from_pyramid(levels), numbers["synthesised"])


def test_grid_of_places_by_size(golden):
    for name, expected in golden("strotss_sampling_grid").items():
        height, width = map(int, name.split("x"))
        for seed in range(9):  # offsets are random
            draws = Draws(torch.Generator().manual_seed(seed))
            rows, columns = draws._lay_grid(height, width)
            own = (rows.unique(), columns.unique())
            theirs = (expected["rows"].unique(), expected["columns"].unique())
            strides = [{(coordinates[1] - coordinates[0]).item() for coordinates in side} for side in (own, theirs)]
            assert strides[0] == strides[1]
            assert abs(len(rows) - expected["count"].item()) <= max(len(own[0]), len(own[1]))
        assert rows.max() < height and columns.max() < width


def test_features_terms_and_gradients_of_the_objective(golden, vgg):
    numbers, method = golden("strotss_objective"), STROTSS(STROTSSConfig(), vgg)
    content, current, style = (numbers[f"{name}_u8"] / 255 for name in ("content", "current", "style"))
    with torch.no_grad():
        content_maps, style_maps = method.maps(content), method.maps(style)
    assert [list(m.shape[1:]) for m in content_maps] == numbers["feature_sizes"].tolist()
    places = numbers["rows"], numbers["columns"]
    x = read_bilinear(method.maps(current), *places)
    expected = numbers["features_first_8_places"][:2179].T  # behind them the authors keep the place
    assert (x[:8] - expected).abs().max() < 1e-5 * expected.abs().max()
    y = strotss.read_truncated(style_maps, numbers["style_rows"], numbers["style_columns"])
    torch.testing.assert_close(y[:20].T, numbers["style_features_first_20"], rtol=1e-5, atol=3e-5)
    painting = Painting(y, strotss.moments(y))
    for weight in (16.0, 2.0, 0.5):
        leaf = current.clone().requires_grad_()
        terms = method.terms(method.maps(leaf), content_maps, painting, weight, places)
        loss = sum(terms.values())
        loss.backward()
        saved = numbers[f"weight_{weight}"]
        assert loss.item() == pytest.approx(saved["loss"].item(), rel=2e-6)
        # Rounding decides which of two features that are as near is the nearest, and signs of differences that are 0.
        assert (leaf.grad - saved["grad"]).norm() < 3e-4 * saved["grad"].norm()
    plain = {"self": 0.5, "remd": 1.0, "moment": 1.0, "palette": 1.0}  # of the last weight, before the division by 2.5
    names = {"self": "self_similarity", "remd": "remd", "moment": "moment", "palette": "palette"}
    for name, factor in plain.items():
        assert terms[name].item() * 2.5 / factor == pytest.approx(numbers["terms"][names[name]].item(), rel=2e-6)


class GoldenDraws:
    """The places that the authors' run drew."""

    def __init__(self, numbers):
        self.style_places = iter(numbers["style_places"])
        self.places = iter(zip(numbers["rows"], numbers["columns"], strict=True))

    def style(self, height, width):
        return tuple(next(self.style_places).long().unbind(1))

    def content(self, height, width, iteration):
        return tuple(coordinates.long() for coordinates in next(self.places))


@pytest.mark.parametrize("scales", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_with_the_authors_places(golden, vgg, monkeypatch, scales):
    numbers = golden("strotss_run")
    monkeypatch.setattr(strotss, "Draws", lambda generator: GoldenDraws(numbers))
    method = STROTSS(STROTSSConfig(scales=scales, iterations=2), vgg)
    photo, painting = (numbers[f"{name}_u8"][None] / 255 for name in ("content", "style"))
    losses, shown = [], []
    made = method.stylize(
        photo, painting, torch.Generator(), lambda p: (losses.append(sum(p.terms.values())), shown.append(p.picture()))
    )
    torch.testing.assert_close(shown[0], numbers["start_64"].clamp(0, 1), rtol=0, atol=1e-6)
    # RMSprop's first step is lr times the sign, also of gradients that are all rounding.
    assert losses == pytest.approx(numbers["losses"].tolist()[: 2 * scales], rel=2e-3)
    if scales == 3:
        assert (shown[2] - numbers["start_128_half"].float().clamp(0, 1)).abs().max() < 3e-3
        assert (made[0, :, ::4, ::4] - numbers["picture_every_4th"]).abs().mean() < 0.01


def test_black_pictures_end_in_a_picture():
    photo, painting = torch.rand(1, 3, 40, 48), torch.rand(1, 3, 40, 40)
    photo[..., :20, :], painting[..., :20, :] = 0.0, 0.0
    black = torch.zeros(1, 3, 40, 48)
    for pair in ((photo, painting), (black, black)):
        made = small(scales=1, iterations=2).stylize(*pair, torch.Generator().manual_seed(0), no_report)
        assert made.isfinite().all()


def test_the_seed_decides_and_nothing_else():
    photo, painting = torch.rand(1, 3, 40, 56) * 2 - 1, torch.rand(1, 3, 44, 40) * 2 - 1
    made = []
    for seed in (1, 1, 2):
        torch.rand(3)  # whatever was drawn before
        stream = torch.Generator().manual_seed(seed)
        made.append(small(scales=2, iterations=2).forward(photo, painting, stream))
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert made[0].shape == photo.shape and small(scales=2).working_size(40, 56) == (91, 128)


def test_places_are_drawn_as_often_as_the_authors_do(monkeypatch):
    laid = []
    lay = Draws._lay_grid
    monkeypatch.setattr(Draws, "_lay_grid", lambda self, *size: laid.append(size) or lay(self, *size))
    draws = Draws(torch.Generator().manual_seed(0))
    found = [draws.content(20, 30, iteration) for iteration in range(21)]
    assert len(laid) == 3 and all(len(rows) == len(columns) == 600 for rows, columns in found)
    assert not torch.equal(found[0][0], found[1][0])
    rows, columns = draws.style(50, 60)
    assert len(rows) == 1000 == len(set(zip(rows.tolist(), columns.tolist(), strict=True)))
