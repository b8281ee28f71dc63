"""CUT's variants: focal PatchNCE, negatives from other images, the momentum encoder."""

import pytest
import torch
from fixed import formula_image

from cut.build import build_trainer, read_config
from cut.losses.patchnce import patchnce_loss
from cut.methods.cut import CUT, CUTConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator


def train(path, *overrides, steps=3):
    trainer = build_trainer(read_config(path, overrides))
    for batch in trainer.batches(steps):
        trainer.train_step(batch)
    return trainer


def weights(trainer):
    return trainer.method.state_dict()


def test_focal_of_gamma_0_and_alpha_1_is_the_cross_entropy_run_bit_for_bit(tiny_yaml):
    plain = weights(train(tiny_yaml))
    focal = weights(train(tiny_yaml, "method.nce_loss={name: focal, gamma: 0, alpha: 1}"))
    other = weights(train(tiny_yaml, "method.nce_loss={name: focal, gamma: 2, alpha: 1}"))
    assert all(torch.equal(plain[key], focal[key]) for key in plain)
    assert any(not torch.equal(plain[key], other[key]) for key in plain)


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("negatives", ["none", "image"])
def test_external_negatives_stand_in_the_softmax(negatives):
    torch.manual_seed(0)
    query, key, external = unit(2, 3, 8), unit(2, 3, 8), unit(5, 8)
    losses = patchnce_loss(query, key, 0.1, negatives, external=external)
    for image in range(2):
        for place in range(3):
            q = query[image, place]
            logits = [q @ key[image, place]] + [q @ e for e in external]
            if negatives == "image":
                logits += [q @ key[image, other] for other in range(3) if other != place]
            expected = -torch.stack(logits).div(0.1).log_softmax(0)[0]
            assert losses[3 * image + place].item() == pytest.approx(expected.item(), rel=1e-5)


def test_external_keys_are_those_of_earlier_images():
    torch.manual_seed(0)
    config = CUTConfig(negatives="external", nce_layers=(0, 4), num_patches=4, head_channels=8, queue_size=6)
    method = CUT(config, ResnetGenerator(3, 3, 2, 4), PatchDiscriminator(3, 2, 2))
    first, second = (
        {"real_a": formula_image(1, 3, 32) * s, "real_b": formula_image(1, 3, 32).flip(2)} for s in (1, -1)
    )
    terms = method.generator_terms(method.translate(first))
    assert terms["nce"].item() == terms["nce_idt"].item() == 0.0  # nothing to be told from yet
    kept = [queue.content() for queue in method.queues["a"]]
    assert [tuple(keys.shape) for keys in kept] == [(4, 8)] * 2
    terms = method.generator_terms(method.translate(second))
    assert terms["nce"].item() > 0
    terms["nce"].backward()  # the queue has gone on since
    assert [len(queue.content()) for queue in method.queues["a"]] == [6] * 2
    assert not any(queue.keys.requires_grad for queue in method.queues["a"])


def test_momentum_encoder_follows_slowly(tiny_yaml):
    settings = ("method.negatives=external", "method.momentum_encoder=0.75")
    before = build_trainer(read_config(tiny_yaml, settings)).method
    after = train(tiny_yaml, *settings, steps=2).method
    one_step = train(tiny_yaml, *settings, steps=1).method
    name = "layers.1.weight"
    slow, start = after.key_networks["generator"].state_dict()[name], before.generator.state_dict()[name]
    # Before the second step it moves a quarter of the way to where the first step led; before the first, nowhere.
    expected = torch.lerp(start, one_step.generator.state_dict()[name], 0.25)
    torch.testing.assert_close(slow, expected)
    assert not torch.equal(slow, start)


def discriminator_terms(**settings):
    torch.manual_seed(0)
    method = CUT(CUTConfig(nce_layers=(0, 4), **settings), ResnetGenerator(3, 3, 2, 4), PatchDiscriminator(3, 2, 2))
    image = formula_image(2, 3, 32)
    translated = method.translate({"real_a": image, "real_b": image.flip(2)})
    return method, translated, method.discriminator_terms(translated)


def test_r1_is_half_the_squared_slope_of_the_mean_score():
    method, translated, terms = discriminator_terms(lambda_r1=3.0)
    real = translated.real_b.clone().requires_grad_()
    (slope,) = torch.autograd.grad(method.discriminator(real).mean((1, 2, 3)).sum(), real)
    expected = 1.5 * slope.square().sum((1, 2, 3)).mean()
    assert terms["r1"].item() == pytest.approx(expected.item(), rel=1e-4)
    terms["r1"].backward()
    assert method.discriminator.layers[0].weight.grad.abs().sum() > 0
    assert "r1" not in discriminator_terms()[2]


@pytest.mark.parametrize("flipped", [False, True])
def test_identity_compares_pixels_of_one_side(flipped, monkeypatch):
    torch.manual_seed(0)
    config = CUTConfig(nce_layers=(0, 4), lambda_identity=2.0, nce_idt=False, flip_equivariance=True)
    method = CUT(config, ResnetGenerator(3, 3, 2, 4), PatchDiscriminator(3, 2, 2))
    image = formula_image(1, 3, 32)
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.tensor(0.1 if flipped else 0.9))
    terms = method.generator_terms(method.translate({"real_a": image, "real_b": image.flip(2)}))
    monkeypatch.undo()
    real = image.flip(2)
    again = method(real.flip(3)).flip(3) if flipped else method(real)
    assert terms["identity"].item() == pytest.approx(2.0 * (again - real).abs().mean().item(), rel=1e-4)
    assert "nce_idt" not in terms


def test_pool_hands_the_discriminator_earlier_translations():
    method, translated, _ = discriminator_terms(pool_size=4)
    assert len(method.pool.images) == 2 and torch.equal(method.pool.images[0], translated.fake_b[0].detach())
