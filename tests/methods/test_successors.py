"""CUT's successors as settings of CUT and SinCUT: what each changes, what is refused, and the curriculum."""

import pytest
import torch
from conftest import make_single
from fixed import formula_image

from cut.build import build_trainer, read_config
from cut.errors import UserError
from cut.losses.relation import relation_loss
from cut.methods.cut import CUT, CUTConfig
from cut.methods.patch_contrast import HDCEConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator

SET_HDCE, SET_MONCE = "method.nce_loss={name: hdce}", "method.nce_loss={name: monce}"
SET_ATTENTION = "method.patches={name: attention}"


def steps(path, *overrides, count=2):
    """The method after some steps."""
    trainer = build_trainer(read_config(path, overrides))
    for batch in trainer.batches(count):
        trainer.train_step(batch)
    return trainer.method


def gradient(progress=0.5, **settings):
    """Of the first convolution of G, halfway through a run."""
    torch.manual_seed(0)
    config = {"nce_layers": (0, 4, 8, 12, 14), "num_patches": 16, "head_channels": 8} | settings
    method = CUT(CUTConfig.model_validate(config), ResnetGenerator(3, 3, 4, 4), PatchDiscriminator(3, 2, 2))
    method.progress = progress
    image = formula_image(2, 3, 32)
    terms = method.generator_terms(method.translate({"real_a": image, "real_b": image.flip(2)}))
    (found,) = torch.autograd.grad(sum(terms.values()), method.generator.layers[1].weight)
    return found


HDCE, MONCE, ATTENTION = {"name": "hdce"}, {"name": "monce"}, {"name": "attention"}


@pytest.mark.parametrize(
    "one, other",
    [
        ({}, {"nce_loss": HDCE}),
        ({"nce_loss": HDCE}, {"nce_loss": {"name": "dce"}}),
        ({"nce_loss": HDCE}, {"nce_loss": HDCE | {"gamma": 1.0}}),
        ({"nce_loss": HDCE}, {"nce_loss": HDCE | {"gamma_end": 0.1}}),
        ({"nce_loss": HDCE}, {"nce_loss": HDCE | {"hardest_from": 0.4}}),
        ({"nce_loss": HDCE}, {"nce_loss": HDCE, "progress": 0.1}),
        ({"nce_loss": HDCE}, {"nce_loss": HDCE, "lambda_src": 1.0}),
        ({"nce_loss": HDCE}, {"nce_loss": HDCE, "negatives": "minibatch"}),
        ({}, {"nce_loss": MONCE}),
        ({"nce_loss": MONCE}, {"nce_loss": MONCE | {"hard": False}}),
        ({"nce_loss": MONCE}, {"nce_loss": MONCE | {"epsilon": 0.1}}),
        ({"nce_loss": MONCE}, {"nce_loss": MONCE | {"negative_weight": 2.0}}),
        ({"nce_loss": MONCE}, {"nce_loss": MONCE | {"detach_weights": True}}),
        ({"nce_loss": MONCE}, {"nce_loss": MONCE | {"gamma": 2.0}}),
        ({"nce_loss": MONCE}, {"nce_loss": MONCE, "negatives": "minibatch"}),
        ({}, {"patches": ATTENTION}),
        ({"patches": ATTENTION}, {"patches": ATTENTION | {"num_layers": 1}}),
        ({"patches": ATTENTION}, {"patches": ATTENTION | {"detach": True}}),
    ],
)
def test_each_setting_changes_the_gradient(one, other):
    assert torch.equal(gradient(**one), gradient(**one))
    assert not torch.equal(gradient(**one), gradient(**other))


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            [SET_HDCE, "method.negatives=external"],
            "nce_loss: hdce weighs the negatives of one batch .* use negatives: image",
        ),
        ([SET_MONCE, "method.negatives=image_and_external"], "nce_loss: monce weighs"),
        (["method.nce_loss.name=dce", "method.negatives=external"], "nce_loss: dce weighs"),
        ([SET_ATTENTION, "method.patches.num_layers=6"], "patches.num_layers: must be at most 5"),
        (["method.lambda_src=1", "method.lambda_nce=0"], "set lambda_nce above 0"),
    ],
)
def test_what_has_no_meaning_is_refused(settings, message, tiny_yaml):
    with pytest.raises(UserError, match=message):
        read_config(tiny_yaml, settings)


