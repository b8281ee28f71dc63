"""Films are translated frame by frame, and written whole or not at all."""

import json
import os

import numpy as np
import pytest
from conftest import REPOSITORY
from programs import told
from torch import nn

from cut.api.model import Model
from cut.build import read_config
from cut.cli import films
from cut.cli import test as cut_test
from cut.errors import UserError
from cut.inference.film import Film, _cv2, translate_film
from cut.inference.request import Request
from cut.methods.translator import Translator
from cut.runtime.fabric import build_fabric

cv2 = _cv2()  # which FFmpeg's silence comes with


class Brighter(Translator):
    """Adds 0.25 to what is in [-1, 1]: some 32 of 255; fails at an image, where it is told so."""

    goes_one_by_one = False
    fails_at = None

    def __init__(self):
        super().__init__()
        self.generator, self.images = nn.Identity(), 0

    def forward(self, image):
        self.images += len(image)
        if self.fails_at is not None and self.images >= self.fails_at:
            raise KeyboardInterrupt
        return image + 0.25


def gray_of(number):
    return 20 + 10 * number


@pytest.fixture
def film(tmp_path):
    """Eleven frames of 48 x 32 px, each of a gray of its own, at 12.5 frames a second."""
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (48, 32))
    for number in range(11):
        writer.write(np.full((32, 48, 3), gray_of(number), np.uint8))
    writer.release()
    return path


def run(film, output, method=None, frames=(0, None), **options):
    fabric = build_fabric("cpu", "32-true")
    return translate_film(method or Brighter(), Film(film), output, 3, fabric, 4, frames=frames, **options)


def grays(path):
    """Mean of each frame; conversion to YUV and back takes some 3 of 255 away."""
    return [frame.mean() for frame in Film(path).frames()]


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_film_keeps_rate_size_and_order(film, tmp_path, suffix):
    output = tmp_path / "results" / f"out{suffix}"
    assert run(film, output) == 11
    written = Film(output)
    frames = list(written.frames())
    assert written.fps == 12.5 and {frame.shape for frame in frames} == {(32, 48, 3)}
    assert grays(output) == pytest.approx([gray + 32 for gray in grays(film)], abs=5)
    assert [path.name for path in output.parent.iterdir() if not path.name.startswith(".cut-written")] == [output.name]


def test_frames_are_chosen_exactly(film, tmp_path):
    assert run(film, tmp_path / "out.mp4", frames=(3, 5)) == 2
    assert grays(tmp_path / "out.mp4") == pytest.approx([gray + 32 for gray in grays(film)[3:5]], abs=4)
    assert run(film, tmp_path / "out.mp4", frames=(9, None)) == 2
    with pytest.raises(UserError, match="no frame can be decoded from frame 11 on"):
        run(film, tmp_path / "none.mp4", frames=(11, None))
    assert not (tmp_path / "none.mp4").exists()


def test_colours_are_not_swapped(tmp_path):
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 32))
    writer.write(np.full((32, 32, 3), (20, 40, 160), np.uint8))  # blue, green, red
    writer.release()
    run(path, tmp_path / "out.avi")
    (frame,) = Film(tmp_path / "out.avi").frames()
    assert frame.mean((0, 1)) == pytest.approx([192, 72, 52], abs=6)


def test_scaled_frames_make_a_film_of_their_size(film, tmp_path):
    run(film, tmp_path / "out.mp4", request=Request(prepare=lambda picture: picture[:16, :32]))
    assert next(Film(tmp_path / "out.mp4").frames()).shape == (16, 32, 3)


def test_an_odd_side_is_said_once(film, tmp_path, capsys):
    """Such as 853 x 480 px; OpenCV leaves the last row and column out."""
    run(film, tmp_path / "out.mp4", request=Request(prepare=lambda picture: picture[:15, :31]))
    assert next(Film(tmp_path / "out.mp4").frames()).shape == (14, 30, 3)
    said = capsys.readouterr().err
    assert said.count("out.mp4: 31x15 px without the last row or column: films have even sides") == 1
    run(film, tmp_path / "even.mp4")
    assert "even sides" not in capsys.readouterr().err


def test_interrupted_film_leaves_no_file(film, tmp_path):
    method, output = Brighter(), tmp_path / "out.mp4"
    run(film, output)
    before = output.read_bytes()
    method.fails_at = 8
    for path in (output, tmp_path / "other.mp4"):
        method.images = 0
        with pytest.raises(KeyboardInterrupt):
            run(film, path, method)
    assert output.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"film.mp4", "out.mp4", ".cut-written"}


