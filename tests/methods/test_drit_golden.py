"""Whole training steps of DRIT++ against the authors' code (tests/golden/README.md)."""

import pytest
import torch
from golden_steps import ADAM, assert_final_weights, draw_from, load_weights, training_step_of

from cut.methods.drit import DRIT, DRITConfig
from cut.train.step import only_trainable

PX, CONTENT_PX = 216, 54
GENERATOR_NAMES = {"gan": "gan", "gan_content": "gan_content", "kl_content": "content_prior"}
GENERATOR_NAMES |= {"kl_attribute": "attribute_prior", "cross_cycle": "cycle", "self": "self"}


class Networks:
    channels, image_px = {"a": 3, "b": 3}, PX


def method_of(expected, injection, **config):
    networks = {"generator": {"base_channels": 2, "attribute_dim": 4, "injection": injection}}
    networks |= {"discriminator": {"base_channels": 2, "num_scales": 2}}
    config = DRITConfig(content_discriminator_steps=2, **networks, **config)
    method = DRIT.build(config, Networks).to(torch.get_default_dtype())
    load_weights(method, expected["weights"])
    return method


def enlarged(numbers, side):
    """Every pixel of a map repeated until it is `side` wide; vectors stay as they are."""
    numbers = numbers.to(torch.get_default_dtype())
    if numbers.dim() < 4:
        return numbers
    factor = side // numbers.shape[-1]
    return numbers.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def batch_of(expected, number):
    """Both batches of a step, one behind the other: the first is for the content discriminator alone."""
    inputs = {key: enlarged(images[number], PX) for key, images in expected["inputs"].items()}
    return {f"real_{d}": torch.cat([inputs[f"content_only_{d}"], inputs[f"real_{d}"]]) for d in "ab"}


def draws_of(expected, number):
    return [enlarged(numbers, CONTENT_PX) for numbers in expected["draws"][number]]


def named_as_theirs(first, discriminator, second, generator, random):
    """Losses of a step by the authors' names."""
    found = {
        f"content_discriminator/{name}": sum(terms.values()) for name, terms in (("first", first), ("second", second))
    }
    for d in "ab":
        for theirs, ours in ((f"discriminator_{d}", "gan"), (f"discriminator_{d}2", "gan_random")):
            found[theirs] = discriminator[f"{ours}_real_{d}"] + discriminator[f"{ours}_fake_{d}"]
        found |= {f"generator/{theirs}_{d}": generator[f"{ours}_{d}"] for theirs, ours in GENERATOR_NAMES.items()}
        found |= {
            f"generator_random/{theirs}_{d}": random[f"{ours}_{d}"]
            for theirs, ours in (("gan", "gan_random"), ("latent", "latent"))
        }
    modes = {f"generator_random/mode_seeking_{way}": random[f"mode_seeking_{way[1]}"] for way in ("ab", "ba")}
    return found | modes | {"generator/sum": sum(generator.values())}


def compare(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, theirs in expected.items():
        assert float(found[name]) == pytest.approx(float(theirs), rel=tolerance, abs=tolerance), name


def test_steps_equal_the_authors(golden, double, monkeypatch):
    """Theirs with the translations of L2 computed again, as ours."""
    expected = golden("drit_steps")["concat"]
    method = method_of(expected, "concat")
    step = training_step_of(method)
    for number in range(2):
        none_left = draw_from(monkeypatch, draws_of(expected, number))
        terms, _ = step(batch_of(expected, number), number)
        none_left()
        compare(named_as_theirs(*terms), {k: v[number] for k, v in expected["losses"].items()}, 1e-9)
    assert_final_weights(method, expected["final"])


def test_first_step_equals_the_authors_in_float32(golden, monkeypatch):
    expected = golden("drit_steps")["concat"]
    draw_from(monkeypatch, draws_of(expected, 0))
    terms, _ = training_step_of(method_of(expected, "concat"))(batch_of(expected, 0), 0)
    compare(named_as_theirs(*terms), expected["losses_float32"], 1e-5)


def test_feature_wise_attributes_equal_the_authors_step_for_step(golden, double, monkeypatch):
    """The authors' very run, in which L2 goes backward through translations from before L1's update."""
    expected = golden("drit_steps")["feature"]
    method = method_of(expected, "feature")
    trainer = AsTorch04(method)
    for number in range(2):
        none_left = draw_from(monkeypatch, draws_of(expected, number))
        terms = trainer.step(batch_of(expected, number))
        none_left()
        compare(named_as_theirs(*terms), {k: v[number] for k, v in expected["losses"].items()}, 1e-9)
    assert_final_weights(method, expected["final"])


class AsTorch04:
    """Trains with weights that change behind autograd's back: graphs from before keep their old activations."""

    def __init__(self, method):
        self.method = method
        self.aliases = {p: p.data for p in method.parameters()}
        own = {}
        for player in method.players():
            own.setdefault(player.name, {}).update({p: player for n in player.networks for p in n.parameters()})
        self.optimizers = {
            name: torch.optim.Adam(
                [self.aliases[p] for p in parameters],
                ADAM.lr * next(iter(parameters.values())).lr_factor,
                ADAM.betas,
                weight_decay=ADAM.weight_decay,
            )
            for name, parameters in own.items()
        }

    def step(self, batch):
        method, logged = self.method, []
        t = method.translate(batch)
        random = method._random_translations(t.content, t.drawn)
        encoded = {d: method.encode_style(images[0], d) for d, images in random.items()}
        for player in method.players():
            for p, alias in self.aliases.items():
                p.grad = alias.grad = None
            with only_trainable(method, player.networks):
                if player.terms == method.random_terms:
                    method.encode_style = lambda image, domain: encoded[domain]
                    terms = method.terms_of_random(t, random)
                    del method.encode_style
                else:
                    terms = player.terms(t)
                sum(terms.values()).backward(retain_graph=True)
            if player.clip_norm:
                own = [p for network in player.networks for p in network.parameters()]
                torch.nn.utils.clip_grad_norm_(own, player.clip_norm)
            for p, alias in self.aliases.items():
                alias.grad = p.grad
            self.optimizers[player.name].step()
            logged.append({name: term.detach() for name, term in terms.items()})
        return logged
