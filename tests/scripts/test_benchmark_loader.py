"""scripts/benchmark_loader.py: what it times, in what order, and what it refuses."""

import sys
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

from cut.data import cache
from cut.data.images import read_image
from cut.errors import UserError

sys.path.insert(0, str(REPOSITORY / "scripts"))

import benchmark_loader
import benchmark_loader_side

# The least that the driver needs of a checkout: a loader of two batches, which writes its options down.
LOADER = """
import pathlib
def create_dataset(options):
    pathlib.Path(__file__).with_name("seen.txt").write_text(f"{options.dataroot} {options.load_size}")
    print("a dataset was created")
    return [{"A": [0], "B": [0]}] * 2
"""


def job(root, **settings):
    sizes = {"load_px": 36, "crop_px": 32, "batch_size": 2, "cache_mib": 1}
    return {"root": str(root), **sizes, "authors": False, "is_first_epoch": False} | settings


def make_checkout(root):
    (root / "data").mkdir(parents=True)
    (root / "data" / "__init__.py").write_text(LOADER)
    (root / "data" / "unaligned_dataset.py").write_text("")
    return root


@pytest.mark.parametrize(
    "settings, decoded_per_turn", [({}, (0, 0)), ({"is_first_epoch": True}, (5, 8)), ({"cache_mib": 0}, (8, 8))]
)
def test_a_turn_decodes_what_its_side_says(unpaired, monkeypatch, settings, decoded_per_turn):
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # the side sets it; set back at the end
    decoded, read_image = [], cache.read_image
    monkeypatch.setattr(cache, "read_image", lambda *given: decoded.append(given) or read_image(*given))
    answers = benchmark_loader_side._answers(job(unpaired, **settings), iter([{}] * 3))
    next(answers)
    decoded.clear()
    least, most = decoded_per_turn  # an epoch shows 4 of A, and 4 that are drawn of B
    for turn in answers:
        assert least <= len(decoded) <= most
        assert 0.0 < turn["seconds_per_picture"] and 0.0 < turn["wall_seconds_per_picture"]
        decoded.clear()


def test_the_authors_loader_is_timed_with_the_same_sizes(unpaired, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.syspath_prepend(make_checkout(tmp_path / "theirs"))
    monkeypatch.delitem(sys.modules, "data", raising=False)
    _, turn = benchmark_loader_side._answers(job(unpaired, authors=True), iter([{}]))
    assert turn["seconds_per_picture"] > 0.0
    assert (tmp_path / "theirs/data/seen.txt").read_text() == f"{unpaired} 36"
    sys.modules.pop("data")


def test_a_side_is_a_process_that_answers(unpaired):
    side = benchmark_loader.Side("ours", job(unpaired), [REPOSITORY], "benchmark_loader_side.py")
    try:
        side.take_turn(1)
    finally:
        side.close()
    assert side.turns[0]["seconds_per_picture"] > 0.0


def test_a_missing_data_set_is_one_line(tmp_path):
    (answer,) = benchmark_loader_side._answers(job(tmp_path / "nothing"), iter([]))
    assert "no such folder" in answer["error"]


def test_sides_take_turns_and_ratios_are_of_equal_turns(tmp_path, monkeypatch, capsys):
    order, pace = [], {"ours": [1, 2], "ours, first epoch": [4, 4], "ours, no cache": [3, 3], "authors": [8, 10]}

    class Stub:
        def __init__(self, name, job, path, script):
            self.name, self.turns = name, []

        def take_turn(self, steps):
            order.append(self.name)
            seconds = pace[self.name][len(self.turns)]
            self.turns.append({"seconds_per_picture": seconds / 1000, "wall_seconds_per_picture": seconds})

        def close(self):
            pass

    monkeypatch.setattr(benchmark_loader, "Side", Stub)
    arguments = ["--roots", str(tmp_path), "--against", str(make_checkout(tmp_path / "theirs")), "--turns", "2"]
    benchmark_loader._main(benchmark_loader._parse([*arguments, "--markdown", str(tmp_path / "table.md")]))
    assert order == list(pace) * 2
    *_, last = (tmp_path / "table.md").read_text().splitlines()
    assert last == f"| {tmp_path.name} | authors | 9 (8 to 10) | 112 (100 to 125) | 6.5 (5 to 8) |"
    assert last in capsys.readouterr().out


def test_made_pictures_are_as_large_as_photographs(tmp_path):
    root = benchmark_loader.make_pictures(tmp_path, 256, "jpg", 2)
    paths = sorted(root.rglob("*.jpg"))
    names = [path.relative_to(root).as_posix() for path in paths]
    assert names == ["trainA/0.jpg", "trainA/1.jpg", "trainB/0.jpg", "trainB/1.jpg"]
    assert {read_image(path, 3).shape for path in paths} == {(256, 256, 3)}
    assert all(15_000 < path.stat().st_size < 40_000 for path in paths)


def test_no_checkout_is_one_line(tmp_path):
    args = SimpleNamespace(against=tmp_path)
    with pytest.raises(UserError, match="no such checkout, for it has no data/unaligned_dataset.py"):
        benchmark_loader._main(args)
