"""What a new run looks at before its first step."""

from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from cut.data.loader import SampleNumbers, batches
from cut.runtime.seeding import undisturbed

if TYPE_CHECKING:
    from cut.train.trainer import Trainer


def observe(trainer: "Trainer") -> None:
    """Shows the method the colours of its training data, where they are to be matched, and whole batches, where it
    wants some. They are drawn from a stream of their own, so that training draws what it would draw without."""
    method, stream, processes = trainer.method, trainer.stream, trainer.processes
    if method.colours is not None:
        for domain, statistics in zip("ab", processes.on_first(stream.colours), strict=True):
            method.colours.set_domain(domain, *statistics)
    if not method.observes_batches:
        return
    data, count = trainer.config.data, min(method.observes_batches, stream.steps_per_epoch)
    numbers = SampleNumbers(range(count), data.batch_size, 1, 0, 1)
    is_on_gpu = trainer.fabric.device.type == "cuda"
    found = batches(stream.apart(), data.batch_size, numbers, data.num_workers, is_on_gpu)
    shown = tqdm(found, "measuring the training data", count, unit="batch", disable=not processes.is_first)
    with undisturbed(), torch.no_grad():
        processes.together(lambda: method.observe(map(trainer.seen, shown)))
