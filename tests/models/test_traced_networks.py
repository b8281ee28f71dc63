"""Generators as graphs of torch.jit.trace and torch.export, which serve every size."""

import io

import pytest
import torch
from fixed import fill_with_unit_normals

from cut.models.resnet import ResnetGenerator
from cut.models.stylegan2 import StyleGAN2Generator
from cut.models.unet import UnetGenerator

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),  # frozen, but many deploy with it
    pytest.mark.filterwarnings("ignore:torch.tensor results are registered as constants"),  # as they should be
]
GENERATORS = {
    "resnet": lambda: ResnetGenerator(base_channels=64, num_blocks=1),  # wide enough for winograd.py
    "resnet_strided": lambda: ResnetGenerator(4, 4, 8, 1, "batch", 0.5, antialias_down=False, antialias_up=False),
    "resnet_checkpointed": lambda: ResnetGenerator(base_channels=4, num_blocks=2),
    "unet": lambda: UnetGenerator(base_channels=4, image_px=32),
    "stylegan2": lambda: StyleGAN2Generator(base_channels=4, num_blocks=2),
}


@pytest.fixture(params=GENERATORS)
def generator(request):
    """With gradients on, as a generator comes out of a training."""
    torch.manual_seed(0)
    network = GENERATORS[request.param]().eval()
    if request.param == "stylegan2":
        fill_with_unit_normals(network)  # noise has a weight too
        network.prepare_export(max_pixels=96 * 128)
    network.checkpoint_activations = request.param == "resnet_checkpointed"
    return network


def images(generator):
    random = torch.Generator().manual_seed(0)
    return [torch.rand(1, generator.in_channels, *size, generator=random) * 2 - 1 for size in ((64, 64), (96, 128))]


def assert_equal(graph, generator):
    with torch.no_grad():
        for image in images(generator) * 2:  # again, for a graph that draws would draw on
            want = generator(image)
            assert float(want.std()) > 1e-3
            torch.testing.assert_close(graph(image), want, rtol=0, atol=1e-4 * float(want.abs().max()))


def test_traced_generators_serve_every_size(generator):
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(generator, images(generator)[0], check_trace=False), file)
    file.seek(0)
    assert_equal(torch.jit.load(file), generator)


def test_exported_generators_serve_every_size(generator):
    height, width = (torch.export.Dim(name, max=256 // generator.stride) for name in ("height", "width"))
    dynamic = ({2: generator.stride * height, 3: generator.stride * width},)
    program = torch.export.export(generator, (images(generator)[0],), dynamic_shapes=dynamic)
    assert not [node for node in program.graph.nodes if isinstance(node.target, torch._ops.HigherOrderOperator)]
    assert_equal(program.module(), generator)


def test_noise_that_no_graph_can_draw_is_asked_for():
    network = StyleGAN2Generator(base_channels=4, num_blocks=2).eval()
    with pytest.raises(ValueError, match="prepare_export"):
        torch.jit.trace(network, torch.zeros(1, 3, 16, 16))
    keys = set(network.state_dict())
    network.prepare_export(256)
    assert set(network.state_dict()) == keys
