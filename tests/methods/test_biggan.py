"""BigGAN: layers and whole steps equal the authors' numbers; classes are learnt, drawn and asked for by name."""

import json
import re

import numpy as np
import pytest
import torch
from biggan_numbers import ADAM, in_our_names, load, unpacked
from conftest import make_idx
from golden_steps import training_step_of
from PIL import Image
from programs import inside, told

import cut
from cut.api.choices import find_labels
from cut.build import build_trainer, read_config
from cut.errors import UserError
from cut.methods import conditional
from cut.methods.biggan import BigGAN, BigGANConfig
from cut.models.batch_norm import untracked_statistics
from cut.models.biggan import BigGANDiscriminator, BigGANGenerator, SelfAttention
from cut.models.spectral_norm import SpectralLinear
from cut.train.ema import AveragedNetworks

CONV_BIAS = re.compile(r"conv\w+\.bias$")
EVERY = 8  # of the final weights every eighth is stored


def share_beyond(network, numbers, name, expected, bound):
    """Share of every eighth number that differs by more than `bound`, besides biases of convolutions between the
    generator's batch norms: their gradient is rounding alone, which Adam turns into whole steps."""
    own, keys = network.state_dict(), in_our_names(unpacked(numbers, name, numbers["initial"][name]))
    ours = torch.cat([own[key].flatten() for key in keys])[::EVERY]
    has_gradient = [torch.full((own[key].numel(),), name == "D" or not CONV_BIAS.search(key)) for key in keys]
    differs = ((ours - expected).abs() > bound) & torch.cat(has_gradient)[::EVERY]
    return differs.double().mean().item()


def test_attention_equals_the_authors(golden, double):
    numbers = golden("biggan_attention")
    layer = load(SelfAttention(16), numbers["state_dict"])
    output = layer(numbers["input"].double())
    torch.testing.assert_close(output, numbers["output"].double(), rtol=1e-6, atol=1e-6)
    for key, value in in_our_names(numbers["buffers_after"]).items():
        torch.testing.assert_close(layer.state_dict()[key], value, rtol=1e-6, atol=1e-6, msg=key)
    output.square().mean().backward()
    for key, parameter in layer.named_parameters():
        assert parameter.grad.norm().item() == pytest.approx(float(numbers["grad_norms"][key]), rel=1e-6), key


def test_a_whole_step_equals_the_authors(golden, double, monkeypatch):
    """Two updates of D, one of G, and the average with its buffers."""
    numbers = golden("biggan_step")
    initial = {name: unpacked(numbers, name, vector) for name, vector in numbers["initial"].items()}
    generator = load(BigGANGenerator(3, 4, [16] * 4, latent_part=4, shared_dim=8), initial["G"])
    discriminator = load(BigGANDiscriminator(3, 4, [16] * 4, num_halvings=2), initial["D"])
    method = BigGAN(BigGANConfig(discriminator_steps=2), generator, discriminator, tuple("abcd"))
    draws = [drawn for z, y in zip(numbers["z"], numbers["y"], strict=True) for drawn in (z.double(), y)]
    monkeypatch.setattr(conditional, "draw_rows", lambda draw, rows: draws.pop(0))
    average = AveragedNetworks(method, decay=0.9)

    batch = {"real": numbers["image_u8"].double() / 127.5 - 1.0, "label": numbers["labels"]}
    logged, _ = training_step_of(method, ADAM)(batch, step=0)
    average.update(method, step=1000)  # where the decay is no longer that of the beginning

    assert not draws
    of_d, of_g = torch.stack([torch.stack([t["gan_real"], t["gan_fake"]]) for t in logged[:2]]), logged[2]["gan"]
    torch.testing.assert_close(of_d, numbers["losses_d"].double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(of_g, numbers["losses_g"][0].double(), rtol=1e-6, atol=0)
    assert share_beyond(discriminator, numbers, "D", numbers["final"]["D"], 1e-6) == 0
    assert share_beyond(generator, numbers, "G", numbers["final"]["G"], 1e-6) == 0
    averaged = average.networks["generator"]
    assert share_beyond(averaged, numbers, "G", numbers["final_average"], 1e-6) == 0


def test_spectral_norm_iterates_in_training_alone():
    torch.manual_seed(0)
    layer, x = SpectralLinear(6, 4, bias=False), torch.eye(6)
    for _ in range(200):
        layer(x)
    largest = torch.linalg.matrix_norm(layer.weight, 2)
    torch.testing.assert_close(layer.sv0[0], largest.detach(), rtol=1e-5, atol=0)
    torch.testing.assert_close(torch.linalg.matrix_norm(layer(x), 2), torch.tensor(1.0), rtol=1e-5, atol=0)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 6))
    before = layer.u0.clone()
    with untracked_statistics(layer):
        layer(x)
    layer.eval()(x)
    assert torch.equal(layer.u0, before)
    layer.train()(x)
    assert not torch.equal(layer.u0, before)


