"""What BigGAN's authors call the tensors of our networks (ajbrock/BigGAN-PyTorch, commit 9845943).

`G_ema.pth` and `D.pth` are named as our layers are, but for batch norm, whose statistics and scales have names of their
own there. DeepI2I's files are the same.
"""

from pathlib import Path

from torch import nn

from cut.errors import UserError
from cut.import_weights.pth_file import read_state_dict
from cut.methods.biggan import BigGAN

_STATISTICS = {"running_mean": "stored_mean", "running_var": "stored_var"}


def biggan_name(ours: str) -> str:
    """The authors' key of a tensor of our `BigGAN`, without the name of the network."""
    _, _, key = ours.partition(".")
    module, _, leaf = key.rpartition(".")
    if leaf in _STATISTICS:
        return f"{module.removesuffix('.norm')}.{_STATISTICS[leaf]}"
    return f"{module}.gain" if module == "output_layer.0" and leaf == "weight" else key


def load_discriminator(method: nn.Module, path: Path) -> None:
    """Gives a BigGAN the weights of the discriminator in `path`, beside those of its generator.

    Raises:
        UserError: The method is another, or the weights do not fit.
    """
    if not isinstance(method, BigGAN):
        raise UserError(f"--discriminator {path}: goes with a generator of BigGAN alone; leave it out")
    try:
        method.discriminator.load_state_dict(read_state_dict(path))
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{path}: is no discriminator of the same sizes as the generator ({last})") from None
