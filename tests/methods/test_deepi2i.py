"""DeepI2I: losses and whole steps equal the authors' numbers; it starts from a BigGAN, and knows classes."""

import numpy as np
import pytest
import torch
from biggan_numbers import in_our_names, load, unpacked
from conftest import make_labelled
from golden_steps import training_step_of
from PIL import Image
from programs import inside, saved_run, told

from cut.build import build_trainer, load_translator, read_config
from cut.cli import data
from cut.config import AdamConfig
from cut.errors import UserError
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods import conditional
from cut.methods.deepi2i import DeepI2I, DeepI2IConfig, feature_distance
from cut.models.biggan import (
    DISCRIMINATOR_WIDTHS,
    GENERATOR_WIDTHS,
    Adaptor,
    BigGANDiscriminator,
    BigGANEncoder,
    BigGANGenerator,
)
from cut.storage.checkpoint import load_checkpoint
from cut.train.start import start_from

ADAM = AdamConfig(lr=4e-4, betas=(0.0, 0.999), eps=1e-6)  # the authors'; G has a quarter of the rate
TINY = {"base_channels": 2, "latent_part": 2, "shared_dim": 3}


def test_losses_equal_the_authors(golden, double):
    numbers = golden("deepi2i_losses")
    fake, real = numbers["fake"].double().requires_grad_(), numbers["real"].double()
    features = {int(px): map_.double().requires_grad_() for px, map_ in numbers["features"].items()}
    adversarial = generator_loss(fake, "hinge")
    total = adversarial + feature_distance(features, {4: 0.1, 8: 0.1, 16: 0.1, 32: 0.01})
    total.backward()
    expected = {
        "generator_adversarial": adversarial,
        "generator_total": total,
        "hinge_real": discriminator_loss(real, real=True, kind="hinge"),
        "hinge_fake": discriminator_loss(fake, real=False, kind="hinge"),
    }
    for name, value in expected.items():
        assert value.item() == pytest.approx(float(numbers[name]), rel=1e-6), name
    torch.testing.assert_close(fake.grad, numbers["grad_fake"].double(), rtol=1e-6, atol=1e-8)
    for px in (4, 8):
        expected_grad = numbers[f"grad_feature_{px}"].double()
        torch.testing.assert_close(features[px].grad, expected_grad, rtol=1e-6, atol=1e-9)


def golden_method(numbers, config):
    of = {name: unpacked(numbers, name, vector) for name, vector in numbers["initial"].items()}
    widths = [2 * width for width in DISCRIMINATOR_WIDTHS[128]]
    generator = BigGANGenerator(3, 7, [2 * w for w in GENERATOR_WIDTHS[128]], latent_part=4, shared_dim=16)
    encoder, discriminator = BigGANEncoder(3, widths), BigGANDiscriminator(3, 7, widths)
    adaptor = Adaptor(encoder.widths, generator.widths)
    load(generator, of["G"]), load(discriminator, of["D"]), load(adaptor, of["A"])
    load(encoder, {key: value for key, value in of["D"].items() if key.startswith("blocks")})
    return DeepI2I(config, encoder, adaptor, generator, discriminator, tuple("abcdefg"))


def golden_batch(numbers):
    images = torch.cat([numbers["real_u8"], numbers["source_u8"]]).double() / 127.5 - 1.0
    return {"real": images, "label": torch.cat([numbers["real_labels"], numbers["source_labels"]])}


def draw_golden(numbers, monkeypatch):
    draws = [drawn for z, y in zip(numbers["z"], numbers["y"], strict=True) for drawn in (z.double(), y)]
    monkeypatch.setattr(conditional, "draw_rows", lambda draw, rows: draws.pop(0))


