"""DistanceGAN and SelfDistance against the authors' code (tests/golden/README.md), and what their options change."""

import pytest
import torch
from golden_steps import assert_final_weights, load_weights, training_step_of

from cut.build import build_trainer, read_config
from cut.config import AdamConfig
from cut.errors import UserError
from cut.methods.distancegan import DistanceGAN, DistanceGANConfig, distances_of_pairs
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator
from cut.train.run_dir import open_run

STATISTICS = {"mean": "expectation", "deviation": "std"}  # their names


class Networks:
    """Of the size in the golden file, as the authors build them."""

    @staticmethod
    def generator():
        settings = {"norm": "instance_affine", "padding": "zero"}
        return ResnetGenerator(base_channels=3, num_blocks=2, antialias_down=False, antialias_up=False, **settings)

    @staticmethod
    def discriminator():
        return PatchDiscriminator(base_channels=3, norm="instance_affine", antialias=False)


def method_of(expected, **config):
    method = DistanceGAN.build(DistanceGANConfig(**config), Networks).to(torch.get_default_dtype())
    load_weights(method, expected["weights"])
    for name, value in expected["statistics"].items():
        getattr(method, name).fill_(value)
    return method


def batch_of(expected, number):
    return {key: images[number].to(torch.get_default_dtype()) for key, images in expected["inputs"].items()}


def run(expected, num_steps, distance):
    """The method after the steps, and each step's losses by the authors' names."""
    method, found = method_of(expected, distance=distance), []
    step = training_step_of(method, AdamConfig(lr=2e-4))
    for number in range(num_steps):
        terms, _ = step(batch_of(expected, number), number)
        players = zip(("generator", "discriminator"), terms, strict=True)
        found.append({f"{player}/{name}": float(value) for player, own in players for name, value in own.items()})
    return method, found


@pytest.mark.parametrize("distance, num_steps", [("pairs", 2), ("halves", 1)])
def test_steps_equal_the_authors(distance, num_steps, golden, double):
    expected = golden("distancegan_steps")[distance]
    method, found = run(expected, num_steps, distance)
    for number, losses in enumerate(found):
        assert losses == pytest.approx({k: float(v[number]) for k, v in expected["losses"].items()}, abs=1e-9)
    if "final" in expected:
        assert_final_weights(method, expected["final"])


@pytest.mark.parametrize("distance", ["pairs", "halves"])
def test_first_step_equals_the_authors_in_float32(distance, golden):
    expected = golden("distancegan_steps")[distance]
    _, (losses,) = run(expected, 1, distance)
    # Absolute, because the distance loss is a small difference of larger numbers.
    assert losses == pytest.approx({k: float(v[0]) for k, v in expected["losses_float32"].items()}, abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("distance, theirs", [("pairs", "distance"), ("halves", "self_distance")])
def test_statistics_equal_the_authors(distance, theirs, batch_size, golden):
    expected = golden("distancegan_steps")["statistics"]
    method = DistanceGAN.build(DistanceGANConfig(distance=distance), Networks)
    images = {domain: values.float().split(batch_size) for domain, values in expected["inputs"].items()}
    with torch.no_grad():
        method.observe(dict(zip(images, rows, strict=True)) for rows in zip(*images.values(), strict=True))
    for name, their_name in STATISTICS.items():
        for domain in "ab":
            value = getattr(method, f"{name}_{domain}")
            assert value.dtype == torch.float64
            wanted = expected[f"{theirs}_batch{batch_size}"][f"{their_name}_{domain.upper()}"]
            assert float(value) == pytest.approx(float(wanted), abs=1e-6), (name, domain)  # theirs are float32 sums


def test_distances_of_pairs_are_those_of_each_pair_whatever_their_length(monkeypatch):
    from cut.methods import distancegan

    monkeypatch.setattr(distancegan, "_CHUNK", 7)
    vectors = torch.rand(4, 20).half()
    found = distances_of_pairs(list(vectors), torch.device("cpu"))
    wanted = [(vectors[i].double() - vectors[j].double()).abs().mean() for i in range(4) for j in range(i + 1, 4)]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-6, atol=0)


@pytest.mark.parametrize("distance", ["pairs", "halves"])
def test_pictures_whose_distances_do_not_vary_are_refused(distance):
    method = DistanceGAN.build(DistanceGANConfig(distance=distance), Networks)
    batch = {"real_a": torch.zeros(2, 3, 8, 8), "real_b": torch.zeros(2, 3, 8, 8)}
    for batches in ([batch], [batch] * 3):
        with pytest.raises(UserError, match=r"method.normalise: the \d distances .* domain a .* do not vary"):
            method.observe(batches)


