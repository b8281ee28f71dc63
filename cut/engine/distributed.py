"""Joins the processes of a run, as `cut-train --devices` or torchrun started them, through Lightning Fabric."""

import logging
import os
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from cut.errors import UserError

# While one process scores or saves, the others wait; one that has ended is noticed at once, whatever this is.
_TIMEOUT = timedelta(hours=6)


def training_fabric(accelerator: str, precision: str) -> Fabric:
    """Device and precision of this process, joined with all other processes of the run, where there are any.

    Raises:
        UserError: no such device here, or the processes do not find each other.
    """
    count, per_machine = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    joined = {}
    if count > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it says where it sets out, in three lines
        # Small exchanges between CPUs notice a process that has ended; those between GPUs may wait for it.
        strategy = DDPStrategy(process_group_backend=_backend(accelerator), timeout=_TIMEOUT)
        joined = {"strategy": strategy, "num_nodes": count // per_machine, "plugins": [LightningEnvironment()]}
    try:
        fabric = Fabric(accelerator=accelerator, devices=per_machine, precision=precision, **joined)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"accelerator {accelerator}, precision {precision}: {str(error).splitlines()[0]}") from None
    return fabric


def _backend(accelerator: str) -> str:
    on_gpus = accelerator != "cpu" and torch.cuda.is_available()
    return "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
