"""A server of small models in a thread of this process, and requests to it."""

import contextlib
import functools
import http.client
import json
import os
import tempfile
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import uvicorn
from conftest import make_idx, make_unpaired
from programs import saved_run

from cut.data.images import write_image
from cut.serve.app import make_app
from cut.serve.models import Models


@functools.cache
def tiny_runs():
    """A folder of untrained runs: `cut`, `munit` (two directions, styles), `unsb` (passes), `digits` (from noise)."""
    folder = Path(tempfile.mkdtemp(dir=os.environ["XDG_CACHE_HOME"]))
    root = make_unpaired(folder / "data")
    unpaired = f'data: {{name: unpaired, root: "{root}", load_px: 32, crop_px: 32, num_workers: 0}}\n'
    schedule = "schedule: {name: constant, total_steps: 6}\ntrain: {accelerator: cpu, tensorboard: false}\n"
    texts = {
        "cut": "method: {name: cut, num_patches: 16, head_channels: 8, nce_layers: [0, 4]}\n"
        "generator: {base_channels: 2, num_blocks: 1}\n"
        "discriminator: {base_channels: 2, num_layers: 2}\n" + unpaired,
        "munit": "method: {name: munit, generator: {base_channels: 2, num_blocks: 1, mlp_channels: 8, style_dim: 3}, "
        "discriminator: {base_channels: 2, num_scales: 2}}\n" + unpaired,
        "unsb": "method: {name: unsb, num_timesteps: 3, num_passes: 2, nce_layers: [0, 4], "
        "generator: {base_channels: 2, num_blocks: 1, init: kaiming}, "
        "discriminator: {base_channels: 2, num_layers: 1}}\n" + unpaired,
        "digits": "method: {name: dcgan, generator: {name: dcgan, latent_size: 8, base_channels: 4}, "
        "discriminator: {name: dcgan, base_channels: 4}}\n"
        f'data: {{name: idx, root: "{make_idx(folder / "idx")}", batch_size: 2, num_workers: 0}}\n',
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text + schedule)
        saved_run(folder / f"{name}.yaml", folder / "runs" / name)
    return folder / "runs"


def make_photo(path):
    """A picture whose sides are no multiples of anything."""
    write_image(path, np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8))
    return path


class Served:
    """`app` at `port`, with its models."""

    def __init__(self, app, models, port):
        self.app, self.models, self.port = app, models, port

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def json(self, path):
        status, _, content = self.ask("GET", path)
        assert status == 200, content
        return json.loads(content)

    def translate(self, headers=None, **fields):
        """Posts texts, and files as (name, bytes), to /translate."""
        content, kind = form(fields)
        return self.ask("POST", "/translate", content, {"Content-Type": kind, **(headers or {})})

    def refused(self, headers=None, **fields):
        """Status and the one line of a refusal."""
        status, _, content = self.translate(headers, **fields)
        assert status != 200
        error = json.loads(content)["error"]
        assert "\n" not in error
        return status, error


def form(fields):
    """A multipart body and its type."""
    line, parts = uuid.uuid4().hex, []
    for name, value in fields.items():
        is_file = isinstance(value, tuple)
        file = f'; filename="{value[0]}"' if is_file else ""
        head = f'--{line}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts += [head.encode(), value[1] if is_file else str(value).encode(), b"\r\n"]
    return b"".join([*parts, f"--{line}--\r\n".encode()]), f"multipart/form-data; boundary={line}"


@contextlib.contextmanager
def serving(paths, **options):
    """A `Served` while inside."""
    models = Models(paths, device="cpu")
    app = make_app(models, **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Served(app, models, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
