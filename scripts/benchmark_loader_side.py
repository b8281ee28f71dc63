"""One side of scripts/benchmark_loader.py: a process that loads an epoch when asked, as benchmark_side does steps.

The first request says what to load; each further one is a turn, answered by processor and wall time of a picture.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count, repeat
from types import SimpleNamespace
from typing import Any

from benchmark_side import module, serve


def _answers(job: dict[str, Any], requests: Iterable[dict[str, Any]]) -> Any:
    import torch

    from cut.errors import UserError

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            epoch = (_authors_epoch if job["authors"] else _own_epoch)(job)
            _count_pictures(epoch())  # all files are in memory, and the cache is full
        except UserError as error:
            yield {"error": str(error)}
            return
        yield {"torch": torch.__version__}
        for _ in requests:
            if job["is_first_epoch"]:
                os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(dir=folder)
            start, wall = time.process_time(), time.perf_counter()
            pictures = _count_pictures(epoch())
            seconds, wall_seconds = time.process_time() - start, time.perf_counter() - wall
            yield {"seconds_per_picture": seconds / pictures, "wall_seconds_per_picture": wall_seconds / pictures}


def _count_pictures(batches: Iterable[list[Any]]) -> int:
    return sum(len(images) for batch in batches for images in batch)


def _own_epoch(job: dict[str, Any]) -> Callable[[], Iterable[list[Any]]]:
    """As cut-train loads without workers."""
    from cut.config import UnpairedDataConfig
    from cut.data.loader import batches
    from cut.data.unpaired import UnpairedStream

    module("cut.runtime.memory", "cut.runtime.allocator", "cut.engine.allocator").keep_freed_memory()
    fields = ("root", "load_px", "crop_px", "batch_size", "cache_mib")
    config = UnpairedDataConfig(**{key: job[key] for key in fields}, num_workers=0)
    streams = repeat(UnpairedStream(config, seed=0))
    if job["is_first_epoch"]:
        streams = (UnpairedStream(config, seed=0) for _ in count())
    else:  # partners are drawn: see to it that each is in the cache
        stream = next(streams)
        for domain, paths in (("a", stream.paths_a), ("b", stream.paths_b)):
            for path in paths:
                stream.cache.scaled(path, config.channels[domain], whole=False)
    numbers = count()

    def epoch() -> Iterable[list[Any]]:
        stream, number = next(streams), next(numbers)
        samples = range(number * stream.samples_per_epoch, (number + 1) * stream.samples_per_epoch)
        loaded = batches(stream, job["batch_size"], samples, num_workers=0)
        return ([batch["real_a"], batch["real_b"]] for batch in loaded)

    return epoch


def _authors_epoch(job: dict[str, Any]) -> Callable[[], Iterable[list[Any]]]:
    """As the authors' train.py loads with `--num_threads 0`; their checkout is on the path."""
    from data import create_dataset

    options = SimpleNamespace(
        dataroot=job["root"],
        dataset_mode="unaligned",
        phase="train",
        isTrain=True,
        preprocess="resize_and_crop",
        load_size=job["load_px"],
        crop_size=job["crop_px"],
        no_flip=False,
        serial_batches=False,
        max_dataset_size=float("inf"),
        batch_size=job["batch_size"],
        num_threads=0,
        n_epochs=200,
    )
    loader = create_dataset(options)
    return lambda: ([batch["A"], batch["B"]] for batch in loader)


if __name__ == "__main__":
    serve(_answers)
