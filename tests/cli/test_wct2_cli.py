"""WCT2 from the command line: a decoder that was trained here, and public files."""

import numpy as np
import pytest
import torch
from conftest import make_single, make_unpaired
from PIL import Image
from programs import inside, told

from cut.models.wct2 import WaveletDecoder, WaveletEncoder

DECODER = """
method: {{name: wct2_decoder, vgg: random, base_channels: 2}}
data: {{name: images, root: {root}, load_px: 36, crop_px: 32, batch_size: 2, num_workers: 0, cache_mib: 0}}
optim: {{lr: 1.0e-2, betas: [0.9, 0.999]}}
schedule: {{name: constant, total_steps: 30}}
train: {{accelerator: cpu, tensorboard: false, log_every_steps: 15, sample_every_steps: 30, num_samples: 2}}
"""
WCT2 = """
method: {{name: wct2, image_px: 32{more}}}
data: {{name: single, a: {a}, b: {b}}}
train: {{accelerator: cpu}}
"""


@pytest.fixture
def yaml_of(tmp_path):
    paths = make_single(tmp_path / "pictures")

    def write(more=""):
        (tmp_path / "wct2.yaml").write_text(WCT2.format(more=more, **paths))
        return tmp_path / "wct2.yaml"

    return write


def test_a_decoder_is_trained_and_then_used(yaml_of, tmp_path, capsys):
    (tmp_path / "decoder.yaml").write_text(DECODER.format(root=make_unpaired(tmp_path / "data") / "trainA"))
    run = tmp_path / "run"
    inside("train", "--config", tmp_path / "decoder.yaml", "--run-dir", run)
    said = capsys.readouterr().err
    losses = [float(part.split("pixels ")[1].split()[0].strip(",;")) for part in said.splitlines() if "pixels " in part]
    assert len(losses) == 2 and losses[1] < losses[0]
    sheet = np.asarray(Image.open(run / "samples" / "step_00000030.png"))
    assert sheet.shape[0] > 2 * 32 and sheet.std() > 0
    inside("test", "--config", yaml_of(f", decoder: {run}, base_channels: 2"), "--output", tmp_path / "out")
    made = np.asarray(Image.open(tmp_path / "out" / "photo.png"))
    assert made.shape == (48, 60, 3) and "1 picture made with random VGG, " in capsys.readouterr().out
    config = yaml_of(f", decoder: {run}, base_channels: 2, vgg: random")
    assert "brings its own encoder; leave vgg out" in told("test", "--config", config, "--output", tmp_path / "out")
    inside("test", "--run", run, "--input", tmp_path / "pictures", "--output", tmp_path / "restored")
    restored = [np.asarray(Image.open(tmp_path / "restored" / f"{name}.png")) for name in ("photo", "painting")]
    assert restored[0].shape == (48, 60, 3) and (restored[0] != restored[1]).any()


def test_a_decoder_without_vggs_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "decoder.yaml").write_text(DECODER.format(root=make_unpaired(tmp_path / "data") / "trainA"))
    run = ("train", "--config", tmp_path / "decoder.yaml", "--run-dir", tmp_path / "run", "--set")
    line = told(*run, "method={name: wct2_decoder, vgg: null, base_channels: 64}")
    assert line.startswith(f"method.vgg: {tmp_path}/hub/checkpoints/vgg19-dcbb9e9d.pth: no such file; put https://")
    assert "data.crop_px: must be a multiple of 8 from 16 on, got 28" in told(*run, "data.crop_px=28")
    assert "data.num_channels must be 3" in told(*run, "data.num_channels=1")


def test_regions_take_the_statistics_of_their_own_colour(yaml_of, tmp_path):
    made = {}
    for name, colours in (("halves", ("red", "blue")), ("none", ("red", "red"))):
        for which, size in (("a", (60, 48)), ("b", (60, 48))):
            labels = Image.new("RGB", size, colours[0])
            labels.paste(Image.new("RGB", (30, 48), colours[1]), (0, 0))
            labels.save(tmp_path / f"{name}_{which}.png")
        regions = f"[{tmp_path / name}_a.png, {tmp_path / name}_b.png]"
        config = yaml_of(f", vgg: random, base_channels: 2, regions: {regions}")
        inside("test", "--config", config, "--output", tmp_path / name)
        made[name] = np.asarray(Image.open(tmp_path / name / "photo.png")).astype(int)
    inside("test", "--config", yaml_of(", vgg: random, base_channels: 2"), "--output", tmp_path / "whole")
    assert abs(made["none"] - np.asarray(Image.open(tmp_path / "whole" / "photo.png"))).max() <= 1
    assert (made["halves"] != made["none"]).any()
    config = yaml_of(f", vgg: random, base_channels: 2, regions: {regions}")
    line = told("test", "--config", config, "--input", tmp_path / "pictures", "--output", tmp_path / "many")
    assert line == "method.regions: labels one photograph and one painting, not those of 2 pictures"


def test_public_files_are_read_from_torch_hubs_folder(yaml_of, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    run = ("test", "--config", yaml_of(), "--output", tmp_path / "out")
    line = told(*run)
    assert "method.decoder: " in line and "WCT2/raw/master/model_checkpoints/wave_decoder_cat5_l4.pth there" in line
    wavelet = {f"{pool}.{part}.weight": torch.zeros(1) for pool in ("pool1", "recon_block1") for part in ("LL", "HH")}
    for part, network in (("encoder", WaveletEncoder), ("decoder", WaveletDecoder)):
        torch.manual_seed(0)
        torch.save(network("cat5").state_dict() | wavelet, folder / f"wave_{part}_cat5_l4.pth")
    inside(*run)
    assert "1 picture made, " in capsys.readouterr().out  # no word of random weights
    line = told(*run, "--set", "method.unpooling=sum", "--set", f"method.decoder={folder / 'wave_decoder_cat5_l4.pth'}")
    assert "decoder: the weights do not fit" in line and "are unpooling and base_channels those that they have?" in line