def test_a_whole_step_equals_the_authors(golden, double, monkeypatch):
    numbers = golden("deepi2i_step")
    method = golden_method(numbers, DeepI2IConfig(adaptor_steps=0))
    draw_golden(numbers, monkeypatch)
    (of_d, of_g), _ = training_step_of(method, ADAM)(golden_batch(numbers), step=0)
    losses = numbers["losses"]
    judged = torch.stack([of_d["gan_real"], of_d["gan_fake"]])[None]
    torch.testing.assert_close(judged, losses["discriminator"].double(), rtol=1e-6, atol=0)
    # The score is a small sum of large numbers of 128 px, and theirs are float32.
    assert of_g["gan"].item() == pytest.approx(losses["generator_adversarial"].item(), abs=5e-6)
    assert sum(of_g.values()).item() == pytest.approx(losses["generator"].item(), abs=5e-6)
    networks = {"G": method.generator, "D": method.discriminator, "A": method.adaptor, "E": method.encoder}
    for name, network in networks.items():
        own = network.state_dict()
        keys = in_our_names({k: torch.zeros(()) for k in numbers["keys"]["D" if name == "E" else name]})
        keys = [key for key in keys if key in own]
        for key, norm in zip(keys, numbers["final_norms"][name], strict=True):
            # Biases between norms have no gradient but rounding, of which Adam makes whole steps.
            close = 1e-6 if name in "DE" or not key.endswith(".bias") else 1e-3
            assert own[key].norm().item() == pytest.approx(norm.item(), rel=close, abs=1e-6), (name, key)


def test_the_generator_joins_later_and_the_encoder_never(golden, double, monkeypatch):
    numbers = golden("deepi2i_step")
    method = golden_method(numbers, DeepI2IConfig(adaptor_steps=1))
    step = training_step_of(method, ADAM)
    for number, changed in ((0, {"adaptor", "discriminator"}), (1, {"adaptor", "discriminator", "generator"})):
        before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
        draw_golden(numbers, monkeypatch)
        step(golden_batch(numbers), number)
        differing = {n.split(".")[0] for n, p in method.named_parameters() if not torch.equal(p, before[n])}
        assert differing == changed
    rates = {len(group["params"]): group["lr"] for group in step.optimizers["generator"].param_groups}
    assert sorted(rates.values()) == [1e-4, 4e-4]
    assert rates[len(list(method.generator.parameters()))] == 1e-4


@pytest.fixture
def yamls(tmp_path):
    """A BigGAN of four classes, and a DeepI2I of three others."""
    make_labelled(tmp_path / "source", "1234")
    make_labelled(tmp_path / "target", "abc")
    train = "{log_every_steps: 1, num_samples: 2, accelerator: cpu, tensorboard: false%s}"
    text = """
method: {name: %s, generator: {base_channels: 2, latent_part: 2, shared_dim: 3}, discriminator: {base_channels: 2}}
data: {name: labelled, root: "%s", load_px: 32, crop_px: 32, batch_size: 3, num_workers: 0}
schedule: {name: constant, total_steps: 2}
train: %s
"""
    biggan, deepi2i = tmp_path / "biggan.yaml", tmp_path / "deepi2i.yaml"
    biggan.write_text(text % ("biggan", tmp_path / "source", train % ", ema_decay: 0.9"))
    start = f'start: {{file: "{tmp_path / "earlier"}", rename: {{ema.generator: generator}}}}\n'
    deepi2i.write_text(text % ("deepi2i", tmp_path / "target", train % "") + start)
    return biggan, deepi2i


def test_it_starts_from_the_average_and_the_discriminator_of_a_run_with_other_classes(yamls, tmp_path):
    biggan = build_trainer(read_config(yamls[0]))
    biggan.train_step(next(biggan.batches(1)))
    state = load_checkpoint(biggan.save(tmp_path / "earlier"))
    trainer = build_trainer(read_config(yamls[1]))
    adaptor = {key: value.clone() for key, value in trainer.method.adaptor.state_dict().items()}
    line = start_from(trainer, trainer.config.start)
    assert "new: adaptor" in line and "encoder" in line.split("; new")[0]
    method, earlier = trainer.method.state_dict(), state["method"]
    generator_keys = [key for key in method if key.startswith("generator.") and "shared" not in key]
    assert all(torch.equal(method[key], state["ema"][key]) for key in generator_keys)
    assert any(not torch.equal(method[key], earlier[key]) for key in generator_keys)
    encoder = {key: value for key, value in method.items() if key.startswith("encoder.")}
    assert all(torch.equal(v, earlier[k.replace("encoder", "discriminator")]) for k, v in encoder.items())
    assert torch.equal(method["generator.shared.weight"], state["ema"]["generator.shared.weight"][:3])
    assert torch.equal(method["discriminator.embed.weight"], earlier["discriminator.embed.weight"][:3])
    assert torch.equal(method["discriminator.embed.u0"], earlier["discriminator.embed.u0"][:, :3])
    assert all(torch.equal(trainer.method.adaptor.state_dict()[key], value) for key, value in adaptor.items())


