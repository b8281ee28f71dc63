"""What the golden steps of UNSB do not show: networks that know the step, and several passes at test time."""

import json

import numpy as np
import pytest
import torch
from fixed import fill_by_formula, formula_image
from PIL import Image
from programs import inside, saved_run, told

import cut
from cut.build import build_method, read_config
from cut.config.load import parse_config
from cut.errors import UserError
from cut.inference.graph import TranslationGraph
from cut.methods import method_config
from cut.models.unsb import BridgeDiscriminator, BridgeGenerator

SMALL = {
    "generator": {"base_channels": 2, "num_blocks": 1, "noise_layers": 1},
    "discriminator": {"base_channels": 2, "num_layers": 1},
    "nce_layers": [0, 4, 8, 12],
    "num_patches": 16,
    "head_channels": 8,
}


def new(**settings):
    """A method with the weights that a new run has."""
    torch.manual_seed(0)
    values = {"method": {"name": "unsb", **SMALL, **settings}, "data": {"root": "x"}}
    return build_method(parse_config(values, method_config, "test"))


def built(**settings):
    """A method whose weights make noise and time count, set for inference."""
    method = new(**settings)
    fill_by_formula(method.generator)
    return method.prepare_inference()


def terms_of(step=2, count=2, **settings):
    """The generator's and the critic's terms on `count` images of each kind, with the bridge at a step."""
    method = built(**settings)
    images = formula_image(3 * count, 3, 16)
    torch.manual_seed(0)
    translated = method.translate({"real_a": images[: 2 * count], "real_b": images[2 * count :].repeat(2, 1, 1, 1)})
    translated.step = step
    found = method.generator_terms(translated) | method.critic_terms(translated)
    return {name: value.item() for name, value in found.items()}, method, translated


def test_conditioned_networks_know_the_step_and_the_released_generator_does_not():
    image, noise = formula_image(1, 3, 16), torch.linspace(-1, 1, 8)[None]
    for is_released in (False, True):
        generator = fill_by_formula(BridgeGenerator(3, 2, 1, 1, is_released))
        outputs = [generator(image, step, noise) for step in (0, 4)]
        assert torch.equal(*outputs) == is_released
        assert not torch.equal(generator(image, 0, noise), generator(image, 0, noise.flip(1)))
        judge = fill_by_formula(BridgeDiscriminator(3, 2, 1, is_released))
        judge.shifts[0].weight.data.zero_()  # the first layer, which knows it in both
        assert torch.equal(judge(image, 0), judge(image, 4)) == is_released


@pytest.mark.parametrize("norm", ["instance", "blocks"])
def test_an_images_own_colours_reach_the_translation_where_the_norm_is_inside_the_blocks_alone(norm):
    method = new(generator={**SMALL["generator"], "norm": norm, "init": "kaiming"}).prepare_inference(
        deterministic=True
    )
    image = formula_image(1, 3, 16)
    difference = (method(image, num_passes=1) - method(0.5 * image + 0.2, num_passes=1)).abs().max().item()
    assert difference < 1e-3 if norm == "instance" else difference > 0.05
    assert method.state_dict().keys() == new().state_dict().keys()


def test_the_generator_takes_the_settings_of_the_other_resnets():
    resampled = built(generator=SMALL["generator"] | {"antialias_down": False, "antialias_up": False}).generator
    kinds = [type(layer).__name__ for layer in resampled.layers]
    assert kinds.count("ConvTranspose2d") == 2 and not any("Blur" in kind for kind in kinds)
    given = {**SMALL["generator"], "base_channels": 16, "init": "kaiming"}
    weights = [new(generator={**given, "init_last": factor}).generator.state_dict() for factor in (1.0, 0.2)]
    last = f"layers.{len(resampled.layers) + 4 - 2}.weight"  # four blurs more, and the last is the tanh
    for key, weight in weights[0].items():
        torch.testing.assert_close(weights[1][key], weight * (0.2 if key == last else 1.0), msg=key)
    blocks = [key.removesuffix(".style.weight") for key in weights[0] if key.endswith(".style.weight")]
    assert weights[0][f"{blocks[0]}.second.1.weight"].std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    assert weights[0][f"{blocks[0]}.style.weight"].std().item() == pytest.approx(0.02 * (2 / 192) ** 0.5, rel=0.05)


def test_terms_are_proportional_to_their_weights():
    once, _, _ = terms_of()
    other, _, _ = terms_of(lambda_gan=3.0, lambda_nce=5.0, lambda_sb=7.0)
    factors = {"gan": 3, "nce": 5, "nce_idt": 5, "way": 7, "entropy": 7, "energy": 1, "normaliser": 1, "square": 1}
    assert other == pytest.approx({name: factors[name] * once[name] for name in factors}, rel=1e-4)
    identity, _, t = terms_of(lambda_identity=5.0)
    assert identity == pytest.approx({**once, "identity": 5.0 * (t.idt_b - t.real_b).abs().mean().item()}, rel=1e-4)
    assert terms_of(lambda_sb=0.0, lambda_nce=0.0)[0].keys() == {"gan", "energy", "normaliser", "square"}


