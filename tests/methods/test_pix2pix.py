"""pix2pix: a whole step against plain torch, the objectives of table 1, and what it does at test time."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import REPOSITORY, make_paired
from torch import nn

from cut.build import build_method, build_trainer, load_translator, read_config
from cut.train.monitor import draw_sheet

UNET = ("generator.image_px=64", "generator.base_channels=2", "discriminator.base_channels=4")
SMALL = (*UNET, "data.load_px=72", "data.crop_px=64", "data.num_workers=0", "train.accelerator=cpu")
RESNET = (
    "generator=null",
    "generator={name: resnet, base_channels: 2, num_blocks: 4, norm: batch, dropout: 0.5, init: normal}",
)
NO_DISCRIMINATOR = {"generator/l1"}
WITH_DISCRIMINATOR = {"discriminator/gan_real", "discriminator/gan_fake", "generator/gan"}
OBJECTIVES = {  # terms, and the channels that D judges
    "l1": (NO_DISCRIMINATOR, None),
    "gan": (WITH_DISCRIMINATOR, 3),
    "cgan": (WITH_DISCRIMINATOR, 6),
    "l1_gan": (WITH_DISCRIMINATOR | NO_DISCRIMINATOR, 3),
    "l1_cgan": (WITH_DISCRIMINATOR | NO_DISCRIMINATOR, 6),
}


def config_of(name="l1_cgan", *overrides):
    return read_config(REPOSITORY / f"configs/pix2pix_objectives/{name}.yaml", [*SMALL, *overrides])


def trainer_of(folder, name="l1_cgan", *overrides):
    return build_trainer(config_of(name, f"data.root={make_paired(folder)}", *overrides))


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("conditional", [True, False])
def test_a_step_equals_the_paper_in_plain_torch(tmp_path, conditional):
    trainer = trainer_of(tmp_path, "l1_cgan", "generator.dropout=0.0", f"method.conditional={conditional}")
    g, d = copy.deepcopy(trainer.method.generator), copy.deepcopy(trainer.method.discriminator)
    adam_g, adam_d = (torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999)) for network in (g, d))
    batch = next(trainer.batches(1))
    trainer.train_step(batch)

    x, y = batch["real_a"], batch["real_b"]
    fake = g(x)

    def judge(image, real):
        scores = d(torch.cat((x, image), dim=1)) if conditional else d(image)
        probability = torch.sigmoid(scores)
        return -torch.log(probability if real else 1 - probability).mean()

    loss_d = (judge(y, True) + judge(fake.detach(), False)) / 2
    adam_d.zero_grad()
    loss_d.backward()
    adam_d.step()
    loss_g = judge(fake, True) + 100 * F.l1_loss(fake, y)
    adam_g.zero_grad()
    loss_g.backward()
    adam_g.step()

    ours = trainer.losses.sums
    assert float(ours["loss/discriminator/gan_real"] + ours["loss/discriminator/gan_fake"]) == pytest.approx(
        loss_d.item(), rel=1e-5
    )
    assert float(ours["loss/generator/gan"] + ours["loss/generator/l1"]) == pytest.approx(loss_g.item(), rel=1e-5)
    for network, plain in ((trainer.method.generator, g), (trainer.method.discriminator, d)):
        for (name, weight), expected in zip(network.named_parameters(), plain.parameters(), strict=True):
            # Adam's first step is 2e-4 whatever the gradient; a tenth of it where rounding shows in small ones.
            torch.testing.assert_close(weight, expected, rtol=0, atol=2e-5, msg=name)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_of_table_1_has_exactly_its_terms(tmp_path, name):
    terms, judged = OBJECTIVES[name]
    trainer = trainer_of(tmp_path, name)
    trainer.train_step(next(trainer.batches(1)))
    assert {key.removeprefix("loss/") for key in trainer.losses.sums} == terms
    discriminator = trainer.method.discriminator
    first = next(discriminator.parameters()) if discriminator else None
    assert (first.shape[1] if discriminator else None) == judged
    assert [player.name for player in trainer.players] == (["discriminator"] if judged else []) + ["generator"]


def test_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="lambda_gan and lambda_l1 are both 0"):
        config_of("l1", "method.lambda_l1=0")


@pytest.mark.parametrize("generator", [(), RESNET], ids=["unet", "resnet"])
def test_noise_and_batch_statistics_at_test_time_change_no_state(generator, images):
    torch.manual_seed(1)
    method = build_method(config_of("l1", *generator))
    method(images)  # in training mode, so that the running averages are not those of a new network
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.prepare_inference()
    assert method.goes_one_by_one
    with torch.inference_mode():
        noisy = [method(images[:1]) for _ in range(2)]
        torch.manual_seed(3)
        seeded = method(images[:1])
        torch.manual_seed(3)
        assert torch.equal(seeded, method(images[:1]))
    assert not torch.equal(*noisy)
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    assert not any(module.training for module in method.modules())
    assert all(m.track_running_stats for m in method.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("generator", [(), RESNET], ids=["unet", "resnet"])
def test_deterministic_repeats_and_looks_at_each_image_alone(generator, images):
    torch.manual_seed(1)
    method = build_method(config_of("l1", *generator))
    method(images)
    method.prepare_inference(deterministic=True)
    assert not method.goes_one_by_one
    with torch.inference_mode():
        together = method(images)
        assert torch.equal(together, method(images))
        torch.testing.assert_close(together[:1], method(images[:1]))
        assert torch.equal(together, method.generator.eval()(images))


def test_each_half_of_the_test_time_policy_can_be_switched_off(images):
    def outputs(*overrides):
        torch.manual_seed(1)
        method = build_method(config_of("l1", *overrides))
        method(images)
        method.prepare_inference()
        with torch.inference_mode():
            return [method(images[:1]), method(images[:1]), method(images)[:1]], method.goes_one_by_one

    (one, again, beside), alone = outputs("method.test_dropout=false")
    assert torch.equal(one, again) and alone
    assert not torch.allclose(one, beside, atol=1e-4)  # batch statistics
    (one, again, _), alone = outputs("method.test_batch_statistics=false")
    assert not torch.equal(one, again) and alone  # each picture has noise of its own
    (one, again, beside), alone = outputs("method.test_batch_statistics=false", "method.test_dropout=false")
    assert torch.equal(one, again) and not alone
    torch.testing.assert_close(one, beside)


def test_the_policy_is_stored_and_averaged_networks_follow_it(tmp_path):
    trainer = trainer_of(tmp_path / "data", "l1", "train.ema_decay=0.9", "generator.dropout=0.0")
    batch = next(trainer.batches(1))
    trainer.train_step(batch)
    trainer.save(tmp_path / "run")
    method, config = load_translator(tmp_path / "run" / "generator.safetensors")
    assert config.method.test_batch_statistics and method.goes_one_by_one
    expected = {m: trainer.ema.networks["generator"].train(m)(batch["real_a"]) for m in (False, True)}
    with torch.inference_mode():
        trainer.method.prepare_inference()
        with trainer.ema.applied(trainer.method):
            assert torch.equal(trainer.method(batch["real_a"]), expected[True])
        assert torch.equal(method(batch["real_a"]), expected[True])
    assert not torch.equal(*expected.values())


def test_sample_sheets_with_noise_leave_the_run_as_it_was(tmp_path):
    plain, drawing = (trainer_of(tmp_path / str(i)) for i in range(2))
    for trainer in (plain, drawing):
        torch.manual_seed(5)
        for n, batch in enumerate(trainer.batches(2)):
            trainer.train_step(batch)
            if trainer is drawing and n == 0:
                draw_sheet(trainer.method, None, trainer.samples, trainer.fabric, tmp_path / "sheet.png")
    others = drawing.method.state_dict()
    assert all(torch.equal(value, others[key]) for key, value in plain.method.state_dict().items())


def test_a_cut_run_with_a_unet_is_told_what_it_lacks(tiny_yaml):
    overrides = ["generator={name: unet, image_px: 32, base_channels: 2}"]
    with pytest.raises(ValueError, match="numbered layers of the generator, which a U-Net has not; use name: resnet"):
        build_method(read_config(tiny_yaml, overrides))
