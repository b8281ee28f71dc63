"""WCT2 against the authors' numbers."""

import pytest
import torch
from fixed import fill_by_key

from cut.methods.stylizer import no_report
from cut.methods.wct2 import WCT2, WCT2Config
from cut.models.vgg import CAFFE, he_uniform
from cut.models.wct2 import WaveletDecoder, WaveletEncoder, haar, spread


@pytest.fixture(scope="module", params=["cat5", "sum"])
def networks(request):
    encoder, decoder = (fill_by_key(network(request.param), 0.618) for network in (WaveletEncoder, WaveletDecoder))
    return request.param, encoder, decoder


def pictures(golden):
    numbers = golden("wct2_transfer")
    return numbers["content_u8"] / 255, numbers["style_u8"] / 255


def test_wavelets_and_their_inverse(golden):
    numbers = golden("wct2_haar")
    parts = haar(numbers["input"])
    for part, name in zip(parts, ("LL", "LH", "HL", "HH"), strict=True):
        torch.testing.assert_close(part, numbers[name])
    enlarged = spread(parts)
    torch.testing.assert_close(torch.stack(enlarged).sum(0), numbers["unpool_sum"])
    torch.testing.assert_close(torch.cat([*enlarged, numbers["original"]], dim=1), numbers["unpool_cat5"])
    torch.testing.assert_close(numbers["unpool_sum"], numbers["input"])


def test_keys_and_sizes_are_those_of_the_public_files(golden, networks):
    unpooling, *both = networks
    for network, name in zip(both, ("encoder", "decoder"), strict=True):
        theirs = golden("wct2_transfer")[unpooling][f"{name}_keys_and_sizes"]
        expected = {key: tuple(size.tolist()) for key, size in theirs.items() if key.startswith("conv")}
        assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == expected


def test_features_reconstruction_and_every_set_of_places(golden, networks):
    unpooling, encoder, decoder = networks
    content, style = pictures(golden)
    numbers = golden("wct2_transfer")[unpooling]
    with torch.no_grad():
        features, details = encoder(content)
        for level, values in enumerate(features, start=1):
            expected = numbers["features"][f"encoder_mean_{level}"]
            assert (values.mean((2, 3)) - expected).abs().max() < 2e-6 * values.abs().max()
        made = decoder(features[-1], details)
        assert (made - numbers["reconstruction"]).norm() < 2e-6 * made.norm()
        for name in ("encoder+skip+decoder", "encoder+skip+decoder@0.5", "encoder+skip", "encoder", "skip", "decoder"):
            places, _, alpha = name.partition("@")
            settings = {"transfer_at": places.split("+"), "alpha": float(alpha or 1)}
            config = WCT2Config(vgg="random", unpooling=unpooling, **settings)
            made = WCT2(config, encoder, decoder).transfer(content, style)
            assert (made - numbers[name]).norm() < 2e-6 * made.norm(), name


def test_pictures_of_any_size_are_scaled_to_the_wavelets():
    config = WCT2Config(vgg="random", base_channels=2, image_px=32)
    method = WCT2(config, he_uniform(WaveletEncoder("cat5", 2)), he_uniform(WaveletDecoder("cat5", 2)))
    photo, painting = torch.rand(1, 3, 50, 70), torch.rand(1, 3, 41, 33)
    assert method.working_size(50, 70) == (32, 48)
    seen = []
    assert method.stylize(photo, painting, torch.Generator(), seen.append).shape == (1, 3, 32, 48)
    assert [(progress.step, progress.total) for progress in seen] == [(1, 1)]
    made = method(photo * 2 - 1, painting * 2 - 1)
    assert made.shape == photo.shape and -1 <= made.min() and made.max() <= 1
    still = WCT2(config.model_copy(update={"alpha": 0.0}), method.encoder, method.decoder)
    with torch.no_grad():
        x = torch.rand(1, 3, 32, 48)
        features, details = method.encoder(x)
        torch.testing.assert_close(still.transfer(x, painting[..., :40, :32]), method.decoder(features[-1], details))
    assert no_report is not None


def test_conv0_prepares_pictures_as_vgg_wants_them():
    encoder = WaveletEncoder("cat5", 2)
    encoder.set_preparation(CAFFE)
    picture = torch.rand(1, 3, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(encoder.conv0(picture), CAFFE.prepare(picture), rtol=1e-5, atol=1e-3)
