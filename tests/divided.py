"""Trains tiny runs of every method, as one process or as several: a program of `forks.py` is one of several."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from conftest import make_idx, make_labelled, make_masks, make_paired, make_single, make_unpaired

from cut.build import build_trainer, read_config
from cut.config.load import changed_keys
from cut.errors import PictureError, UserError
from cut.runtime.fabric import build_fabric
from cut.runtime.processes import Processes
from cut.train.step import tensors_in

STEPS = 2
# Before an instance norm the gradient of a bias is rounding alone, 1e-13 in float64, of which Adam's usual 1e-8 would
# still make steps that can be seen.
ADAM_EPS = 1e-6
_RESNET = {"generator.name": "resnet", "generator.base_channels": 2, "generator.num_blocks": 2}
_PATCH = {"discriminator.name": "patch", "discriminator.base_channels": 2, "discriminator.num_layers": 1}
_SMALL = {"data.load_px": 20, "data.crop_px": 16, "data.batch_size": 2}
_CUT = {
    **_RESNET,
    **_PATCH,
    **_SMALL,
    "data.root": "unpaired",
    "method.name": "cut",
    "method.num_patches": 8,
    "method.head_channels": 4,
    "method.nce_layers": [0, 4, 8],
}
_CYCLEGAN = {**_RESNET, **_PATCH, **_SMALL, "data.root": "unpaired", "method.name": "cyclegan", "method.pool_size": 2}
_CYCLEGAN |= {"data.match_colours": True}
_SINCUT = {
    "method.name": "sincut",
    "method.head_channels": 4,
    "generator.base_channels": 2,
    "generator.num_blocks": 2,
    "discriminator.base_channels": 2,
    "data.a": "single/photo.png",
    "data.b": "single/painting.png",
    "data.crop_px": 16,
    "data.batch_size": 2,
    "method.nce_layers": [0, 2],
}
_PIX2PIX = {
    **_PATCH,
    "method.name": "pix2pix",
    "generator.base_channels": 2,
    "generator.image_px": 64,
    "data.root": "paired",
    "data.load_px": 72,
    "data.crop_px": 64,
    "data.batch_size": 2,
}
_DCGAN = {
    "method.name": "dcgan",
    "method.discriminator_steps": 2,
    "method.generator": {"name": "dcgan", "latent_size": 4, "base_channels": 2},
    "method.discriminator": {"name": "dcgan", "base_channels": 2},
    "data.name": "idx",
    "data.root": "idx",
    "data.batch_size": 2,
}
_BIGGAN = {
    "method.name": "biggan",
    "method.discriminator_steps": 2,
    "method.generator": {"base_channels": 2, "latent_part": 2, "shared_dim": 3, "attention_px": 16},
    "method.discriminator": {"base_channels": 2},
    "data.root": "labelled",
    "data.load_px": 36,
    "data.crop_px": 32,
    "data.batch_size": 4,
    "train.ema_decay": 0.5,
}
_DEEPI2I = {key: value for key, value in _BIGGAN.items() if not key.endswith(("_steps", "ema_decay"))}
_DEEPI2I |= {"method.name": "deepi2i", "method.adaptor_steps": 1}
_STYLED = {
    **_SMALL,
    "data.root": "unpaired",
    "method.discriminator": {"base_channels": 2, "num_layers": 3, "num_scales": 2},
    "optim.weight_decay": 1e-4,
}
_MUNIT = _STYLED | {
    "method.name": "munit",
    "method.generator": {"base_channels": 2, "num_blocks": 1, "style_dim": 3, "mlp_channels": 4},
}
_DRIT = _STYLED | {
    "method.name": "drit",
    "method.generator": {"base_channels": 2, "attribute_dim": 3},
    "method.content_discriminator_layers": 0,
    "data.batch_size": 4,
}
_GCGAN = {**_RESNET, **_PATCH, **_SMALL, "data.root": "unpaired", "method.name": "gcgan", "method.pool_size": 2}
_DISTANCEGAN = {**_RESNET, **_PATCH, **_SMALL, "data.root": "many", "method.name": "distancegan"}
_DISTANCEGAN |= {"method.pool_size": 2, "data.batch_size": 4}
_HDCE = {"method.nce_loss": {"name": "hdce"}, "method.lambda_src": 0.5}
_ENCO = {**_RESNET, **_PATCH, **_SMALL, "data.root": "unpaired", "method.name": "enco", "method.num_patches": 8}
_ENCO |= {"method.head_channels": 4, "method.layer_pairs": [[3, -4], [7, -8], [12, 13]]}
_DCLGAN = {**_RESNET, **_PATCH, **_SMALL, "data.root": "unpaired", "method.name": "dclgan", "method.pool_size": 2}
_DCLGAN |= {"method.num_patches": 8, "method.head_channels": 4, "method.nce_layers": [4, 8, 12]}
_UNSB = {**_SMALL, "data.root": "unpaired", "method.name": "unsb", "method.num_patches": 8, "method.head_channels": 4}
_UNSB |= {"method.generator": {"base_channels": 2, "num_blocks": 1}, "method.nce_layers": [0, 4, 8, 12]}
_UNSB |= {"method.discriminator": {"base_channels": 2, "num_layers": 1}}
_UNSB |= {"optim.lr": 2e-6}  # in front of its first norm the gradient of a bias is 1e-11, and that is rounding too
_FLIP = {"method.flip_equivariance": True, "method.pool_size": 2}
_WCT2_DECODER = {"method.name": "wct2_decoder", "method.vgg": "random", "method.base_channels": 2}
_WCT2_DECODER |= {"data.name": "images", "data.root": "unpaired/trainA", **_SMALL}
# Whatever draws random numbers, remembers images or mixes a batch.
CASES = {
    "cut": _CUT,
    "cut: penalties, pool, flips, identity": _CUT
    | _FLIP
    | {
        "method.gan_loss": "wgangp",
        "method.lambda_r1": 1.0,
        "method.lambda_identity": 1.0,
        "discriminator.norm": "none",
    },
    "cut: negatives of the minibatch": _CUT | {"method.negatives": "minibatch"},
    "cut: external negatives, momentum": _CUT
    | {"method.negatives": "image_and_external", "method.queue_size": 40, "method.momentum_encoder": 0.9},
    "cut: hDCE, SRC": _CUT | _HDCE,
    "cut: hDCE of the minibatch": _CUT | {"method.nce_loss": {"name": "hdce"}, "method.negatives": "minibatch"},
    "cut: MoNCE of the minibatch": _CUT | {"method.nce_loss": {"name": "monce"}, "method.negatives": "minibatch"},
    "cut: attention, flips, MoNCE": _CUT
    | {"method.patches": {"name": "attention"}, "method.nce_loss": {"name": "monce"}}
    | {"method.flip_equivariance": True, "method.lambda_identity": 1.0},
    "cut: augmented, with spectral norm, under R1": _CUT
    | {"discriminator.augment": ["color", "translation", "cutout"], "method.lambda_r1": 1.0}
    | {"discriminator.spectral_norm": True, "discriminator.norm": "none"},
    "cut: projected discriminator under R1": {k: v for k, v in _CUT.items() if not k.startswith("discriminator")}
    | {"discriminator": {"name": "projected", "features": "random", "mixed_channels": 4, "base_channels": 2}}
    | {"discriminator.picture_heads": ["colour", "pixel"], "method.lambda_r1": 1.0},
    "cut: batch norm under R1, dropout": _CUT
    | {"generator.norm": "batch", "generator.dropout": 0.5, "discriminator.norm": "batch", "method.lambda_r1": 1.0},
    "cut: masks, partners, flips": _CUT | {"data.root": "masked", "method.lambda_paired": 5.0} | _FLIP,
    "cut: MoNCE of the minibatch inside masks": _CUT
    | {"data.root": "masked", "method.nce_loss": {"name": "monce"}, "method.negatives": "minibatch"},
    "cyclegan": _CYCLEGAN,
    "cyclegan: masks, partners": _CYCLEGAN | {"data.root": "masked", "method.lambda_paired": 5.0},
    "sincut": _SINCUT,
    "sincut: hDCE, SRC of the minibatch": _SINCUT | _HDCE,
    "pix2pix": _PIX2PIX,
    "dcgan": _DCGAN,
    "dcgan: VGG-16 with dropout under R1": _DCGAN
    | {
        "method.latent": "normal",
        "method.lambda_r1": 1.0,
        "method.discriminator": {"name": "vgg16", "base_channels": 2},
    },
    "biggan": _BIGGAN,
    "deepi2i": _DEEPI2I,
    "deepi2i: from scratch": _DEEPI2I | {"method.train_encoder": True, "method.adaptor_steps": 0},
    "munit": _MUNIT,
    "munit: micro-batches too": _MUNIT | {"data.batch_size": 4, "train.num_micro_batches": 2},
    "drit": _DRIT,
    # Without mode seeking, whose 1 / (a difference of 1e-5) at the beginning makes much of rounding.
    "drit: feature-wise attributes": _DRIT
    | {"method.generator": {"base_channels": 2, "attribute_dim": 3, "injection": "feature"}}
    | {"method.mode_seeking": False},
    "gcgan": _GCGAN,
    "wct2_decoder": _WCT2_DECODER,
    "gcgan: separate generators, micro-batches too": _GCGAN
    | {"method.geometry": "vertical_flip", "method.generators": "separate"}
    | {"data.batch_size": 4, "train.num_micro_batches": 2},
    "distancegan: two pairs in a process, four across": _DISTANCEGAN,
    "distancegan: pairs across processes alone": _DISTANCEGAN | {"data.batch_size": 2},
    "distancegan: halves": _DISTANCEGAN | {"method.distance": "halves"},
    "enco": _ENCO,
    "enco: layer norm, micro-batches too": _ENCO
    | {"method.head_norm": "layer", "data.batch_size": 4, "train.num_micro_batches": 2},
    "dclgan": _DCLGAN,
    "simdcl: micro-batches too": _DCLGAN
    | {"method.lambda_similarity": 10.0, "method.negatives": "image", "method.pool_size": 0}
    | {"data.batch_size": 4, "train.num_micro_batches": 2},
    "unsb": _UNSB,
    "unsb: as released, micro-batches too": _UNSB
    | {"method.networks": "released", "data.batch_size": 4, "train.num_micro_batches": 2},
    "cyclegan: micro-batches too": _CYCLEGAN | {"data.batch_size": 4, "train.num_micro_batches": 2},
}


def make_data(folder: Path) -> None:
    (folder / "empty.yaml").write_text("{}")
    make_unpaired(folder / "unpaired", size=24)
    make_unpaired(folder / "many", count=12, size=24)
    make_unpaired(folder / "masked", size=24)
    make_masks(folder / "masked" / "maskA", count=4, size=24)
    (folder / "masked" / "trainB" / "3.png").rename(folder / "masked" / "trainB" / "other.png")
    make_paired(folder / "paired")
    make_idx(folder / "idx")
    make_labelled(folder / "labelled")
    make_single(folder / "single")


def train(
    folder: Path,
    settings: dict,
    dtype: torch.dtype = torch.float64,
    eps: float = ADAM_EPS,
    accelerator: str = "cpu",
) -> dict:
    """Losses of each step, and everything that a run then holds, on the CPU."""
    paths = {"data.root", "data.a", "data.b"}
    settings = {key: str(folder / value) if key in paths else value for key, value in settings.items()}
    settings |= {
        "schedule": {"name": "constant", "total_steps": STEPS},
        "data.num_workers": 0,
        "train.accelerator": accelerator,
        "optim.eps": eps,
    }
    overrides = [f"{key}={value}".replace("'", '"') for key, value in settings.items()]
    torch.set_default_dtype(dtype)
    try:
        trainer, losses = build_trainer(read_config(folder / "empty.yaml", overrides)), []
        for batch in trainer.batches(STEPS):
            trainer.losses.sums = {}
            trainer.train_step({key: t.to(dtype) if t.is_floating_point() else t for key, t in batch.items()})
            losses += [value.item() for value in trainer.losses.sums.values()]
        trainer._require_equal()
    finally:
        torch.set_default_dtype(torch.float32)
    return {"losses": losses, "tensors": [tensor.cpu().clone() for tensor in tensors_in(trainer.method.state_dict())]}


def largest_difference(one: dict, other: dict) -> float:
    """Between two trainings: of a loss or of a tensor's values, relative to the largest of its kind."""
    pairs = [(torch.tensor(one["losses"]), torch.tensor(other["losses"]))]
    pairs += zip(one["tensors"], other["tensors"], strict=True)
    return max(
        ((a.double() - b.double()).abs().max() / a.double().abs().max().clamp_min(1e-3)).item()
        for a, b in pairs
        if a.numel()
    )


