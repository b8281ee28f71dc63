import pytest
import torch

from cut.build import estimate_memory, read_config
from cut.train.estimate import _ALWAYS_BYTES

_SMALL = ["generator.base_channels=4", "generator.num_blocks=2", "discriminator.base_channels=4"]


def _estimate(*overrides, config="configs/horse2zebra_cut.yaml", **kwargs):
    return estimate_memory(read_config(config, [*_SMALL, *overrides]), **kwargs)


def test_images_count_in_proportion_to_number_and_area():
    one, two, four = (_estimate(f"data.batch_size={n}") for n in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=1e-6)
    small = _estimate("data.crop_px=128", "data.batch_size=2") - _estimate("data.crop_px=128")
    assert two - one == pytest.approx(4 * small, rel=1e-6)


def test_a_share_of_the_batch_counts_as_its_images():
    assert _estimate("data.batch_size=4", "train.num_micro_batches=2") == _estimate("data.batch_size=2")
    assert _estimate("data.batch_size=4", num_processes=4) == _estimate("data.batch_size=1")


def test_what_saves_memory_lowers_it():
    plain = _estimate()
    assert _estimate("train.precision=bf16-mixed") < plain
    assert _estimate("train.checkpoint_activations=true") < plain


def test_weights_count_four_times():
    config = read_config("configs/horse2zebra_cut.yaml", ["data.crop_px=8", "generator.num_blocks=2"])
    # At 8 px the discriminator has nothing left to judge: no estimate at all.
    assert estimate_memory(config) is None
    small, large = (_estimate(f"method.head_channels={width}") for width in (64, 256))
    assert large - small > 4 * 4 * (256**2 - 64**2) * 5 - 1  # weights of five layers of the head, of four bytes
    assert small > _ALWAYS_BYTES


def test_random_streams_stay_as_they_are():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _estimate()
    assert torch.equal(before, torch.get_rng_state())


def test_copies_of_weights_do_not_grow_with_the_images():
    """In half precision they are kept for the backward pass, as activations are."""
    config = "configs/mnist_dcgan.yaml"
    assert _plain("train.precision=bf16-mixed", config=config) < 1.5 * _plain(config=config)


def _plain(*overrides, config):
    return estimate_memory(read_config(config, overrides))


def test_pictures_of_any_size_and_faulty_methods_have_none(monkeypatch):
    assert _estimate("data.preprocess=none") is None

    def faulty(*args):
        raise IndexError

    monkeypatch.setattr("cut.build.estimate_bytes", faulty)
    assert _estimate() is None
