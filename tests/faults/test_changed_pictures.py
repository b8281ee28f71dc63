"""Training pictures that change between a stop and the same command: always said. Others: never."""

import random
import shutil

import pytest
from conftest import make_unpaired
from PIL import Image
from same_runs import assert_same_end

_OTHER = "so the run is no longer the one that began"


def _change(folder, kind, rng):
    """Changes a folder of pictures; returns whether the run can notice."""
    pictures = sorted(folder.glob("*.png"))
    chosen = rng.choice(pictures)
    if kind == "added":
        shutil.copyfile(chosen, folder / f"{rng.randrange(10**6)}.png")
    elif kind == "removed":
        chosen.unlink()
    elif kind == "renamed":
        chosen.rename(folder / f"{rng.randrange(10**6)}.png")
    elif kind == "replaced":
        Image.new("RGB", (20, 20), (rng.randrange(256), 0, 0)).save(chosen)
    elif kind == "a file that is no picture":
        (folder / "notes.txt").write_text("mine")
    else:  # the same pictures, written again
        shutil.copyfile(chosen, folder / "copy")
        (folder / "copy").replace(chosen)
    return kind not in ("a file that is no picture", "copied back")


_KINDS = ("added", "removed", "renamed", "replaced", "a file that is no picture", "copied back")


@pytest.mark.parametrize("count", [2, pytest.param(24, marks=pytest.mark.soak)])
def test_a_changed_list_is_said_and_an_unchanged_one_is_not(count, tiny, straight, forks, tally, tmp_path):
    rng = random.Random(count)
    for trial in range(count):
        data, run, kind = make_unpaired(tmp_path / f"{trial}", size=20), tmp_path / f"{trial} run", _KINDS[trial % 6]
        arguments = ("train", "--config", tiny, "--set", f"data.root={data}", "--run-dir", run, "--resume")
        forks.run(*arguments, "--set", "train.max_steps=6").check()
        changed = _change(data / rng.choice(("trainA", "trainB")), kind, rng)
        ended = forks.run(*arguments).check()
        assert (_OTHER in ended.stderr) is changed, (kind, ended)
        assert (_OTHER in (run / "metrics.jsonl").read_text()) is changed, kind
        if not changed:
            assert_same_end(straight, run, logs=False)  # the stop at step 6 has a sample sheet of its own
        tally[f"pictures between a stop and the same command: {kind}"] += 1
