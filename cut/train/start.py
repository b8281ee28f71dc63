"""Starts a new run from weights of another: fine-tuning, and methods that are trained in two stages."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from cut.config import StartConfig
from cut.config.load import changed_keys
from cut.errors import UserError
from cut.methods.base import Method
from cut.storage.checkpoint import list_checkpoints, load_checkpoint, load_inference_file
from cut.train.trainer import Trainer


class Weights(NamedTuple):
    """What a file holds: weights by key, and the configuration of the run that made them, as plain values."""

    tensors: dict[str, Tensor]
    config: Mapping[str, Any]


ReadWeights = Callable[[Path], Weights]


def read_weights(path: Path) -> Weights:
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
        held = {key: value for key, value in {**state["method"], **averaged}.items() if isinstance(value, Tensor)}
        return Weights(held, state["config"])
    return Weights(*load_inference_file(path)[:2])


def start_from(trainer: Trainer, start: StartConfig, read: ReadWeights = read_weights) -> str:
    """Gives the trainer's method the weights that `start` names.

    Args:
        trainer: Trainer of a new run.
        start: File, renamings, and which networks are taken.
        read: Reads the file.

    Returns:
        One line that says which networks were taken over, whole or in part, and which are new.

    Raises:
        UserError: The file cannot be read, or holds nothing that fits.
    """
    path, method = Path(start.file), trainer.method
    read_file = read(path)
    tensors = {_renamed(key, start.rename): tensor for key, tensor in read_file.tensors.items()}
    tensors, renamed = _as_called_here(tensors, method)
    if start.networks == "generator":
        tensors = {key: tensor for key, tensor in tensors.items() if _network(key) in method.inference_networks()}
    taken = set(method.start_from(tensors))
    own = [name for name, _ in method.named_parameters()]
    differences = _differences(read_file.config, trainer.config.to_dict())
    if not taken:
        raise UserError(
            f"start.file: {path}: none of its weights has the name and shape of one of this run's; it holds "
            f"{_networks(tensors)}, this run has {_networks(own)}{differences or '; start.rename: {old: new} renames'}"
        )
    if trainer.ema:
        trainer.ema.load_state_dict(method.state_dict())
    return f"starts from {path}: {_described(own, taken, renamed, differences)}"


def _described(own: list[str], taken: set[str], renamed: Mapping[str, str], differences: str) -> str:
    """What of each network was taken over: all weights, some, or none."""
    shares = {
        name: [key in taken for key in own if _network(key) == name] for name in dict.fromkeys(map(_network, own))
    }
    whole = [
        f"{name} ({renamed[name]} of the file)" if name in renamed else name for name, s in shares.items() if all(s)
    ]
    parts = [f"{name} ({sum(s)} of {len(s)} weights)" for name, s in shares.items() if any(s) and not all(s)]
    new = [key for key in own if not any(shares[_network(key)])]
    count = sum(sum(s) for s in shares.values())
    line = f"{', '.join(whole) or 'no network as a whole'} ({count} weights)"
    line += f"; in part: {', '.join(parts)}, the rest has another shape{differences}" if parts else ""
    return line + (f"; new: {_networks(new)} ({len(new)} weights)" if new else "")


def _as_called_here(tensors: dict[str, Tensor], method: Method) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights under this method's names where a file of another method has one generator of another name."""
    own, held = list(method.inference_networks()), {_network(key) for key in tensors}
    generators = sorted(name for name in held if name.startswith("generator"))
    if not generators or held & set(own) or not own[0].startswith("generator"):
        return tensors, {}
    source = next((name for name in generators if name.endswith("_ab")), generators[0])
    target = next((name for name in own if source.endswith("_ba") and name.endswith("_ba")), own[0])
    return {_renamed(key, {source: target}): tensor for key, tensor in tensors.items()}, {target: source}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """In what the generators' settings differ, which is why weights have other shapes."""
    old, new = ({"generator": values.get("generator")} for values in (before, after))
    changes = [change for change in changed_keys(old, new) if "init" not in change]
    return f" ({'; '.join(changes[:4])}: the file's -> this run's)" if before and changes else ""


def _renamed(key: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if key == old or key.startswith(f"{old}."):
            return new + key[len(old) :]
    return key


def _network(key: str) -> str:
    """The network that a weight belongs to."""
    return key.partition(".")[0]


def _networks(keys: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(map(_network, keys))) or "nothing"
