"""data.match_colours: domain A takes on the colours of domain B, in training and wherever the generator is used."""

import numpy as np
import pytest
import torch
from fixed import fill_with_unit_normals
from PIL import Image
from programs import inside
from same_runs import assert_same_end

import cut
from cut.api.choices import style_of
from cut.api.export import export_model
from cut.build import build_method, build_trainer, load_translator, read_config
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError
from cut.models.colour_match import ColourMatch
from cut.runtime.fabric import build_fabric
from cut.storage.checkpoint import INFERENCE_FILE, load_inference_file
from cut.train.monitor import draw_sheet
from cut.train.run_dir import open_run

ON = "data.match_colours=true"
QUIET = ("train.tensorboard=false", "train.num_samples=1")


def pixels_of(folder):
    """All pixels of a folder's pictures, `(N, 3)` in [-1, 1]."""
    return np.concatenate([np.asarray(Image.open(p)).reshape(-1, 3) for p in folder.glob("*.png")]) / 127.5 - 1


def transfer(unpaired, backwards=False):
    """The colour transfer of a data set by its formula, for arrays `(..., 3)` in [-1, 1]."""
    old, new = (pixels_of(unpaired / f"train{domain}") for domain in ("BA" if backwards else "AB"))
    factor = new.std(0) / old.std(0)
    return lambda image: np.clip((image - old.mean(0)) * factor + new.mean(0), -1, 1)


def fit(path, run_dir, *overrides):
    trainer = build_trainer(read_config(path, overrides))
    open_run(trainer, run_dir, resume=False)
    trainer.fit(run_dir)
    return trainer


@pytest.fixture
def yaml(tiny_yaml):
    """Pictures of 40 px as they are, because what is scaled has other statistics."""
    tiny_yaml.write_text(tiny_yaml.read_text().replace("load_px: 36", "load_px: 40"))
    return tiny_yaml


@pytest.fixture
def run(yaml, tmp_path):
    """A run of two steps, whose generator makes different pictures."""
    trainer = build_trainer(read_config(yaml, [ON]))
    for batch in trainer.batches(2):
        trainer.train_step(batch)
    fill_with_unit_normals(trainer.method.generator)
    open_run(trainer, tmp_path / "run", resume=False)
    trainer.save(tmp_path / "run")
    return tmp_path / "run"


def test_the_formula_clips_and_is_inverted():
    colours = ColourMatch(2).double()
    colours.set_domain("a", [0.0, -0.5], [0.5, 0.25])
    colours.set_domain("b", [0.5, 0.25], [0.25, 0.5])
    image = torch.tensor([[-0.5, 0.5, 1.0], [-0.5, 0.0, 0.5]], dtype=torch.float64).view(1, 2, 1, 3)
    expected = torch.tensor([[0.25, 0.75, 1.0], [0.25, 1.0, 1.0]], dtype=torch.float64).view(1, 2, 1, 3)
    torch.testing.assert_close(colours(image), expected, rtol=0, atol=1e-15)
    back = torch.tensor([[-0.5, 0.5, 1.0], [-0.5, -0.125, -0.125]], dtype=torch.float64).view(1, 2, 1, 3)
    torch.testing.assert_close(colours.back(expected), back, rtol=0, atol=1e-15)
    colours.set_domain("a", [0.0, 0.0], [0.0, 0.5])  # a channel without any contrast
    assert colours(image).isfinite().all()