def test_few_frames_are_held_at_a_time(film, tmp_path, monkeypatch):
    method, read = Brighter(), [0]
    frames = Film.frames

    def counted(self, *given):
        for frame in frames(self, *given):
            read[0] += 1
            assert read[0] - method.images <= 4  # a batch
            yield frame

    monkeypatch.setattr(Film, "frames", counted)
    run(film, tmp_path / "out.mp4", method)
    assert read == [11] or read[0] > 11  # counted again when the written file is checked


@pytest.mark.parametrize("content", [b"", b"no film", None])
def test_what_is_no_film_is_one_line(film, tmp_path, content, capfd):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes()[: film.stat().st_size // 2] if content is None else content)
    with pytest.raises(UserError, match=r"broken\.mp4: cannot be read as a film .*try: ffmpeg -i"):
        Film(broken)
    assert capfd.readouterr().err == ""  # nothing of OpenCV's and FFmpeg's
    with pytest.raises(UserError, match="no such file"):
        Film(tmp_path / "missing.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UserError, match="it is a pipe"):
        Film(tmp_path / "pipe.mp4")


def call(monkeypatch, tmp_path, *arguments):
    """cut-test on a film with a method that is not trained."""
    config = read_config(REPOSITORY / "configs" / "quickstart.yaml")
    monkeypatch.setattr(cut_test, "_load", lambda args: (Brighter(), config))
    words = ["--checkpoint", "none", "--accelerator", "cpu", *map(str, arguments)]
    cut_test._main(cut_test._parse(words))


def test_command_translates_a_film(film, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "results"
    call(monkeypatch, tmp_path, "--input", film, "--output", folder, "--json", tmp_path / "costs.json")
    said = capsys.readouterr().out
    assert f"11 frames translated into {folder / 'film.mp4'}, 12.5 frames a second, without sound" in said
    assert f"ffmpeg -i {folder / 'film.mp4'} -i {film}" in said
    assert json.loads((tmp_path / "costs.json").read_text())["pictures"] == 11
    call(monkeypatch, tmp_path, "--input", film, "--output", tmp_path / "out.avi", "--frames", "2:4", "--overwrite")
    assert len(grays(tmp_path / "out.avi")) == 2
    call(monkeypatch, tmp_path, "--input", film, "--output", tmp_path / "out.avi", "--frames", "8:")  # its own file
    assert len(grays(tmp_path / "out.avi")) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--output", "film.mp4"), "would be overwritten by its own translation"),
        (("--output", "mine.mp4"), "is there already, and cut-test did not write it"),
        (("--output", "x.gif"), "no film is written as .gif (written: .mp4"),
        (("--output", "x.webm"), "no film is written as .webm (written: .mp4"),
        (("--output", "x", "--format", "png"), "--format: is for pictures, and --input is a film"),
        (("--output", "x", "--num-outputs", "2"), "num-outputs"),
        (("--output", "x", "--frames", "5"), "--frames 5: must be FIRST:END"),
        (("--output", "x", "--frames", f"{'9' * 5000}:"), ": must be FIRST:END"),
        (("--output", "x.mp4", "--json", "x.mp4"), "--json x.mp4: is the name of a picture or a film"),
        (("--output", "x.mp4", "--json", "-"), "--json -: only cut-eval writes it to standard output"),
        (("--output", "x", "--frames", "5:2"), "END must be above FIRST"),
    ],
)
def test_mistakes_are_one_line(film, tmp_path, monkeypatch, arguments, expected):
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        call(monkeypatch, tmp_path, "--input", film, *arguments)
    assert expected in str(caught.value)
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"


def test_a_model_in_python_translates_a_film(film, tmp_path):
    model = Model(Brighter(), read_config(REPOSITORY / "configs" / "quickstart.yaml"), device="cpu")
    assert model.film(film, tmp_path / "out.mp4", frames=(2, 5), batch_size=2) == 3
    assert grays(tmp_path / "out.mp4") == pytest.approx([gray + 32 for gray in grays(film)[2:5]], abs=5)
    (tmp_path / "mine.avi").write_bytes(b"mine")
    for output, options, expected in (
        (film, {}, "would be overwritten by its own translation"),
        (tmp_path / "mine.avi", {}, "is there already"),
        (tmp_path / "out", {}, "no film is written as that"),
        (tmp_path / "out.mp4", {"label": "a"}, "label"),
    ):
        with pytest.raises(UserError, match=expected):
            model.film(film, output, **options)


def test_frames_need_a_film(tmp_path, monkeypatch, unpaired):
    with pytest.raises(UserError, match="--frames 0:3: is for a film"):
        call(monkeypatch, tmp_path, "--input", unpaired / "testA", "--output", tmp_path / "x", "--frames", "0:3")
    assert not films.is_film(unpaired / "testA") and not films.is_film(None)
    assert "no such file" in told("test", "--checkpoint", "none", "--input", tmp_path / "a.png", "--output", "x")