@pytest.mark.parametrize(
    "settings",
    [
        [SET_ATTENTION, "method.nce_loss={name: focal}", "method.negatives=external", "method.momentum_encoder=0.9"],
        [SET_ATTENTION, "method.flip_equivariance=true", "method.nce_idt=false", SET_HDCE, "method.lambda_src=1"],
        [SET_MONCE, "method.flip_equivariance=true", "data.channels_b=1"],
        [SET_ATTENTION, "method.head=none", "train.precision=bf16-mixed"],
    ],
)
def test_settings_go_together(settings, tiny_yaml):
    assert all(torch.isfinite(p).all() for p in steps(tiny_yaml, *settings).parameters())


def test_gamma_goes_from_its_beginning_to_its_end_over_the_run():
    section = HDCEConfig(gamma=50.0, gamma_end=10.0, hardest_from=0.5)
    assert [section.gamma_at(progress) for progress in (0.0, 0.25, 0.499)] == pytest.approx([50.0, 40.0, 30.04])
    assert section.gamma_at(0.5) == section.gamma_at(0.99) == 1.0
    assert HDCEConfig().gamma_at(0.999) == pytest.approx(10.04)


def test_attention_learns_through_the_input_unless_detached(tiny_yaml):
    """Also where the keys come from a pass of their own, because G's input was mirrored."""
    for settings in ([], ["method.flip_equivariance=true", "method.nce_idt=false"]):
        for detach in (False, True):
            overrides = [SET_ATTENTION, f"method.patches.detach={detach}".lower(), *settings]
            trainer = build_trainer(read_config(tiny_yaml, overrides))
            translated = trainer.method.translate(next(trainer.batches(1)))
            assert translated.keys_a[-1].requires_grad is not detach


def test_src_is_its_weight_times_the_mean_over_layers(tiny_yaml, monkeypatch):
    trainer = build_trainer(read_config(tiny_yaml, ["method.lambda_src=3"]))
    method, seen = trainer.method, []
    embed = type(method)._embed
    monkeypatch.setattr(type(method), "_embed", lambda self, *features: seen.append(embed(self, *features)) or seen[-1])
    terms = method.generator_terms(method.translate(next(trainer.batches(1))))
    of_x = [relation_loss(query, key).item() for query, key in zip(*seen[0][:2], strict=True)]
    assert terms["src"].item() == pytest.approx(3 * sum(of_x) / 5, rel=1e-5)


def test_sincut_weighs_and_relates_all_crops(tmp_path):
    pictures = make_single(tmp_path / "p")
    (tmp_path / "single.yaml").write_text(
        f"""
method: {{name: sincut, head_channels: 8, nce_loss: {{name: hdce}}, lambda_src: 1.0}}
generator: {{base_channels: 4, num_blocks: 4}}
discriminator: {{base_channels: 4}}
data: {{name: single, a: "{pictures["a"]}", b: "{pictures["b"]}", crop_px: 16, batch_size: 4, num_workers: 0}}
schedule: {{name: constant, total_steps: 4}}
train: {{accelerator: cpu}}
"""
    )
    trainer = build_trainer(read_config(tmp_path / "single.yaml"))
    method = trainer.method
    terms = method.generator_terms(method.translate(next(trainer.batches(1))))
    assert terms["src"].item() > 1e-6  # one patch of each crop: within a crop there would be nothing to relate
    assert torch.isfinite(terms["nce"]) and terms["nce"].requires_grad
