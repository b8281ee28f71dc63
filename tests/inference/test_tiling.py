import errno
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixed import fill_by_formula, fill_with_unit_normals
from torch import nn

from cut.data.transforms import to_picture, to_tensor
from cut.errors import UserError
from cut.inference.tiling import disk_map
from cut.inference.tiling import memory_check as memory
from cut.inference.tiling import tiled as run
from cut.inference.tiling.nodes import Moments, Node
from cut.inference.tiling.plan import disk_bytes, plan_passes, whole_bytes
from cut.inference.tiling.recorder import record
from cut.inference.tiling.tiled import translate_in_tiles
from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Generator
from cut.models.unet import UnetGenerator

CPU = torch.device("cpu")
GENERATORS = {
    "resnet": lambda: ResnetGenerator(base_channels=4, num_blocks=2),
    "resnet_strided": lambda: ResnetGenerator(base_channels=4, num_blocks=2, antialias_down=False, antialias_up=False),
    "resnet_batch": lambda: ResnetGenerator(base_channels=4, num_blocks=2, norm="batch"),
    "resnet_affine_zeros": lambda: ResnetGenerator(
        base_channels=4, num_blocks=2, norm="instance_affine", padding="zero"
    ),
    "resnet_no_norm": lambda: ResnetGenerator(base_channels=4, num_blocks=2, norm="none"),
    "resnet_affine_zero": lambda: ResnetGenerator(
        base_channels=4, num_blocks=2, norm="instance_affine", padding="zero"
    ),
    "unet": lambda: UnetGenerator(base_channels=4, image_px=32, norm="instance", dropout=0.0),
    "stylegan2": lambda: StyleGAN2Generator(base_channels=4, num_downsamplings=2, num_blocks=2),
}


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def _picture(height=96, width=128, channels=3):
    """A bright and a dark half, so that no tile has the statistics of the whole; 16 bits, to compare finely."""
    noise = np.random.default_rng(0).integers(0, 30000, (height, width, channels))
    return (noise + np.where(np.arange(width) < width // 2, 0, 35000)[None, :, None]).astype(np.uint16)


def _network(name):
    network = GENERATORS[name]().eval()
    return fill_with_unit_normals(network) or network if name == "stylegan2" else fill_by_formula(network)


def _tiled(forward, picture, tile_px, folder):
    """The translation in tiles, in units of the 16-bit range."""
    return translate_in_tiles(forward, picture, tile_px, CPU, folder, "x.png").astype(np.int64) / 65535.0


def _whole(forward, picture):
    return to_picture(forward(to_tensor(picture)[None])[0], np.uint16).astype(np.int64) / 65535.0


@pytest.mark.parametrize("tile_px", [32, 45])
@pytest.mark.parametrize("name", GENERATORS)
def test_tiles_give_what_the_whole_picture_gives(tmp_path, name, tile_px):
    network, picture = _network(name), _picture()
    whole = _whole(network, picture)
    assert whole.std() > 0.02
    assert np.abs(_tiled(network, picture, tile_px, tmp_path) - whole).max() < 4 / 65535  # the order of float32 sums
    assert not list(tmp_path.iterdir())


def test_plain_tiling_would_not_give_it():
    network, picture = _network("resnet"), _picture()
    tiles = [_whole(network, part) for part in np.split(picture, 4, axis=1)]
    assert np.abs(np.concatenate(tiles, axis=1) - _whole(network, picture)).max() > 0.1


def test_test_time_dropout_and_batch_statistics_are_those_of_the_whole(tmp_path):
    network = fill_by_formula(UnetGenerator(base_channels=4, image_px=64, norm="batch", dropout=0.5)).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False  # as pix2pix does at test time
    picture = _picture(128, 128)
    results = []
    for function in (lambda: _whole(network, picture), lambda: _tiled(network, picture, 32, tmp_path)):
        torch.manual_seed(3)
        results.append(function())
    torch.manual_seed(4)
    other = _tiled(network, picture, 32, tmp_path)
    assert np.abs(results[0] - results[1]).max() < 4 / 65535 < 0.01 < np.abs(results[0] - other).max()


def test_wide_picture_in_half_precision_is_that_of_the_whole_to_its_rounding(tmp_path):
    network, picture = _network("resnet"), _picture()
    exact = _whole(network, picture)
    with torch.autocast("cpu", torch.bfloat16):
        whole, tiled = _whole(network, picture), _tiled(network, picture, 32, tmp_path)
        assert disk_bytes(plan_passes(record(network, picture)[1])) == 2 * 4 * 96 * 128
    assert 0 < np.abs(tiled - exact).mean() <= 1.2 * np.abs(whole - exact).mean()


OPERATIONS = {
    "strided": lambda x: F.conv2d(x, _weight(5, 2, 4, 3), torch.ones(5), stride=(2, 3), padding=(1, 2)),
    "dilated": lambda x: F.conv2d(x, _weight(4, 1, 3, 3), None, 1, 2, 2, 2),
    "transposed": lambda x: F.conv_transpose2d(x, _weight(2, 5, 3, 3), torch.ones(5), 2, 1, 1),
    "transposed_with_gaps": lambda x: F.conv_transpose2d(x, _weight(2, 2, 2, 2), torch.ones(2), 3, 0, 2),
    "transposed_groups": lambda x: F.conv_transpose2d(x, _weight(2, 1, 4, 4), None, 2, 3, 0, 2),
    "reflected": lambda x: F.pad(x, (3, 1, 2, 5), mode="reflect"),
    "replicated": lambda x: F.pad(x, (0, 4, 3, 1), mode="replicate"),
    "constant": lambda x: F.pad(x, (1, 2, 3, 0), value=0.5),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
    "bilinear_by_3": lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"),
    "in_place": lambda x: _in_place(F.leaky_relu(x, 0.5)),
    "affine_norm": lambda x: F.batch_norm(x, None, None, torch.arange(1.0, 3.0), torch.ones(2), True),
    "plane": lambda x: 0.5 * x + torch.arange(17.0 * 23).view(1, 1, 17, 23) / 400 + torch.ones(2, 1, 1),
    "matrices": lambda x: _band(9, 17) @ (x @ _band(30, 23).t()),
    "joined": lambda x: torch.cat([x, torch.tanh(x), torch.sigmoid(x) - x], 1),
    "joined_to_a_plane": lambda x: torch.cat([x, torch.linspace(-1, 1, 23, device=x.device).expand(1, 1, 17, 23)], 1),
    "max_pooling": lambda x: F.max_pool2d(x, 3, 2, 1),
    "average_pooling": lambda x: F.avg_pool2d(x, (2, 3), padding=1),
    "nearest_to_a_size": lambda x: F.interpolate(x, size=(51, 69)),
    "other_activations": lambda x: F.prelu(F.silu(x) - F.gelu(x), torch.tensor([0.1, 0.3])).clamp(-0.1, 0.1) ** 2,
    "numbers_from_the_left": lambda x: 1 / (2 - x) + 2**x,
    "written_in_place": lambda x: x.clone().add_(x).mul_(0.5).clamp_(0.0, 0.3) + x,
    "other_types": lambda x: (x.double() / 3).to(torch.float32).type_as(x),
    "noise": lambda x: x + torch.randn_like(x) + torch.randn(1, 1, 17, 23).to(x),
    "group_norm": lambda x: F.group_norm(x, 1, torch.arange(1.0, 3.0), torch.ones(2)),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "adaptive_instance_norm": lambda x: _adaptive(x.contiguous().view(1, 2, *x.shape[2:]), torch.tensor([2.0, 3.0])),
    "instance_norm_by_hand": lambda x: (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), False, True),
    "layer_norm_by_hand": lambda x: (x - x.mean()) / (x.std(dim=(1, 2, 3), keepdim=True) + 1e-5),
    "squeeze_and_excitation": lambda x: x * _gate(F.adaptive_avg_pool2d(_adaptive(x, torch.ones(2)) + x, 1)),
}


def _weight(*shape):
    return torch.sin(torch.arange(float(np.prod(shape)))).view(shape)


def _in_place(x):
    return F.relu(x, inplace=True) + x  # twice the same, for the second x has changed too


def _adaptive(x, scale):
    """AdaIN as its authors have it, by batch norm of one image."""
    return F.batch_norm(x, torch.zeros(2), torch.ones(2), scale, -scale, training=True)


def _gate(pooled):
    first, second = F.linear(F.relu(pooled.flatten(1), inplace=True), _weight(4, 2)).chunk(2, 1)
    return torch.sigmoid(first + second)[:, :, None, None]


def _band(rows, columns):
    distance = torch.arange(columns) - torch.arange(rows)[:, None] * columns // rows
    return torch.where((distance >= -1) & (distance <= 2), 0.2 + 0.1 * distance, torch.zeros(()))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_each_operation_in_tiles_is_that_of_torch(tmp_path, monkeypatch, operation):
    monkeypatch.setattr(run, "to_written_picture", lambda tile, *_: tile.permute(1, 2, 0).numpy())
    picture = np.random.default_rng(0).integers(0, 256, (17, 23, 2), dtype=np.uint8)
    torch.manual_seed(0)
    want = operation(to_tensor(picture)[None])[0].permute(1, 2, 0)
    monkeypatch.setattr(run.np, "empty", lambda shape, dtype: np.full(shape, np.nan, np.float32))
    for tile_px in (1, 4, 7, 100):
        torch.manual_seed(0)
        got = translate_in_tiles(operation, picture, tile_px, CPU, tmp_path, "x")
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=2e-5)


