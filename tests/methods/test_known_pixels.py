"""Masks and partners in the losses of CUT, FastCUT and CycleGAN."""

import json

import pytest
import torch
from conftest import make_masks
from fixed import formula_image
from programs import inside, told
from safetensors.torch import load_file

from cut.build import build_trainer, read_config
from cut.losses.contrast import contrast_over_layers
from cut.losses.patchnce import patchnce_loss
from cut.methods.cut import CUT, CUTConfig
from cut.methods.cyclegan import CycleGAN, CycleGANConfig
from cut.methods.dclgan import DCLGAN, DCLGANConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.patch_head import masked_patch_ids
from cut.models.resnet import ResnetGenerator


def networks(count=1):
    return [ResnetGenerator(3, 3, 2, 4) for _ in range(count)] + [PatchDiscriminator(3, 2, 2) for _ in range(count)]


def batch_of_two():
    """Two images, of which the first has a partner, with masks of their left and right halves."""
    image, mask = formula_image(2, 3, 32), torch.zeros(2, 1, 32, 32)
    mask[0, :, :, :16] = mask[1, :, :, 16:] = 1.0
    partners = {f"partner_{domain}": image.flip(2) * 0.5 for domain in "ab"}
    has = {f"has_partner_{domain}": torch.tensor([1.0, 0.0]) for domain in "ab"}
    return {"real_a": image, "real_b": -image, "mask_a": mask, "mask_b": 1 - mask} | partners | has


def cut_terms(batch, monkeypatch=None, flipped=False, **settings):
    torch.manual_seed(0)
    method = CUT(CUTConfig(nce_layers=(0, 4), num_patches=16, head_channels=8, **settings), *networks())
    if monkeypatch:
        monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(0.1 if flipped else 0.9))
    translated = method.translate(batch)
    terms = method.generator_terms(translated)
    if monkeypatch:
        monkeypatch.undo()
    return method, translated, terms


