"""The picture of a run's losses."""

import json

import numpy as np
import pytest
from PIL import Image

from cut.errors import UserError
from cut.train.plots import moving_average, plot_losses, read_losses


@pytest.fixture
def blank_losses():
    """Here they are drawn."""


def write_metrics(folder, count=40, players=("discriminator", "generator")):
    with open(folder / "metrics.jsonl", "w") as file:
        for step in range(1, count + 1):
            losses = {f"loss/{player}/gan": 1 / step + index for index, player in enumerate(players)}
            file.write(json.dumps({"step": 10 * step, "lr": 0.1, "loss/generator/nce_idt": 0.5, **losses}) + "\n")
    return folder


def test_every_players_terms_are_read_with_their_steps(tmp_path):
    curves = read_losses(write_metrics(tmp_path, 3) / "metrics.jsonl")
    assert {player: set(terms) for player, terms in curves.items()} == {
        "generator": {"gan", "nce_idt"},
        "discriminator": {"gan"},
    }
    steps, values = curves["discriminator"]["gan"]
    assert list(steps) == [10, 20, 30] and np.allclose(values, [1, 1 / 2, 1 / 3])


def test_moving_average_is_the_mean_of_neighbours_and_keeps_the_length():
    values = np.random.default_rng(0).normal(size=100)
    smooth = moving_average(values)  # 2 on either side: 5 % of 100 together
    assert smooth.shape == values.shape
    assert smooth[50] == pytest.approx(values[48:53].mean()) and smooth[0] == pytest.approx(values[:3].mean())
    assert smooth.std() < values.std()
    assert np.allclose(moving_average(values[:10]), values[:10])


def test_picture_has_a_panel_per_player(tmp_path):
    heights = []
    for players in (("generator",), ("discriminator", "generator")):
        plot_losses(write_metrics(tmp_path, players=players))
        with Image.open(tmp_path / "losses.png") as picture:
            heights.append(picture.height)
            assert picture.convert("L").getextrema() == (0, 255)
    assert heights[1] == 2 * heights[0]
    assert not list(tmp_path.glob("*.part"))


def test_one_point_is_drawn_and_none_is_no_picture(tmp_path):
    plot_losses(tmp_path)
    assert not (tmp_path / "losses.png").exists()
    plot_losses(write_metrics(tmp_path, 1))
    assert (tmp_path / "losses.png").is_file()


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path):
    (write_metrics(tmp_path) / "losses.png").mkdir()
    with pytest.raises(UserError, match="losses.png: cannot be written"):
        plot_losses(tmp_path)
    assert not list(tmp_path.glob("*.part"))


def test_what_others_put_into_the_log_ends_nothing(tmp_path):
    names = ["loss/x", "loss//", "loss/$\\frac/$_", *[f"loss/{n}/a" for n in range(300)]]
    lines = [{"step": step, **dict.fromkeys(names, value)} for step, value in ((0, 1e308), (1, 1e30), (2, -1e30))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    plot_losses(tmp_path)
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.height < 5000