def test_more_classes_than_the_earlier_run_keep_their_new_rows(yamls, tmp_path):
    saved_run(yamls[0], tmp_path / "earlier", "data.classes=[1, 2]".replace("1, 2", "'1', '2'"))
    trainer = build_trainer(read_config(yamls[1]))
    before = trainer.method.generator.shared.weight.detach().clone()
    start_from(trainer, trainer.config.start)
    after = trainer.method.generator.shared.weight
    assert torch.equal(after[2], before[2]) and not torch.equal(after[:2], before[:2])


def test_trains_and_translates_to_every_class_from_the_command_line(yamls, tmp_path):
    saved_run(yamls[0], tmp_path / "earlier")
    inside("train", "--config", yamls[1], "--run-dir", tmp_path / "run")
    with Image.open(tmp_path / "run" / "samples" / "step_00000002.png") as sheet:
        assert sheet.width > 4 * 64
    pictures = tmp_path / "target" / "train" / "a"
    Image.new("RGB", (50, 40), "red").save(pictures / "large.png")
    out = tmp_path / "out"
    inside(
        "test", "--run", tmp_path / "run", "--input", pictures, "--label", "all", "--num-outputs", 2, "--output", out
    )
    names = {path.name for path in out.glob("*.png")}
    assert names == {f"{stem}_{c}_{n}.png" for stem in ("0", "1", "2", "large") for c in "abc" for n in (0, 1)}
    found = {name: np.asarray(Image.open(out / name)) for name in names}
    assert found["large_b_0.png"].shape == (40, 50, 3) and found["0_b_0.png"].shape == (32, 32, 3)
    others = ("0_a_0.png", "0_b_1.png", "1_b_0.png")  # another class, latent, picture
    assert all((found["0_b_0.png"] != found[name]).any() for name in others)
    one = tmp_path / "one"
    inside("test", "--run", tmp_path / "run", "--input", pictures / "0.png", "--label", "b", "--output", one)
    assert [path.name for path in one.glob("*.png")] == ["0.png"]
    assert "--label: missing" in told("test", "--run", tmp_path / "run", "--input", pictures, "--output", one)


def test_too_few_weights_are_refused(yamls):
    with pytest.raises(UserError, match=r"feature_weights: needs 2 numbers, of maps of \[4, 8\] px"):
        build_trainer(read_config(yamls[1], ["method.feature_weights=[0.1]"]))


def test_biggans_public_files_draw_and_are_a_start(yamls, tmp_path):
    """Files as the authors' program saves them, with their names and random numbers."""
    torch.manual_seed(0)
    method = build_trainer(read_config(yamls[0])).method
    for module in method.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2.0)
    for name, network in (("G_ema", method.generator), ("D", method.discriminator)):
        state = {}
        for key, value in network.state_dict().items():
            key = key.replace(".norm.running_", ".stored_").replace("output_layer.0.running_", "output_layer.0.stored_")
            if not key.endswith("num_batches_tracked"):
                state[key.replace("output_layer.0.weight", "output_layer.0.gain")] = value
        torch.save(state, tmp_path / f"{name}.pth")
    assert any(key.endswith("bn1.stored_var") for key in torch.load(tmp_path / "G_ema.pth", weights_only=True))
    converted = tmp_path / "biggan.safetensors"
    _run_data("convert", tmp_path / "G_ema.pth", converted, "--discriminator", tmp_path / "D.pth")
    public, _ = load_translator(converted)
    latent, label = torch.randn(2, 8), torch.tensor([3, 1])
    with torch.no_grad():
        assert torch.equal(public(latent, label), method.eval()(latent, label))
    assert public.label_names == ("0", "1", "2", "3") and public.generator.image_px == 32

    trainer = build_trainer(read_config(yamls[1], [f"start={{file: {converted}}}"]))
    assert "new: adaptor" in start_from(trainer, trainer.config.start)
    for network in ("generator", "discriminator"):
        theirs, ours = getattr(method, network).state_dict(), getattr(trainer.method, network).state_dict()
        assert all(torch.equal(ours[key], value) for key, value in theirs.items() if ours[key].shape == value.shape)
    with pytest.raises(UserError, match="holds BigGAN's discriminator, which cut-data convert takes"):
        _run_data("convert", tmp_path / "D.pth", tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="is no discriminator of the same sizes"):
        _run_data(
            "convert", tmp_path / "G_ema.pth", tmp_path / "o.safetensors", "--discriminator", tmp_path / "G_ema.pth"
        )


def _run_data(*arguments):
    data._main([str(argument) for argument in arguments])
