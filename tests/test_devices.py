"""What GPUs cannot do, without one."""

import ast

import pytest
import torch
from conftest import REPOSITORY
from torch import nn

from cut.inference.tiling.nodes import Moments, Node
from cut.scoring import segmenter as segmenter_module
from cut.scoring.segmenter import Segmenter

FILES = sorted((REPOSITORY / "cut").rglob("*.py"))


class OnApple(torch.Tensor):
    """A tensor that, as on Apple's GPUs, becomes float64 on the CPU only."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        out = super().__torch_function__(function, types, args, kwargs or {})
        if function is torch.Tensor.cpu:
            return out.as_subclass(torch.Tensor)
        if isinstance(out, cls) and out.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return out


def test_the_stand_in_refuses_float64_as_apples_gpus_do():
    tensor = torch.ones(2).as_subclass(OnApple)
    assert tensor.mean().cpu().double() == 1.0
    with pytest.raises(TypeError, match="float64"):
        (tensor * 2).double()


def test_moments_of_tiles_are_double_on_the_cpu_only():
    tile = torch.tensor([0.0, 2.0, 4.0, 6.0]).view(1, 1, 2, 2)
    moments = Moments(Node((), 1, (2, 2), torch.float32))
    moments.add(tile.as_subclass(OnApple))
    assert (moments.mean.item(), moments.variance.item()) == (3.0, 5.0)


def test_class_scores_are_double_on_the_cpu_only(monkeypatch):
    monkeypatch.setattr(segmenter_module, "load_network", lambda path: nn.Identity())
    monkeypatch.setattr(segmenter_module, "run_network", lambda network, path, images: images.as_subclass(OnApple))
    labels, log_odds = Segmenter("network.pt", 2)(torch.tensor([1.0, 3.0]).view(1, 2, 1, 1), (4, 4))
    assert (labels == 1).all() and labels.shape == (1, 4, 4)
    torch.testing.assert_close(log_odds[0, :, 0, 0], torch.tensor([-2.0, 2.0], dtype=torch.float64))


def _doubled_elsewhere(tree):
    """Calls that make a tensor double where it lies, or make a double tensor on a device."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = [ast.unparse(value) for value in (*node.args, *(keyword.value for keyword in node.keywords))]
        is_double = {"torch.float64", "torch.double"} & {*given}
        value = node.func.value
        if isinstance(value, ast.IfExp) and ast.unparse(value.test).endswith("device.type == 'mps'"):
            value = value.body
        on_cpu = isinstance(value, ast.Call) and ast.unparse(value.func).endswith(".cpu")
        if (node.func.attr == "double" or (node.func.attr in ("to", "type") and is_double)) and not on_cpu:
            yield node
        if is_double and any(keyword.arg == "device" for keyword in node.keywords):
            yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_tensor_becomes_double_before_it_comes_to_the_cpu(path):
    found = [ast.unparse(node) for node in _doubled_elsewhere(ast.parse(path.read_text()))]
    assert not found, found


def test_the_search_finds_what_it_should():
    text = "x.double().cpu()\nx.cpu().double()\nx.to(y, torch.float64)\ntorch.ones(2, dtype=torch.float64, device=d)"
    assert sorted(node.lineno for node in _doubled_elsewhere(ast.parse(text))) == [1, 3, 4]