def test_the_entropy_counts_less_the_further_the_bridge_is_and_the_critic_works_on_single_images():
    terms, method, t = terms_of(step=3)
    pair, other = torch.cat([t.start, t.fake_b], 1), torch.cat([t.other_start, t.other_fake], 1)
    with torch.no_grad():
        same = torch.stack([method.critic(torch.cat([p, p])[None], 3).mean() for p in pair])
        crossed = [method.critic(torch.cat([p, q])[None], 3) for p, q in zip(pair, other, strict=True)]
    normalisers = torch.stack([scores.flatten().logsumexp(0) for scores in crossed])
    assert terms["square"] == pytest.approx(normalisers.square().mean().item(), rel=1e-4)
    expected = -0.01 * (1 - 3 / 5) * (same.mean() - normalisers.mean()).item()
    assert terms["entropy"] == pytest.approx(expected, rel=1e-4)


def test_each_pass_guesses_the_end_and_the_bridge_moves_towards_it():
    method, image = built(num_passes=3), formula_image(1, 3, 16)
    x = image
    torch.manual_seed(5)
    with torch.no_grad():
        for step, (share, deviation) in enumerate(method.moves[:2]):
            x = (1 - share) * x + share * method.generator(x, step, torch.randn(1, 8))
            x = x + deviation * torch.randn(x.shape)
        expected = method.generator(x, 2, torch.randn(1, 8))
        torch.manual_seed(5)
        assert torch.equal(method(image), expected)  # three are the default here
        torch.manual_seed(5)
        assert torch.equal(method(image, num_passes=3), expected)
        assert not torch.equal(method(image), expected) and method.goes_one_by_one
        method.prepare_inference(deterministic=True)
        assert torch.equal(method(image), method(image)) and not method.goes_one_by_one
        assert not torch.equal(method(image), method(image, num_passes=4))


@pytest.mark.parametrize(
    "settings, message",
    [
        (["method.num_passes=6"], "num_passes: must be at most num_timesteps .5., but is 6"),
        (["data.channels_b=1"], "unsb mixes pictures with their translations"),
        (["data.preprocess=scale_width"], "data.preprocess: scale_width leaves pictures of several sizes"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        build_method(read_config("configs/earth2map_unsb.yaml", settings))


def pictures(folder):
    return [np.asarray(Image.open(path)).astype(int) for path in sorted(folder.iterdir())]


def largest_difference(one, other):
    return max(abs(a - b).max() for a, b in zip(one, other, strict=True))


@pytest.fixture
def run(tmp_path, unpaired):
    """A run whose weights make noise and time count."""
    yaml = tmp_path / "unsb.yaml"
    data = {"root": str(unpaired), "load_px": 36, "crop_px": 32, "num_workers": 0}
    values = {"method": {"name": "unsb", **SMALL, "num_passes": 2}, "data": data, "start": None}
    yaml.write_text(str(values | {"train": {"accelerator": "cpu"}}).replace("None", "null"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("cut.methods.unsb.initialise_bridge", lambda network, *_: fill_by_formula(network))
        return saved_run(yaml, tmp_path / "run")


def test_passes_are_asked_for_on_the_command_line_and_in_python(run, unpaired, tmp_path):
    source = unpaired / "testA" / "0.png"

    def translated(name, *options):
        inside("test", "--run", run, "--input", source, "--output", tmp_path / name, *options)
        return pictures(tmp_path / name)

    two, five = translated("two"), translated("five", "--num-passes", 5)
    assert largest_difference(two, translated("two_again", "--num-passes", 2)) == 0
    assert largest_difference(two, five) > 3 and largest_difference(two, translated("other", "--seed", 1)) > 3
    assert largest_difference(five, translated("tiles", "--num-passes", 5, "--tile-px", 32)) <= 1
    mean = translated("mean", "--deterministic")
    assert largest_difference(mean, translated("mean_again", "--deterministic", "--seed", 1)) == 0
    model = cut.load(run, device="cpu")
    in_python = np.asarray(model(source, num_passes=5)).astype(int)
    assert largest_difference(five, [in_python]) == 0
    with pytest.raises(UserError, match="num_passes 6: must be from 1 to 5, the steps of this model"):
        model(source, num_passes=6)


def test_a_number_of_passes_that_a_model_has_not_is_refused(run, tiny_yaml, unpaired, tmp_path):
    asked = ["--input", unpaired / "testA", "--output", tmp_path / "out", "--num-passes"]
    assert "--num-passes 0: must be from 1 to 5" in told("test", "--run", run, *asked, 0)
    other = saved_run(tiny_yaml, tmp_path / "cut")
    assert "--num-passes: cut translates in one pass; leave it out" in told("test", "--run", other, *asked, 2)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_exported_graph_makes_its_passes_without_noise(run, tmp_path, capsys):
    inside("export", run, tmp_path / "three.ts", "--num-passes", 3)
    assert "noise is left out" in capsys.readouterr().err
    described = json.loads((tmp_path / "three.ts.json").read_text())
    assert described["num_passes"] == 3 and described["difference"]["largest"] < 1e-4
    assert described["inputs"][0]["shape"][0] == "batch"
    image, exact = formula_image(2, 3, 40), cut.load(run, device="cpu", deterministic=True)
    three = torch.jit.load(tmp_path / "three.ts")(image)
    torch.testing.assert_close(three, exact(image, num_passes=3), rtol=0, atol=1e-5)
    model = cut.load(run, device="cpu")
    assert model.method.goes_one_by_one  # with noise, of which the graph has none
    own = TranslationGraph(model.method, 3)(image)  # the run's two passes
    torch.testing.assert_close(own, exact(image), rtol=0, atol=1e-5)
    assert (three - own).abs().max() > 0.01
    with pytest.raises(UserError, match="num_passes 6: must be from 1 to 5"):
        model.export(tmp_path / "six.ts", num_passes=6)