def test_training_sees_domain_a_as_the_formula_makes_it(yaml, unpaired, monkeypatch):
    matched = build_trainer(read_config(yaml, [ON]))
    for batch in matched.batches(2):
        matched.train_step(batch)
    seen = matched.method.matched(batch)
    expected = transfer(unpaired)(batch["real_a"].permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(seen["real_a"].permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    assert torch.equal(seen["real_b"], batch["real_b"])

    def sample(stream, n, original=UnpairedStream.__getitem__):
        images = original(stream, n)
        return images | {"real_a": matched.method.colours(images["real_a"][None])[0]}

    monkeypatch.setattr(UnpairedStream, "__getitem__", sample)
    plain = build_trainer(read_config(yaml))
    for batch in plain.batches(2):
        plain.train_step(batch)
    own, other = matched.method.state_dict(), plain.method.state_dict()
    assert own.keys() - other.keys() == {f"colour_match.{k}_{d}" for k in ("mean", "deviation") for d in "ab"}
    assert all(torch.equal(own[key], other[key]) for key in other)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_whatever_uses_the_run_gives_the_generator_matched_pictures(run, unpaired, tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    method, config = load_translator(run / INFERENCE_FILE)
    made = torch.from_numpy(transfer(unpaired)(picture / 127.5 - 1)).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = method.generator(made)[0]
    bytes_of = expected.permute(1, 2, 0).clamp(-1, 1).add(1).mul(127.5).round().numpy()

    def differs(array):
        return np.abs(np.asarray(array).astype(int) - bytes_of).max()

    given = ("--run", run, "--input", tmp_path / "photo.png", "--accelerator", "cpu")
    inside("test", *given, "--output", tmp_path / "whole")
    inside("test", *given, "--output", tmp_path / "tiles", "--tile-px", 32)
    model = cut.load(run, device="cpu")
    for found in (tmp_path / "whole" / "photo.png", tmp_path / "tiles" / "photo.png"):
        assert differs(Image.open(found)) <= 1
    checkpoint = cut.load(next((run / "checkpoints").glob("*.pt")), device="cpu")
    assert differs(model(picture)) <= 1 and differs(checkpoint(picture)) <= 1
    image = torch.from_numpy(picture / 127.5 - 1).permute(2, 0, 1)[None].float().requires_grad_()
    found = model.method(image)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-4)
    assert torch.autograd.grad(found.sum(), image)[0].abs().sum() > 0
    export_model(method, config, tmp_path / "model.ts")
    with torch.no_grad():
        graph = torch.jit.load(tmp_path / "model.ts")
        torch.testing.assert_close(graph(image)[0], expected, rtol=0, atol=1e-4)


def test_sheets_show_the_pictures_as_they_are(yaml, unpaired, tmp_path):
    trainer = build_trainer(read_config(yaml, [ON]))
    next(trainer.batches(1))
    sample = trainer.samples[0]
    images = trainer.method.visuals_on_disk({k: sample[k][None] for k in ("real_a", "real_b")})
    assert torch.equal(images["input"][0], sample["real_a"])
    with torch.no_grad():
        seen = trainer.method.colours(sample["real_a"][None])
        assert torch.equal(images["translation"], trainer.method.generator(seen))
    sheet, _ = draw_sheet(trainer.method, None, trainer.samples, trainer.fabric, tmp_path / "sheet.png")
    assert sheet.shape[2] == 3


def test_a_two_way_method_gives_domain_a_its_colours_back(tmp_path, unpaired):
    path = tmp_path / "cyclegan.yaml"
    path.write_text(
        f"""
method: {{name: cyclegan}}
generator: {{name: resnet, base_channels: 2, num_blocks: 2}}
discriminator: {{name: patch, base_channels: 2, num_layers: 1}}
data: {{name: unpaired, root: "{unpaired}", load_px: 40, crop_px: 32, num_workers: 0, match_colours: true}}
train: {{accelerator: cpu, num_samples: 1}}
"""
    )
    trainer = build_trainer(read_config(path))
    for batch in trainer.batches(1):
        trainer.train_step(batch)
    fill_with_unit_normals(trainer.method)
    method, back = trainer.method, transfer(unpaired, backwards=True)
    with torch.no_grad():
        own = method.generator_ba(batch["real_b"])
        given = method.translations()["ba"](batch["real_b"])
    expected = torch.from_numpy(back(own.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-5)
    assert (given - own).abs().mean() > 0.1
    with torch.no_grad():
        shown = method.visuals_on_disk(batch)
        seen = method.visuals(method.matched(batch))
    torch.testing.assert_close(shown["b to a"], given)
    assert torch.equal(shown["a"], batch["real_a"]) and torch.equal(shown["a to b"], seen["a to b"])
    torch.testing.assert_close(shown["and back to a"], method.colours.back(seen["and back to a"]))


def test_a_guide_of_domain_a_gives_its_style_in_matched_colours(tmp_path):
    path = tmp_path / "munit.yaml"
    path.write_text(
        """
method:
  name: munit
  generator: {base_channels: 2, num_blocks: 1, mlp_channels: 8, style_dim: 3}
  discriminator: {base_channels: 2, num_scales: 1}
data: {name: unpaired, root: x, match_colours: true}
"""
    )
    method = build_method(read_config(path)).eval()
    fill_with_unit_normals(method)
    method.colours.set_domain("b", [0.5, 0.25, 0.0], [0.5, 0.5, 2.0])
    pictures, fabric = torch.rand(2, 3, 32, 32) * 2 - 1, build_fabric("cpu", "32-true")
    with torch.no_grad():
        of_a, of_b = method.guide_style(method.colours(pictures), "ba")[:1], method.guide_style(pictures, "ab")[:1]
        assert not torch.allclose(of_a, method.guide_style(pictures, "ba")[:1], atol=1e-3)
    assert torch.allclose(style_of(method, pictures[0], "ba", fabric, "guide"), of_a, atol=1e-5)
    assert torch.allclose(style_of(method, pictures[0], "ab", fabric, "guide"), of_b, atol=1e-5)


def test_a_resumed_run_measures_nothing_again_and_ends_as_a_straight_one(yaml, tmp_path, monkeypatch):
    settings = (ON, "train.ema_decay=0.9", "train.max_steps=2", *QUIET)
    fit(yaml, tmp_path / "straight", *settings)
    first = build_trainer(read_config(yaml, settings))
    open_run(first, tmp_path / "halves", resume=False)
    first.last_step = 1
    first.fit(tmp_path / "halves")
    monkeypatch.setattr(UnpairedStream, "colours", lambda stream: pytest.fail("measured again"))
    assert fit(yaml, tmp_path / "halves", *settings).step == 2
    assert_same_end(tmp_path / "straight", tmp_path / "halves", logs=False)
    files = [load_inference_file(tmp_path / name / INFERENCE_FILE)[0] for name in ("straight", "halves")]
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])
    assert files[0]["colour_match.mean_b"].min() > files[0]["colour_match.mean_a"].max()


def test_scores_while_training_are_those_of_matched_pictures(yaml, unpaired, tmp_path):
    fit(yaml, tmp_path / "run", ON, "eval={every_steps: 1, metrics: [l1]}", "train.max_steps=1", *QUIET)
    with Image.open(tmp_path / "run" / "evaluation" / "last" / "0.png") as written:
        found = np.asarray(written).astype(int)
    inside(
        *("test", "--run", tmp_path / "run", "--input", unpaired / "testA", "--output", tmp_path / "out"),
        *("--accelerator", "cpu"),
    )
    with Image.open(tmp_path / "out" / "0.png") as written:
        assert np.array_equal(found, np.asarray(written))


@pytest.mark.parametrize(
    "data, message",
    [
        ("{name: unpaired, root: x, channels_a: 1, match_colours: true}", "as many channels in both domains, got"),
        ("{name: idx, root: x, match_colours: true}", "is for data of name unpaired"),
        ("{name: single, a: x, b: y, match_colours: true}", "is for data of name unpaired"),
        ("{name: paired, root: x, match_colours: true}", "is for data of name unpaired"),
    ],
)
def test_data_whose_colours_cannot_be_matched_are_refused_in_one_line(tmp_path, data, message):
    (tmp_path / "x.yaml").write_text(f"method: {{name: cut}}\ndata: {data}\n")
    with pytest.raises(UserError, match=message) as caught:
        read_config(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value) and "match_colours" in str(caught.value)
