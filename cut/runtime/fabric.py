"""Joins the processes of a run, as `cut-train --devices` or torchrun started them, through Lightning Fabric."""

import logging
import os
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from cut.config import Precision
from cut.errors import UserError, reason
from cut.runtime.signals import ended_by_ctrl_c

# For all processes to come, and for one exchange of a step; one that has ended is noticed at once, whatever this is.
_TIMEOUT = timedelta(minutes=10)


def build_fabric(accelerator: str, precision: Precision, shared: bool = False) -> Fabric:
    """Device and precision of this process, launched.

    Args:
        accelerator: Kind of device: auto, cpu, cuda or mps.
        precision: Precision of the computation.
        shared: Whether to join all other processes of the run, where there are any.

    Raises:
        UserError: There is no such device here, or the processes do not find each other.
    """
    count, per_machine = (int(os.environ.get(name, 1)) if shared else 1 for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    joined: dict[str, Any] = {}
    if count > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it says where it sets out, in three lines
        strategy = DDPStrategy(process_group_backend=_backend(accelerator), timeout=_TIMEOUT)
        joined = {"strategy": strategy, "num_nodes": count // per_machine, "plugins": [LightningEnvironment()]}
    try:
        fabric = Fabric(accelerator=accelerator, devices=per_machine, precision=precision, **joined)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"accelerator {accelerator}, precision {precision}: {reason(error)}") from None
    try:
        with ended_by_ctrl_c():
            fabric.launch()
    except RuntimeError as error:  # of which torch's own are kinds
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError(
            f"the {count} processes did not find each other at {where} ({reason(error)}); start all "
            f"machines within {_TIMEOUT.seconds // 60} minutes, with their own --node-rank, and let that port through"
        ) from None
    return fabric


def _backend(accelerator: str) -> str:
    on_gpus = accelerator != "cpu" and torch.cuda.is_available()
    return "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
