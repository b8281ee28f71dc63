"""cut-test --direction, with a method that has learnt both."""

import pytest
from programs import inside, saved_run, told

from cut.data.images import read_image


@pytest.fixture
def cyclegan_yaml(tiny_yaml):
    text = tiny_yaml.read_text().splitlines()
    tiny_yaml.write_text("\n".join(["method: {name: cyclegan}", *(t for t in text if not t.startswith("method:"))]))
    return tiny_yaml


def translated(run, source, folder, *arguments):
    inside("test", "--run", run, "--input", source, "--output", folder, *arguments)
    return read_image(folder / "0.png", 3).astype(int)


def test_a_run_translates_both_ways(cyclegan_yaml, unpaired, tmp_path):
    run, source = saved_run(cyclegan_yaml, tmp_path / "run"), unpaired / "testA"
    by_itself = translated(run, source, tmp_path / "1")
    forth = translated(run, source, tmp_path / "2", "--direction", "AtoB")
    back = translated(run, source, tmp_path / "3", "--direction", "BtoA")
    assert (by_itself == forth).all() and (forth != back).any()


def test_directions_are_those_of_the_folders_on_disk(cyclegan_yaml, unpaired, tmp_path):
    """A run with data.direction BtoA has domain B as its source; --direction BtoA is then its forward way."""
    run, source = saved_run(cyclegan_yaml, tmp_path / "run", "data.direction=BtoA"), unpaired / "testB"
    by_itself = translated(run, source, tmp_path / "1")
    assert (by_itself == translated(run, source, tmp_path / "2", "--direction", "BtoA")).all()
    assert (by_itself != translated(run, source, tmp_path / "3", "--direction", "AtoB")).any()


def test_the_way_that_was_not_learnt_is_one_line(tiny_yaml, unpaired, tmp_path):
    saved_run(tiny_yaml, tmp_path / "run")
    arguments = ("--input", unpaired / "testA", "--output", tmp_path / "out", "--direction", "BtoA")
    assert "has learnt AtoB only" in told("test", "--run", tmp_path / "run", *arguments)