def test_three_images_make_three_pairs(golden, double):
    expected = golden("distancegan_steps")["pairs"]
    method = method_of(expected)
    real = torch.cat([batch_of(expected, number)["real_a"] for number in (0, 1)])[:3]
    fake = method.generator(real)
    s = {key: float(value) for key, value in expected["statistics"].items()}

    def distance(images, i, j, domain):
        return ((images[i] - images[j]).abs().mean() - s[f"mean_{domain}"]) / s[f"deviation_{domain}"]

    pairs = [(0, 1), (0, 2), (1, 2)]
    wanted = sum((distance(real, i, j, "a") - distance(fake, i, j, "b")).abs() for i, j in pairs) / 3
    loss = method._loss_of_pairs(real, fake)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    weight = method.generator.layers[1].weight
    gradients = [torch.autograd.grad(value, weight, retain_graph=True)[0] for value in (loss, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def tiny_yaml(folder, root, **method):
    path = folder / "distancegan.yaml"
    settings = ", ".join(f"{key}: {value}" for key, value in {"name": "distancegan", **method}.items())
    path.write_text(f"""
method: {{{settings}}}
generator: {{base_channels: 2, num_blocks: 2}}
discriminator: {{base_channels: 2, num_layers: 1, receptive_field_px: null}}
data: {{name: unpaired, root: {root}, load_px: 36, crop_px: 32, batch_size: 2, num_workers: 0}}
schedule: {{name: constant, total_steps: 4}}
train: {{accelerator: cpu, tensorboard: false, checkpoint_every_steps: 2}}
""")
    return path


def test_statistics_are_measured_before_the_first_step_saved_and_never_again(unpaired, tmp_path, monkeypatch):
    seen = []
    observe = DistanceGAN.observe

    def count(self, batches):
        batches = list(batches)
        seen.append(len(batches))
        observe(self, batches)

    monkeypatch.setattr(DistanceGAN, "observe", count)
    config = read_config(tiny_yaml(tmp_path, unpaired, distance="halves"))
    first = build_trainer(config)
    open_run(first, tmp_path / "run", resume=False)
    first.last_step = 2
    first.fit(tmp_path / "run")
    second = build_trainer(config)
    open_run(second, tmp_path / "run", resume=False)
    second.fit(tmp_path / "run")
    assert seen == [2]  # four pictures, two to a batch
    for name in ("mean_a", "mean_b", "deviation_a", "deviation_b"):
        values = [getattr(trainer.method, name) for trainer in (first, second)]
        assert torch.equal(*values) and float(values[0]) not in (0.0, 1.0)


def test_distances_as_they_are_need_no_statistics(unpaired, tmp_path):
    trainer = build_trainer(read_config(tiny_yaml(tmp_path, unpaired, normalise="false")))
    assert trainer.method.observes_batches == 0
    batch = next(trainer.batches(1))
    (real, fake) = batch["real_a"], trainer.method(batch["real_a"])
    wanted = ((real[0] - real[1]).abs().mean() - (fake[0] - fake[1]).abs().mean()).abs()
    torch.testing.assert_close(trainer.method.generator_terms(trainer.method.translate(batch))["distance"], wanted)


def test_pairs_of_one_image_are_refused_and_halves_are_not(unpaired, tmp_path):
    path = tiny_yaml(tmp_path, unpaired)
    with pytest.raises(UserError, match="data.batch_size: must be at least 2.*method.distance=halves") as error:
        read_config(path, ["data.batch_size=1"])
    assert "\n" not in str(error.value)
    assert read_config(path, ["data.batch_size=1", "method.distance=halves"]).data.batch_size == 1


@pytest.mark.parametrize("distance, reason", [("pairs", "compares all images"), ("halves", "averages distances")])
def test_micro_batches_are_refused_with_the_reason(distance, reason, unpaired, tmp_path):
    path = tiny_yaml(tmp_path, unpaired, distance=distance)
    with pytest.raises(UserError, match=f"train.num_micro_batches: must be 1 .*{reason}"):
        build_trainer(read_config(path, ["train.num_micro_batches=2"]))


def test_statistics_stay_on_the_cpu_because_apples_gpus_have_no_float64(unpaired, tmp_path):
    method = build_trainer(read_config(tiny_yaml(tmp_path, unpaired))).method

    def as_apple(tensor):
        assert tensor.dtype != torch.float64
        return tensor.to("meta")

    method._apply(as_apple)
    assert {parameter.device.type for parameter in method.parameters()} == {"meta"}
    assert method.mean_a.device.type == "cpu" and method.mean_a.dtype == torch.float64
    assert {"mean_a", "mean_b", "deviation_a", "deviation_b"} <= method.state_dict().keys()
    assert method._difference(torch.ones(()), torch.ones((), device="meta")).device.type == "meta"