@pytest.fixture
def tiny_biggan(tmp_path):
    """A YAML that learns three classes of nine pictures; class `c` is bright, the others are dark."""
    for name in "abc":
        folder = tmp_path / "data" / "train" / name
        folder.mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (32, 32), (index, 0, 250 if name == "c" else 5)).save(folder / f"{index}.png")
    path = tmp_path / "tiny_biggan.yaml"
    path.write_text(
        f"""
method:
  name: biggan
  generator: {{base_channels: 2, latent_part: 2, shared_dim: 3}}
  discriminator: {{base_channels: 2}}
data: {{name: labelled, root: "{tmp_path / "data"}", load_px: 32, crop_px: 32, batch_size: 4, num_workers: 0}}
schedule: {{name: constant, total_steps: 2}}
train: {{log_every_steps: 1, num_samples: 3, accelerator: cpu, tensorboard: false, ema_decay: 0.9}}
"""
    )
    return path


def test_batches_hold_each_picture_with_its_class(tiny_biggan):
    trainer = build_trainer(read_config(tiny_biggan, ["data.batch_size=9"]))
    (batch,) = trainer.batches(1)
    assert trainer.config.data.classes == ("a", "b", "c") == trainer.method.label_names
    bright = batch["real"][:, 2].mean((1, 2)) > 0
    assert torch.equal(bright, batch["label"] == 2) and sorted(batch["label"].tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_choice_of_classes_keeps_its_order_and_a_wrong_one_is_refused(tiny_biggan):
    trainer = build_trainer(read_config(tiny_biggan, ["data.classes=[c, a]"]))
    batch = next(trainer.batches(1))
    assert torch.equal(batch["real"][:, 2].mean((1, 2)) > 0, batch["label"] == 0)
    with pytest.raises(UserError, match=r"data.classes: .*train/d: no such folder \(there: a, b, c\)"):
        build_trainer(read_config(tiny_biggan, ["data.classes=[a, d]"]))


def test_a_class_is_known_in_either_form_of_its_accents(tiny_biggan, tmp_path):
    (tmp_path / "data" / "train" / "a").rename(tmp_path / "data" / "train" / "che\u0300vre")  # as a Mac writes it
    trainer = build_trainer(read_config(tiny_biggan, ["data.classes=[ch\u00e8vre, c]"]))
    batch = next(trainer.batches(1))
    assert torch.equal(batch["real"][:, 2].mean((1, 2)) > 0, batch["label"] == 1) and 0 in batch["label"]
    assert find_labels("che\u0300vre", trainer.method, "--label") == [(0, "ch\u00e8vre")]


def test_trains_and_draws_classes_by_name_from_the_command_line(tiny_biggan, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    inside("train", "--config", tiny_biggan, "--run-dir", run)
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines() if "gan" in line] == [
        1,
        2,
    ]
    inside("test", "--run", run, "--label", "all", "--num-images", 2, "--output", out / "all")
    assert sorted(path.name for path in (out / "all").glob("*.png")) == [
        f"0000{number}_{name}.png" for number in range(2) for name in "abc"
    ]
    inside("test", "--run", run, "--label", "b", "--num-images", 2, "--output", out / "b")
    for number in range(2):  # the same latents
        one, other = (
            np.asarray(Image.open(p)).astype(int)
            for p in (out / "b" / f"0000{number}.png", out / "all" / f"0000{number}_b.png")
        )
        assert abs(one - other).max() <= 1 and one.shape == (32, 32, 3)
    a, b = (np.asarray(Image.open(out / "all" / f"00000_{name}.png")) for name in "ab")
    assert (a != b).any()
    inside("test", "--run", run, "--num-images", 4, "--output", out / "turns")
    for number, name in enumerate("ab"):
        one, other = (
            np.asarray(Image.open(out / p)) for p in (f"turns/0000{number}.png", f"all/0000{number}_{name}.png")
        )
        assert abs(one.astype(int) - other).max() <= 1
    for label, count, file in (("b", 2, "b/00001.png"), (None, 4, "turns/00003.png")):
        drawn = np.asarray(cut.load(run).sample(count, label=label)[-1])
        assert abs(drawn.astype(int) - np.asarray(Image.open(out / file))).max() <= 1
    refused = told("test", "--run", run, "--label", "x", "--output", out / "wrong")
    assert "--label x: no such class (known: a, b, c, or all)" in refused


def test_idx_files_bring_their_labels(tmp_path):
    pixels = np.arange(16, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2) * 10
    root = make_idx(tmp_path / "digits", pixels=pixels)
    labels = np.arange(16, dtype=np.uint8) % 4
    (root / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 16]) + labels.tobytes())
    small = ["method.name=biggan", "method.generator.base_channels=2", "method.discriminator.base_channels=2"]
    small += ["data.name=idx", f"data.root={root}", "data.crop_px=32", "data.batch_size=16", "data.num_workers=0"]
    (tmp_path / "empty.yaml").write_text("{}")
    trainer = build_trainer(read_config(tmp_path / "empty.yaml", [*small, "train.accelerator=cpu"]))
    assert trainer.method.label_names == ("0", "1", "2", "3")
    (batch,) = trainer.batches(1)
    gray = ((batch["real"].mean((1, 2, 3)) + 1) * 127.5 / 10).round().long()
    assert torch.equal(batch["label"], gray % 4)
    with pytest.raises(UserError, match=r"data.classes: has 2 names, but .* a label 3"):
        build_trainer(read_config(tmp_path / "empty.yaml", [*small, "data.classes=[even, odd]"]))


def test_other_sizes_are_refused_in_one_line(tiny_biggan):
    with pytest.raises(UserError, match=r"data.crop_px: 40 has no networks; allowed: \[32, 64, 128\]"):
        build_trainer(read_config(tiny_biggan, ["data.crop_px=40", "data.load_px=40"]))