@pytest.mark.parametrize("flipped", [False, True])
def test_pairs_compare_pixels_of_one_side_where_there_are_partners(flipped, monkeypatch):
    batch = batch_of_two()
    _, translated, terms = cut_terms(
        batch, monkeypatch, flipped, lambda_paired=4.0, flip_equivariance=True, nce_idt=False
    )
    fake = translated.fake_b.flip(3) if flipped else translated.fake_b
    expected = 4.0 * (fake[0] - batch["partner_b"][0]).abs().mean() / 2  # the second image has none
    assert terms["paired_b"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_outside_of_the_mask_the_input_is_the_aim():
    batch = batch_of_two()
    _, translated, terms = cut_terms(batch, lambda_outside=3.0)
    difference = (translated.fake_b - batch["real_a"]).abs()
    expected = 3.0 * (difference[0, :, :, 16:].mean() + difference[1, :, :, :16].mean()) / 4  # a half of each of two
    assert terms["outside_a"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert "paired_b" not in terms
    _, _, terms = cut_terms(batch | {"mask_a": torch.ones(2, 1, 32, 32)})
    assert terms["outside_a"].item() == 0.0
    assert "outside_a" not in cut_terms(batch, lambda_outside=0.0)[2]


@pytest.mark.parametrize(
    ("method_class", "config_class", "settings"),
    [
        (CycleGAN, CycleGANConfig, {}),
        (DCLGAN, DCLGANConfig, {"nce_layers": (0, 4), "num_patches": 16, "head_channels": 8}),
    ],
)
def test_two_way_methods_use_both_directions(method_class, config_class, settings):
    torch.manual_seed(0)
    batch = batch_of_two()
    method = method_class(config_class(lambda_paired=2.0, lambda_outside=5.0, **settings), *networks(2))
    translated = method.translate(batch)
    terms = method.generator_terms(translated)
    for domain, target, fake in (("a", "b", translated.fake_b), ("b", "a", translated.fake_a)):
        paired = 2.0 * (fake[0] - batch[f"partner_{target}"][0]).abs().mean() / 2
        outside = 5.0 * ((1 - batch[f"mask_{domain}"]) * (fake - batch[f"real_{domain}"]).abs()).mean()
        assert terms[f"paired_{target}"].item() == pytest.approx(paired.item(), rel=1e-5)
        assert terms[f"outside_{domain}"].item() == pytest.approx(outside.item(), rel=1e-5)
        nothing = method.generator_terms(method.translate(batch | {f"mask_{domain}": torch.zeros(2, 1, 32, 32)}))
        assert nothing.get(f"nce_{domain}", torch.zeros(())).item() == 0.0 < terms.get(f"nce_{domain}", torch.ones(()))


def test_configs_say_what_they_read():
    assert CUTConfig().further_images() == {"mask_a"}
    assert CUTConfig(lambda_paired=1.0).further_images() == {"mask_a", "partner_b"}
    for config in (CycleGANConfig(lambda_paired=1.0), DCLGANConfig(lambda_paired=1.0)):
        assert config.further_images() == {"mask_a", "mask_b", "partner_a", "partner_b"}


def test_queries_are_drawn_inside_the_mask():
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :16, :16] = 1.0  # a quarter
    mask[1, :, :2, :2] = 1.0  # 4 places of the finest map, one of the next, none of the coarse one
    features = [torch.zeros(2, 1, side, side) for side in (32, 16, 4)]
    places, inside = masked_patch_ids(features, 20, mask)
    for feature, ids, is_inside in zip(features, places, inside, strict=True):
        side = feature.shape[3]
        rows, columns = ids // side, ids % side
        assert torch.equal(is_inside[0], (rows < side // 2)[0] & (columns < side // 2)[0])
        assert all(len(set(own.tolist())) == min(20, side**2) for own in ids)  # without repetition
    assert [own.sum(1).tolist() for own in inside] == [[20, 4], [20, 1], [4, 0]]


def test_patches_outside_are_negatives_alone():
    torch.manual_seed(0)
    query, key = (torch.nn.functional.normalize(torch.randn(2, 5, 8), dim=2) for _ in range(2))
    inside = torch.tensor([[True, True, False, False, False], [False] * 5])
    query.requires_grad_()
    loss = contrast_over_layers([query], [key], patchnce_loss, inside=[inside])
    expected = patchnce_loss(query, key).view(2, 5)[0, :2].mean() / 2  # an image without a patch counts as 0
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    assert query.grad[0, :2].abs().sum() > 0 and not query.grad[0, 2:].any() and not query.grad[1].any()


@pytest.mark.parametrize("settings", [{}, {"patches": {"name": "attention", "num_layers": 1}}, {"lambda_src": 1.0}])
def test_a_mask_changes_what_patchnce_looks_at(settings):
    batch = batch_of_two() | {"mask_a": torch.zeros(2, 1, 32, 32)}
    nothing, everything = (
        cut_terms(b, **settings)[2]["nce"].item() for b in (batch, batch | {"mask_a": torch.ones(2, 1, 32, 32)})
    )
    assert everything > nothing
    assert (nothing == 0.0) == ("patches" not in settings)  # layers with attention choose among all places


def test_trains_with_masks_and_pairs_and_resumes(tiny_yaml, unpaired, tmp_path, capsys):
    make_masks(unpaired / "maskA")
    for name in ("2", "3"):
        (unpaired / "trainB" / f"{name}.png").rename(unpaired / "trainB" / f"other{name}.png")
    settings = ("method.lambda_paired=10", "train.tensorboard=false")
    words = [word for setting in settings for word in ("--set", setting)]
    for stop in (2, 4):
        steps = ("--set", f"train.max_steps={stop}", "--resume")
        inside("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run", *words, *steps)
    said = capsys.readouterr().err
    assert f"masks: 4 of {unpaired / 'maskA'}" in said and "pairs: 2 pictures have one name among the 4" in said
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "loss/generator/nce" in line]
    assert len(lines) == 2 and all(line["loss/generator/outside_a"] > 0 for line in lines)
    assert sum(line["loss/generator/paired_b"] for line in lines) > 0
    straight = build_trainer(read_config(tiny_yaml, settings))
    for batch in straight.batches(4):
        straight.train_step(batch)
    resumed = load_file(tmp_path / "run" / "generator.safetensors")
    for key, tensor in straight.method.generator.state_dict().items():
        assert torch.equal(tensor, resumed[f"generator.{key}"])


def test_pairs_need_names_and_data_that_have_them(tiny_yaml, unpaired, tmp_path):
    for path in (unpaired / "trainB").iterdir():
        path.rename(path.with_name(f"other{path.name}"))
    arguments = ("--config", tiny_yaml, "--set", "method.lambda_paired=1", "--run-dir", tmp_path / "run")
    assert "method.lambda_paired: no picture of" in told("train", *arguments)
