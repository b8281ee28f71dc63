"""GcGAN against the authors' code (tests/golden/README.md), and what its options change."""

import pytest
import torch
from golden_steps import assert_final_weights, load_weights, training_step_of

from cut.build import read_config
from cut.config import AdamConfig
from cut.errors import UserError
from cut.methods.gcgan import GEOMETRIES, GcGAN, GcGANConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator


class Networks:
    """Of the size in the golden file."""

    @staticmethod
    def generator():
        return ResnetGenerator(base_channels=4, num_blocks=2, antialias_down=False, antialias_up=False)

    @staticmethod
    def discriminator():
        return PatchDiscriminator(base_channels=3, antialias=False)


def method_of(expected, **config):
    method = GcGAN.build(GcGANConfig(**config), Networks).to(torch.get_default_dtype())
    load_weights(method, expected["weights"])
    return method


def batch_of(expected, number):
    return {key: images[number].to(torch.get_default_dtype()) for key, images in expected["inputs"].items()}


def run(expected, num_steps):
    """The method after the steps, and each step's losses by the authors' names."""
    method, found = method_of(expected), []
    step = training_step_of(method, AdamConfig(lr=2e-4))
    for number in range(num_steps):
        (generator, discriminator), _ = step(batch_of(expected, number), number)
        generator["gc"] = 2 * generator["gc"]  # logged in either frame by the authors, of one's gradient
        discriminator["sum"] = sum(discriminator.values())
        players = {"generator": generator, "discriminator": discriminator}
        found.append({f"{player}/{name}": float(v) for player, terms in players.items() for name, v in terms.items()})
    return method, found


def test_steps_equal_the_authors(golden, double):
    expected = golden("gcgan_steps")["rotation"]
    method, found = run(expected, 2)
    for number, losses in enumerate(found):
        assert losses == pytest.approx({k: float(v[number]) for k, v in expected["losses"].items()}, abs=1e-9)
    assert_final_weights(method, expected["final"])


def test_first_step_equals_the_authors_in_float32(golden):
    expected = golden("gcgan_steps")["rotation"]
    _, (losses,) = run(expected, 1)
    assert losses == pytest.approx({k: float(v[0]) for k, v in expected["losses_float32"].items()}, rel=1e-5)


def test_geometry_equals_the_authors(golden):
    expected = golden("gcgan_steps")["geometry"]
    rotate, rotate_back = GEOMETRIES["rotation"]
    flip, flip_back = GEOMETRIES["vertical_flip"]
    image = expected["input"]
    assert torch.equal(rotate(image), expected["rot"]) and torch.equal(rotate_back(image), expected["rot_back"])
    assert torch.equal(flip(image), expected["vflip"]) and torch.equal(flip_back(flip(image)), image)


def losses_and_gradients(method, batch):
    player = method.players()[0]
    terms = player.terms(method.translate(batch))
    parameters = [p for network in player.networks for p in network.parameters()]
    gradients = torch.autograd.grad(sum(terms.values()), parameters)
    return {name: float(value.detach()) for name, value in terms.items()}, gradients


def test_separate_generators_of_equal_weights_share_the_gradient_of_a_shared_one(golden, double):
    expected = golden("gcgan_steps")["rotation"]
    batch, shared = batch_of(expected, 0), method_of(expected)
    separate = method_of(expected, generators="separate")
    separate.generator_gc.load_state_dict(separate.generator.state_dict())
    assert shared.generator_gc is None and separate.inference_networks().keys() == {"generator"}
    (terms, whole), (others, parts) = (losses_and_gradients(method, batch) for method in (shared, separate))
    assert others == pytest.approx(terms, rel=1e-12)
    half = len(parts) // 2
    for gradient, plain, changed in zip(whole, parts[:half], parts[half:], strict=True):
        torch.testing.assert_close(plain + changed, gradient, rtol=1e-9, atol=1e-11)


def test_vertical_flip_translates_upside_down_images(golden, double):
    expected = golden("gcgan_steps")["rotation"]
    method, batch = method_of(expected, geometry="vertical_flip"), batch_of(expected, 0)
    images = {key: image[:, :, :48] for key, image in batch.items()}  # of any shape
    with torch.no_grad():
        t = method.translate(images)
        terms = method.generator_terms(t)
    torch.testing.assert_close(t.fake_gc_b, method.generator(images["real_a"].flip(2)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(t.idt_gc_b, method.generator(images["real_b"].flip(2)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(terms["gc"], 20 * (t.fake_gc_b.flip(2) - t.fake_b).abs().mean())
    torch.testing.assert_close(terms["idt_gc"], 5 * (t.idt_gc_b - images["real_b"].flip(2)).abs().mean())


def test_sizes_that_differ_and_no_identity_go_through_one_by_one(golden, double):
    expected = golden("gcgan_steps")["rotation"]
    batch = batch_of(expected, 0)
    batch["real_b"] = batch["real_b"][:, :, :48]
    method = method_of(expected, geometry="vertical_flip")
    assert "idt" in method.generator_terms(method.translate(batch))
    without = method_of(expected, geometry="vertical_flip", lambda_identity=0)
    terms, plain = (m.generator_terms(m.translate(batch)) for m in (method, without))
    assert plain.keys() == {"gan", "gan_gc", "gc"}
    assert all(float(plain[name].detach()) == pytest.approx(float(terms[name].detach())) for name in plain)


def test_the_sheet_shows_the_way_by_the_changed_image(golden):
    expected = golden("gcgan_steps")["rotation"]
    method, image = method_of(expected), batch_of(expected, 0)["real_a"][:, :, :48]
    with torch.no_grad():
        images = method.visuals({"real_a": image})
        assert torch.equal(images["translation"], method(image))
        column = images["changed back"]
        assert torch.equal(column, method(image.rot90(-1, (2, 3))).rot90(1, (2, 3)))


@pytest.mark.parametrize("preprocess", ["none", "scale_width"])
def test_rotation_refuses_pictures_that_are_not_square(preprocess, tmp_path):
    path = tmp_path / "gcgan.yaml"
    path.write_text(f"method: {{name: gcgan}}\ndata: {{name: unpaired, root: x, preprocess: {preprocess}}}")
    with pytest.raises(
        UserError, match=f"data.preprocess: {preprocess} leaves .*method.geometry=vertical_flip"
    ) as error:
        read_config(path)
    assert "\n" not in str(error.value)
    assert read_config(path, ["method.geometry=vertical_flip"]).data.preprocess == preprocess


def test_domains_of_other_channels_need_no_identity_loss():
    networks = ResnetGenerator(3, 1, 2, 4), None, PatchDiscriminator(1, 2, 2), PatchDiscriminator(1, 2, 2)
    with pytest.raises(ValueError, match="lambda_identity must be 0"):
        GcGAN(GcGANConfig(), *networks)
    assert GcGAN(GcGANConfig(lambda_identity=0), *networks).generator is networks[0]
