import copy

import pytest
import torch

from cut.methods.cut import CUT, CUTConfig
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator
from cut.runtime.numerics import compile_networks


@pytest.fixture(autouse=True)
def reset():
    yield
    torch._dynamo.reset()
    torch._dynamo.config.suppress_errors = False


def _losses_and_gradients(method):
    torch.manual_seed(1)
    t = method.translate({"real_a": torch.rand(1, 3, 32, 32), "real_b": torch.rand(1, 3, 32, 32)})
    terms = {f"{p.name}/{name}": term for p in method.players() for name, term in p.terms(t).items()}
    sum(terms.values()).backward()
    return [*terms.values(), *(p.grad for p in method.parameters())]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_networks_do_the_same_under_the_same_names(backend):
    torch.manual_seed(0)
    config = CUTConfig(nce_layers=(0, 2), num_patches=16, head_channels=8)
    plain = CUT(config, ResnetGenerator(base_channels=4, num_blocks=1), PatchDiscriminator(3, 4, num_layers=1))
    compiled = copy.deepcopy(plain)
    compile_networks(compiled, backend)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch._dynamo.utils.counters.clear()
    ours, expected = _losses_and_gradients(compiled), _losses_and_gradients(plain)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 3
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_compiled_runs_as_it_is():
    def broken(graph, inputs):
        raise RuntimeError("no such device")

    network = torch.nn.Linear(3, 3)
    method = torch.nn.ModuleDict({"network": network})
    x = torch.rand(2, 3)
    expected = network(x)
    compile_networks(method, broken)
    assert torch.equal(method["network"](x), expected)
