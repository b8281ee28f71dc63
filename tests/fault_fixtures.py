"""What the tests of faults share: the process that forks programs, a tiny run, and a tally of what was tried."""

import os
from collections import Counter

import pytest
from forks import server

_TALLY: Counter[str] = Counter()


@pytest.fixture(scope="session")
def forks():
    from programs import forks

    return forks()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A YAML with everything that a checkpoint can hold: an average, a pool, queues; it saves every second step."""
    from conftest import make_unpaired

    folder = tmp_path_factory.mktemp("tiny")
    path = folder / "tiny.yaml"
    path.write_text(
        f"""
method:
  {{name: cut, num_patches: 16, head_channels: 8, nce_layers: [0, 4, 8], pool_size: 3, negatives: external,
    queue_size: 64}}
generator: {{name: resnet, base_channels: 2, num_blocks: 2}}
discriminator: {{name: patch, base_channels: 2, num_layers: 2}}
data: {{name: unpaired, root: "{make_unpaired(folder / "data", size=20)}", load_px: 20, crop_px: 16, num_workers: 0}}
schedule: {{name: linear, constant_steps: 8, decay_steps: 8}}
train:
  {{log_every_steps: 3, sample_every_steps: 1000, checkpoint_every_steps: 2, num_samples: 1, accelerator: cpu,
    ema_decay: 0.9, tensorboard: false}}
"""
    )
    return path


@pytest.fixture(scope="session")
def straight(tiny, forks, tmp_path_factory):
    """The run directory of `tiny`, never interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    forks.run("train", "--config", tiny, "--run-dir", folder, "--set", "train.keep_checkpoints=100").check()
    return folder


@pytest.fixture(scope="session")
def tally():
    """Counts what was tried, for the table in docs/reliability.md."""
    return _TALLY


def pytest_collection_finish():
    if hasattr(os, "fork"):  # elsewhere the tests that need it fail, and no others
        server()  # before the first test


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # one of several processes, of which none writes a summary
        session.config.workeroutput["tally"] = dict(_TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    _TALLY.update(getattr(node, "workeroutput", {}).get("tally", {}))


def pytest_terminal_summary(terminalreporter):
    for what, count in sorted(_TALLY.items()):
        terminalreporter.write_line(f"tally: {what}: {count}")
