"""Files of torch.save from anywhere: plain values and tensors, and never more memory than the file has bytes."""

import io
import zipfile

import pytest
import torch

from cut.storage.torch_file import TorchFileError, read_torch_file

NUMBERS = torch.arange(1000.0)


class Asks:
    """Pickled as a call of a function that torch's own reader allows."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _shared(depth):
    value = (torch.zeros(1),)
    for _ in range(depth):
        value = (value, value)
    return value


def _circle():
    circle = []
    circle.append({"x": circle})
    return circle


def _nest(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def _refused(path, **how):
    with pytest.raises(TorchFileError) as caught:
        read_torch_file(path, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_that_checkpoints_and_public_weights_hold_is_read(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    kinds = (torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64)
    content = {
        "method": network.state_dict(),
        "parameter": network[0].weight,
        "optimizers": {"generator": optimizer.state_dict()},
        "plain": [None, True, 1, 2.5, "text", (1, 2), torch.Size((1, 2))],
        "tied": [NUMBERS, NUMBERS, NUMBERS[:10]],
    }
    for is_new in (False, True):
        kinds = (*kinds, torch.uint16) if is_new else kinds  # which the old format cannot hold
        content["kinds"] = [torch.zeros(3, dtype=kind) for kind in kinds]
        torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=is_new)
        read = read_torch_file(tmp_path / "x.pt")
        assert read["plain"] == content["plain"] and torch.equal(read["tied"][2], NUMBERS[:10])
        assert [tensor.dtype for tensor in read["kinds"]] == list(kinds)
        assert torch.equal(
            read["optimizers"]["generator"]["state"][0]["exp_avg"], optimizer.state[network[0].weight]["exp_avg"]
        )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_shared(30), "stands for more than 2000000 values"),
        (_shared(60), "more than 40 levels, or is in itself"),
        (_circle(), "more than 40 levels, or is in itself"),
        (_nest(41), "more than 40 levels, or is in itself"),
        (Asks(bytearray, 10**11), "Python objects (__builtin__.bytearray)"),
        (Asks(torch.FloatTensor, 10**6, 10**6), "no plain array of numbers (torch.FloatTensor)"),
        (torch.zeros(3).to_sparse(), "no plain array of numbers (torch._utils._rebuild_sparse_tensor)"),
        (torch.zeros(3, device="meta"), "no plain array of numbers"),
        (torch.zeros(1).expand(10**6, 10**6), "its tensors claim 4000000000000 bytes"),
        ([torch.as_strided(NUMBERS, (1000,), (1,)) for _ in range(100)], "its tensors claim 400000 bytes"),
    ],
    ids="shared,shared deeper,circle,deep,bytes,old tensor,sparse,meta,view,many".split(","),
)  # fmt: skip
def test_what_would_cost_more_than_the_file_holds_is_refused(tmp_path, content, reason):
    for is_new in (True, False):
        torch.save({"x": content}, tmp_path / "x.pt", _use_new_zipfile_serialization=is_new)
        assert reason in _refused(tmp_path / "x.pt")


def test_a_structure_that_stands_in_two_places_is_no_harm(tmp_path):
    torch.save({"x": _shared(5)}, tmp_path / "x.pt")
    assert torch.equal(read_torch_file(tmp_path / "x.pt")["x"][0][1][0][1][0][0], torch.zeros(1))


def test_a_list_of_contents_without_end_is_refused_before_it_is_read(tmp_path):
    torch.save({}, tmp_path / "x.pt")
    for data, reason in (
        (b"\x80\x02" + b"]0" * 1_100_000 + b"N.", "more than 2000000 values"),
        (bytes(2**26 + 1), "takes"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(tmp_path / "x.pt") as source, zipfile.ZipFile(buffer, "w") as target:
            for part in source.infolist():
                target.writestr(part.filename, data if part.filename.endswith("data.pkl") else source.read(part))
        (tmp_path / "y.pt").write_bytes(buffer.getvalue())
        assert reason in _refused(tmp_path / "y.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_network_in_torchscript_and_a_file_without_checksums_are_told_by_what_they_are(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt")
    assert _refused(tmp_path / "script.pt") == "is a network in TorchScript, not a file of torch.save"
    torch.save({"x": NUMBERS}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_torch_file(tmp_path / "old.pt")["x"], NUMBERS)
    with pytest.raises(zipfile.BadZipFile):
        read_torch_file(tmp_path / "old.pt", archives_only=True)
