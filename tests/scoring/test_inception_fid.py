"""FID beside pytorch-fid's own code, with random weights for the published ones, and how those are found."""

import functools
import hashlib
import http.server
import threading
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision
from pytorch_fid import fid_score, inception

from cut.data.images import write_image
from cut.errors import UserError
from cut.metrics.fid import frechet_distance
from cut.scoring.evaluator import evaluate
from cut.scoring.feature_networks import InceptionFeatures

WEIGHTS_NAME = inception.FID_WEIGHTS_URL.rsplit("/", 1)[-1]


@pytest.fixture(scope="module")
def hub_home(tmp_path_factory):
    """A TORCH_HOME whose Inception has random weights, of a scale at which all its layers stay alive."""
    home = tmp_path_factory.mktemp("torch_home")
    with (
        mock.patch.object(inception, "load_state_dict_from_url"),
        mock.patch.object(torchvision.models.Inception3, "load_state_dict"),
    ):
        network = inception.fid_inception_v3()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            torch.nn.init.kaiming_normal_(parameter, generator=generator)
    (home / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), home / "hub" / "checkpoints" / WEIGHTS_NAME)
    return home


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for name, count, top in (("generated", 3, 256), ("target", 4, 200)):
        for index in range(count):
            write_image(tmp_path / name / f"{index}.png", rng.integers(0, top, (40, 32, 3), dtype=np.uint8))
    return tmp_path / "generated", tmp_path / "target"


@pytest.fixture
def served(tmp_path):
    """A folder and the address under which a local HTTP server serves it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_statistics_and_distance_equal_those_of_pytorch_fid(folders, hub_home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(hub_home))
    network = inception.InceptionV3([3])
    theirs = [
        fid_score.compute_statistics_of_path(str(folder), network, batch_size=3, dims=2048, device="cpu", num_workers=0)
        for folder in folders
    ]
    score = evaluate(*folders, ["fid"]).scores["fid"]
    # pytorch-fid's sqrtm takes minutes at 2048 features; test_frechet.py shows that ours is the exact distance.
    assert score.value > 1.0
    assert score.value == pytest.approx(frechet_distance(*theirs[0], *theirs[1]), rel=1e-5)
    assert score.count == 3


@pytest.mark.slow  # pytorch-fid's matrix square root
@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_fid_equals_pytorch_fids_own_command(folders, hub_home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(hub_home))
    expected = fid_score.calculate_fid_given_paths([str(f) for f in folders], 3, "cpu", 2048, num_workers=0)
    assert evaluate(*folders, ["fid"]).scores["fid"].value == pytest.approx(expected, abs=1e-3)


def test_features_are_those_of_pytorch_fid_bit_for_bit_and_nothing_is_drawn(hub_home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(hub_home))
    images = torch.rand(2, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = inception.InceptionV3([3]).eval()(images)[0].flatten(1)
    state = torch.random.get_rng_state()
    features = InceptionFeatures()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert theirs.std() > 0 and torch.equal(features(images), theirs)


def test_weights_are_read_from_a_given_file(hub_home, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    features = InceptionFeatures(hub_home / "hub" / "checkpoints" / WEIGHTS_NAME)
    assert features(torch.rand(1, 3, 20, 24)).shape == (1, 2048)
    assert not (tmp_path / "empty").exists()


def test_weights_are_downloaded_once_where_torch_hub_keeps_them(hub_home, served, tmp_path, monkeypatch):
    folder, address = served
    content = (hub_home / "hub" / "checkpoints" / WEIGHTS_NAME).read_bytes()
    name = f"weights-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(inception, "FID_WEIGHTS_URL", f"{address}/{name}")
    InceptionFeatures()
    (folder / name).unlink()
    InceptionFeatures()
    assert [p.name for p in (tmp_path / "home" / "hub" / "checkpoints").iterdir()] == [name]


@pytest.mark.parametrize(("content", "reason"), [(None, "404"), (b"a portal's login page", "invalid hash value")])
def test_weights_that_cannot_be_downloaded_are_one_line_with_address_and_place(
    served, tmp_path, monkeypatch, content, reason
):
    folder, address = served
    if content:
        (folder / WEIGHTS_NAME).write_bytes(content)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(inception, "FID_WEIGHTS_URL", f"{address}/{WEIGHTS_NAME}")
    with pytest.raises(UserError) as caught:
        InceptionFeatures()
    place = tmp_path / "home" / "hub" / "checkpoints"
    assert f"cannot download {address}/{WEIGHTS_NAME}" in str(caught.value) and reason in str(caught.value)
    assert f"put the file at {place / WEIGHTS_NAME}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("content", ["junk", "other_network"])
def test_a_file_that_holds_something_else_is_named(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"junk" * 99)
    if content == "other_network":
        torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"weights\.pth: does not hold pytorch-fid's Inception weights"):
        InceptionFeatures(path)


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pth: no such file"):
        InceptionFeatures(tmp_path / "none.pth")
