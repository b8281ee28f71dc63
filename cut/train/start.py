"""Starts a new run from weights of another: fine-tuning, and methods that are trained in two stages."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from cut.config import StartConfig
from cut.errors import UserError
from cut.storage.checkpoint import list_checkpoints, load_checkpoint, load_inference_file
from cut.train.trainer import Trainer


def start_from(trainer: Trainer, start: StartConfig) -> str:
    """Gives the trainer's method the weights that `start` names.

    Args:
        trainer: Trainer of a new run.
        start: File and renamings.

    Returns:
        One line that says which networks were taken over, and which are new.

    Raises:
        UserError: The file cannot be read, or holds nothing that fits.
    """
    path = Path(start.file)
    tensors = {_renamed(key, start.rename): tensor for key, tensor in read_weights(path).items()}
    taken = trainer.method.start_from(tensors)
    own = [name for name, _ in trainer.method.named_parameters()]
    if not taken:
        raise UserError(
            f"start.file: {path}: none of its weights has the name and shape of one of this run's; it holds "
            f"{_networks(tensors)}, this run has {_networks(own)}; start.rename: {{old: new}} renames"
        )
    if trainer.ema:
        trainer.ema.load_state_dict(trainer.method.state_dict())
    new = [key for key in own if key not in taken]
    left = f"; new: {_networks(new)} ({len(new)} weights)" if new else ""
    return f"starts from {path}: {_networks(taken)} ({len(taken)} weights){left}"


def read_weights(path: Path) -> dict[str, Tensor]:
    """All weights in a file: of a run directory those of its newest checkpoint, or its inference file.

    Of a checkpoint's moving averages the keys begin with `ema.`, so `rename: {ema.generator: generator}` takes them.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    if path.is_dir():
        checkpoints = list_checkpoints(path / "checkpoints")
        path = checkpoints[-1] if checkpoints else path / "generator.safetensors"
    if path.suffix == ".pt":
        state = load_checkpoint(path)
        averaged = {f"ema.{key}": value for key, value in (state["ema"] or {}).items()}
        return {key: value for key, value in {**state["method"], **averaged}.items() if isinstance(value, Tensor)}
    return load_inference_file(path)[0]


def _renamed(key: str, prefixes: dict[str, str]) -> str:
    for old, new in prefixes.items():
        if key == old or key.startswith(f"{old}."):
            return new + key[len(old) :]
    return key


def _networks(keys: Iterable[str]) -> str:
    """The networks that weights belong to."""
    return ", ".join(dict.fromkeys(key.partition(".")[0] for key in keys)) or "nothing"
