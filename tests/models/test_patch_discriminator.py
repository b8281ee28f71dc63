"""The discriminators' receptive fields, measured: which input pixels change one score."""

import pytest
import torch

from cut.build import read_config
from cut.networks import ConfiguredNetworks


@pytest.mark.parametrize("px", [1, 16, 34, 70, 142, 286])
def test_receptive_field_is_what_its_name_says(px, tmp_path):
    (tmp_path / "a.yaml").write_text("method: {name: cut}\ndata: {root: nowhere}\n")
    section = f"discriminator={{name: patch, receptive_field_px: {px}, antialias: false, norm: none, base_channels: 1}}"
    network = ConfiguredNetworks(read_config(tmp_path / "a.yaml", [section])).discriminator()
    for parameter in network.parameters():  # nothing cancels
        torch.nn.init.constant_(parameter, 0.5)
    image = torch.ones(1, 3, 321, 321, dtype=torch.double, requires_grad=True)
    scores = network.double()(image)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    for axis in (0, 1):
        seen = image.grad[0, 0].any(axis).nonzero().flatten()
        assert seen[-1] - seen[0] + 1 == px
