"""DCLGAN and SimDCL against the authors' code (tests/golden/README.md), and what their options change."""

import pytest
import torch
from fixed import formula_image
from golden_steps import assert_sketches, load_weights, training_step_of

from cut.build import build_trainer, read_config
from cut.config import AdamConfig
from cut.errors import UserError
from cut.methods import dclgan
from cut.methods.dclgan import DCLGAN, DCLGANConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator

NETWORKS = {"G_A": "generator_ab", "G_B": "generator_ba", "F1": "patch_heads.a", "F2": "patch_heads.b"}
NETWORKS |= {"D_A": "discriminator_b", "D_B": "discriminator_a"}
HEADS = {"F3": "real_a", "F4": "fake_b", "F5": "real_b", "F6": "fake_a"}
SIMDCL = {"lambda_similarity": 10.0, "similarity_channels": 6, "lambda_nce": 1.0}
ADAM_OF_HEADS = {"per_player": {"patch_heads": {"lr": 1e-3, "betas": (0.9, 0.999)}}}
# By the place in the stored draws: of each direction the common places, then in SimDCL those of the generated images.
ORDER = {"dcl": (0, 1), "simdcl": (0, 2, 3, 1)}


class Networks:
    """Of the size in the golden file."""

    @staticmethod
    def generator(domains="ab"):
        return ResnetGenerator(base_channels=2, num_blocks=4)

    @staticmethod
    def discriminator(domains="b"):
        return PatchDiscriminator(base_channels=3)

    @staticmethod
    def initialise(network):
        return network


def method_of(**config):
    config = {"nce_layers": (4, 8, 12, 15), "num_patches": 16, "head_channels": 16} | config
    return DCLGAN.build(DCLGANConfig.model_validate(config), Networks).to(torch.get_default_dtype())


@pytest.mark.parametrize("case", ORDER)
def test_steps_equal_the_authors(case, golden, double, monkeypatch):
    """They normalise once more, with an epsilon of 1e-7, so that the losses differ by as much."""
    g = golden("successor_steps")
    expected, is_simdcl = g[case], case == "simdcl"
    method = method_of(**SIMDCL if is_simdcl else {})
    names = NETWORKS | ({name: f"similarity_heads.{head}" for name, head in HEADS.items()} if is_simdcl else {})
    weights = g["dcl"]["weights"] | expected["weights"]
    load_weights(method, {ours: weights[theirs] for theirs, ours in names.items()})
    step = training_step_of(method, AdamConfig.model_validate({"lr": 2e-4} | ({} if is_simdcl else ADAM_OF_HEADS)))
    for number, drawn in enumerate(expected["ids"]):
        places = iter([[ids.long() for ids in drawn[4 * place : 4 * place + 4]] for place in ORDER[case]])
        monkeypatch.setattr(dclgan, "random_patch_ids", lambda features, count, places=places: next(places))
        (d, generator), _ = step({k: v[number].double() for k, v in g["images"].items()}, number)
        found = {
            "D_A": d["gan_real_b"] + d["gan_fake_b"],
            "D_B": d["gan_real_a"] + d["gan_fake_a"],
            "G_A": 2 * generator["gan_b"],
            "G_B": 2 * generator["gan_a"],
            "NCE1": 2 * generator["nce_a"],
            "NCE2": 2 * generator["nce_b"],
            "idt_A": 2 * generator["idt_b"],
            "idt_B": 2 * generator["idt_a"],
            "G": sum(generator.values()),
        }
        if is_simdcl:
            found["Sim"] = generator["similarity_a"] + generator["similarity_b"]
        assert found == pytest.approx({k: v[number] for k, v in expected["losses"].items()}, rel=1e-6)
    assert_sketches(method, expected, names)


def terms_of(**config):
    torch.manual_seed(0)
    method = method_of(**config)
    image = formula_image(2, 3, 32)
    terms = method.generator_terms(method.translate({"real_a": image, "real_b": image.flip(2)}))
    return {name: float(value.detach()) for name, value in terms.items()}


def test_terms_are_proportional_to_their_weights_and_missing_without_them():
    once = terms_of(lambda_similarity=1.0)
    other = terms_of(lambda_gan=3.0, lambda_nce=5.0, lambda_identity=7.0, lambda_similarity=2.0)
    factors = {"gan": 3.0, "nce": 2.5, "idt": 7.0, "similarity": 2.0}
    assert other == pytest.approx({name: factors[name[:-2]] * value for name, value in once.items()})
    assert terms_of(lambda_identity=0.0).keys() == {"gan_a", "gan_b", "nce_a", "nce_b"}


@pytest.mark.parametrize("setting", [{"negatives": "image"}, {"nce_loss": {"name": "hdce"}}, {"temperature": 0.1}])
def test_each_setting_changes_nce(setting):
    assert terms_of(**setting)["nce_a"] != terms_of()["nce_a"]


def test_heads_have_settings_of_their_own_and_else_those_of_their_player(tiny_yaml):
    dclgan = ["method={name: dclgan, num_patches: 16, head_channels: 8, nce_layers: [4, 8]}"]
    for settings, rates in (
        (["optim.per_player={patch_heads: {lr: 1e-3, betas: [0.9, 0.99]}}"], (2e-4, 1e-3)),
        (["optim.per_player={generator: {lr: 1e-4}}"], (1e-4, 1e-4)),
    ):
        trainer = build_trainer(read_config(tiny_yaml, [*dclgan, *settings, "schedule.warmup_steps=1"]))
        trainer.train_step(next(trainer.batches(1)))
        groups = trainer.optimizers["generator"].param_groups
        assert [group["lr"] for group in groups] == pytest.approx([0.5 * rate for rate in rates])
        heads = {id(p) for p in trainer.method.patch_heads.parameters()}
        assert {id(p) for p in groups[1]["params"]} == heads and not heads & {id(p) for p in groups[0]["params"]}
    with pytest.raises(UserError, match="no player 'head' .this method has: discriminator, generator, patch_heads"):
        build_trainer(read_config(tiny_yaml, [*dclgan, "optim.per_player={head: {lr: 1e-3}}"]))


def test_domains_of_other_channels_need_no_identity(tiny_yaml):
    settings = ["method={name: dclgan, num_patches: 16, nce_layers: [4, 8], lambda_identity: 0}", "data.channels_b=1"]
    trainer = build_trainer(read_config(tiny_yaml, settings))
    trainer.train_step(next(trainer.batches(1)))
    with pytest.raises(UserError, match="lambda_identity must be 0"):
        build_trainer(read_config(tiny_yaml, [*settings, "method.lambda_identity=1"]))