def agreements() -> dict[str, str | float]:
    """What two processes make of something that one of them alone meets with."""
    processes = Processes(build_fabric("cpu", "32-true", shared=True))

    def refuse(error: UserError) -> None:
        raise error

    def only(rank: int, error: UserError) -> str:
        return outcome(lambda: processes.together(lambda: refuse(error) if processes.rank == rank else None))

    return {
        "largest": processes.largest(processes.rank + 3),
        "picture": only(1, PictureError("1.png is broken")),
        "mistake": only(0, UserError("no such folder")),
        "first": processes.on_first(lambda: f"from {processes.rank}"),
        "first fails": outcome(lambda: processes.on_first(lambda: refuse(UserError("the disk is full")))),
        "equal": outcome(lambda: processes.require_equal("weights", [torch.ones(3)])),
        "same settings": outcome(lambda: processes.require_same("settings", {"lr": 1}, changed_keys)),
        "other settings": outcome(
            lambda: processes.require_same("settings", {"optim": {"lr": processes.rank}, "seed": 0}, changed_keys)
        ),
        "unequal": outcome(lambda: processes.require_equal("weights", [torch.ones(3), torch.tensor(processes.rank)])),
    }


def outcome(work: Callable[[], object]) -> str:
    try:
        return f"{work()}"
    except UserError as error:
        return f"{type(error).__name__}: {error}"


def main(arguments: Sequence[str]) -> None:
    """Trains every case in the first argument's folder, and saves what it found there under this process's rank."""
    folder = Path(arguments[0])
    found = {name: train(folder, settings) for name, settings in CASES.items()}
    found["agreements"] = agreements()
    torch.save(found, folder / f"found_{torch.distributed.get_rank()}.pt")
