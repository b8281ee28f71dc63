"""cut-test --import and cut-data convert, as a user runs them."""

import numpy as np
import pytest
import torch
from PIL import Image
from programs import call, fails
from public_weights import formula_state_dict

from cut.cli import data, test
from cut.errors import UserError


@pytest.fixture
def weights(golden, tmp_path):
    path = tmp_path / "latest_net_G_B.pth"
    torch.save(formula_state_dict(golden("public_generators")["resnet6_strided"]["keys"]), path)
    return path


def pixels(folder):
    return {path.name: np.asarray(Image.open(path)) for path in folder.glob("*.*g")}


def test_import_translates_as_the_converted_file_does(weights, unpaired, tmp_path):
    pictures = unpaired / "testB"
    done = call("test", "--import", weights, "--input", pictures, "--output", tmp_path / "imported")
    assert "a ResNet of 6 blocks, 4 channels, instance norm, not anti-aliased; taken as cyclegan, BtoA" in done.stdout
    assert "4 pictures translated" in done.stdout and (tmp_path / "imported_sheet.png").is_file()
    file = tmp_path / "zebra.safetensors"
    assert f"written to {file}" in call("data", "convert", weights, file).stdout
    call("test", "--checkpoint", file, "--input", pictures, "--output", tmp_path / "converted")
    imported, converted, before = (pixels(f) for f in (tmp_path / "imported", tmp_path / "converted", pictures))
    assert imported.keys() == converted.keys() == before.keys()
    assert all(np.array_equal(imported[name], converted[name]) for name in imported)
    assert not any(np.array_equal(imported[name], before[name]) for name in imported)


def mistake(main, arguments):
    with pytest.raises(UserError) as error:
        main(arguments)
    return str(error.value)


def test_mistakes_are_told_apart(weights, unpaired, tiny_yaml, tmp_path):
    def translate(*arguments):
        where = ["--input", unpaired / "testB", "--output", tmp_path / "out"]
        return mistake(lambda given: test._main(test._parse(given)), [str(a) for a in (*arguments, *where)])

    line = translate("--import", weights, "--direction", "AtoB")
    assert "this cyclegan generator has learnt BtoA only" in line
    line = translate("--import", weights, "--config", tiny_yaml)
    assert "generator.base_channels is 4 in the file, but 2 in the config" in line
    assert "goes with --import, or alone" in translate("--checkpoint", weights, "--config", tiny_yaml)
    assert line.endswith("change the config, or leave it out")
    assert "the authors' generators go with --import" in translate("--checkpoint", weights)
    assert not (tmp_path / "out").exists()
    existing = tmp_path / "zebra.safetensors"
    existing.touch()
    for output, words in ((existing, "exists already; choose another name"), (weights, "must end in .safetensors")):
        assert words in mistake(data._main, ["convert", str(weights), str(output)])


def test_a_hostile_file_is_one_line_and_status_2(weights, unpaired, tmp_path):
    weights.write_bytes(b"\x80\x04cposix\nsystem\n(S'touch ran'\ntR.")
    line = fails("test", "--import", weights, "--input", unpaired / "testA", "--output", tmp_path / "out")
    assert "latest_net_G_B.pth: holds Python objects (posix.system)" in line and not (tmp_path / "out").exists()
    assert "latest_net_G_B.pth: " in fails("data", "convert", weights, tmp_path / "new.safetensors")
    assert not (tmp_path / "new.safetensors").exists()