def _map(channels, height, width):
    return Node((), channels, (height, width), torch.float32)


def test_merged_moments_are_numpys_of_the_whole():
    values = torch.from_numpy(np.random.default_rng(0).normal(1000.0, 1.0, (1, 2, 40, 50)).astype(np.float32))
    moments = Moments(_map(2, 40, 50))
    for part in (values[..., :3], values[..., 3:40], values[..., 40:]):
        moments.add(part)
    want = values.double().numpy()[0].reshape(2, -1)
    np.testing.assert_allclose(moments.mean, want.mean(1), rtol=1e-7)
    np.testing.assert_allclose(moments.variance, want.var(1), rtol=1e-4)


def test_moments_of_half_precision_are_float32():
    tile = torch.full((1, 1, 64, 64), 3.0).bfloat16()
    tile[..., 0] = 3.0 + 2**-6  # the next number of 8 bits; their mean is not
    moments = Moments(_map(1, 64, 64))
    moments.add(tile)
    assert moments.mean.item() == pytest.approx(3.0 + 2**-6 / 64, abs=1e-6)


def test_memory_and_disk_are_told_beforehand():
    """By hand: 8 maps of 4 bytes a pixel that are made from 8 others are the most; 2 maps of a quarter wait."""

    def forward(x):
        x = F.conv2d(x, torch.zeros(8, 3, 3, 3), padding=1)
        x = F.relu(x)
        x = F.conv2d(x, torch.zeros(8, 8, 2, 2), stride=2)  # a quarter of the pixels: a quarter of the largest map
        x = F.instance_norm(x)
        return F.conv2d(x, torch.zeros(3, 8, 1, 1))

    output = record(forward, _picture(16, 20))[1]
    assert whole_bytes(output) == 16 * 20 * 4 * (8 + 8)
    assert disk_bytes(plan_passes(output)) == 8 * 10 * 4 * 8


def test_picture_that_does_not_fit_into_memory_names_the_option(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL_PIXELS", 0)
    network, picture = _network("resnet"), _picture()
    need = whole_bytes(record(network, picture)[1])
    for free in (need - 1, None, need):
        monkeypatch.setattr(memory, "available_bytes", lambda device, free=free: free)
        if free == need - 1:
            with pytest.raises(UserError, match=r"x\.png: 128x96 px need at least .* --tile-px 1024$"):
                memory.check_memory(network, picture, 1, CPU, "x.png")
        else:
            memory.check_memory(network, picture, 1, CPU, "x.png")
    with pytest.raises(UserError, match="lower --batch-size, or cut"):
        memory.check_memory(network, picture, 2, CPU, "x.png")


def test_this_machines_memory_is_known_where_linux_tells_it():
    known = memory.available_bytes(CPU)
    if os.path.exists("/proc/meminfo"):
        assert 2**24 < known <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_full_disk_is_told_before_the_work_starts(tmp_path, monkeypatch):
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr(disk_map.os, "statvfs", lambda path: type("Stat", (), {"f_bavail": 7, "f_frsize": 1000}))
    with pytest.raises(UserError, match=r"x\.png: --tile-px needs 0\.0 GB on the disk of .* 0\.0 GB are free"):
        _tiled(_network("resnet"), _picture(), 32, tmp_path)
    monkeypatch.setattr(disk_map.os, "statvfs", lambda path: usage)

    def no_room(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk_map.os, "posix_fallocate", no_room, raising=False)
    with pytest.raises(UserError, match="cannot keep maps of the tiles there .No space left"):
        _tiled(_network("resnet"), _picture(), 32, tmp_path)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda x: x - torch.mean(x, 2, keepdim=True), "a statistic of rows"),
        (lambda x: x + x.cumsum(3), "calls cumsum"),
        (lambda x: F.rrelu(x, training=True), "calls rrelu"),
        (lambda x: x - x.max(), "calls max"),
        (lambda x: x if x.mean() > 0 else -x, "cannot be called on meta tensors"),
        (lambda x: F.conv2d(x, x.mean((0, 2, 3)).view(1, 3, 1, 1)), "conv2d by weights that the picture decides"),
        (lambda x: torch.zeros(x.shape).copy_(x), "writes what the picture decides .* by copy"),
        (lambda x: x.view(1, 3, -1), r"a map that becomes \(1, 3, 12288\)"),
        (lambda x: F.adaptive_avg_pool2d(x, 2), "adaptive pooling"),
        (lambda x: F.max_pool2d(x, 3, ceil_mode=True), "pooling with ceil_mode"),
        (lambda x: {"image": x, "attention": x}, "gives no single map but a dict"),
        (lambda x: torch.zeros(x.shape), "gives no single map but a Tensor"),
        (lambda x: torch.softmax(x, 1), "calls softmax"),
        (lambda x: x @ x, "attention"),
        (lambda x: x[:, :, ::2], "cannot be cut into tiles exactly"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), "padding 'circular'"),
        (lambda x: torch.cat([x, x], 2), "cat of places"),
        (lambda x: F.interpolate(x, scale_factor=1.5), "interpolation 'nearest' by 1.5"),
    ],
)
def test_generator_that_sees_the_whole_picture_is_refused(tmp_path, forward, reason):
    with pytest.raises(UserError, match=f"{reason}.*leave --tile-px out"):
        _tiled(forward, _picture(), 32, tmp_path)


def test_memory_check_draws_no_random_number(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL_PIXELS", 0)
    state = torch.random.get_rng_state()
    memory.check_memory(lambda x: x + torch.randn(x.shape, device=x.device), _picture(), 1, CPU, "x.png")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_dropout_of_large_maps_is_refused(tmp_path):
    huge = np.broadcast_to(np.zeros((), np.uint8), (2**14, 2**14, 3))
    with pytest.raises(UserError, match="dropout at test time on 3 maps of 16384x16384 .* --deterministic"):
        record(lambda x: F.dropout(x, 0.5, True), huge)
