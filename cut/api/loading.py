"""Opens what training wrote, and what the authors' programs did: `model = cut.load("runs/mine")`."""

import os
from pathlib import Path

from cut.api.model import Model
from cut.api.options import Device
from cut.build import load_translator
from cut.config import Precision, RunConfig
from cut.errors import UserError
from cut.import_weights import import_generator
from cut.methods.base import Method
from cut.storage.checkpoint import INFERENCE_FILE, list_checkpoints
from cut.storage.files import given_path


def load(
    path: str | os.PathLike[str],
    *,
    device: Device = "auto",
    precision: Precision = "32-true",
    config: str | os.PathLike[str] | None = None,
    deterministic: bool = False,
    allow_import: bool = False,
) -> Model:
    """A trained model, ready to translate pictures.

    Args:
        path: Run directory, checkpoint (`.pt`), `generator.safetensors`, or a public generator (`.pth`) of the authors
            of CUT, CycleGAN, pix2pix, MUNIT or DRIT.
        device: Where it computes; `auto` takes a GPU if there is one.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        config: With a `.pth`: YAML that the generator must fit; None works it out from the weights.
        deterministic: Whether to switch off the noise that the method's paper has at test time (pix2pix), and to take
            the mean style instead of random ones.
        allow_import: Whether the file may name code outside this package, which is then imported and so run.

    Raises:
        cut.UserError: The file is missing, damaged, or no model.
    """
    method, run, _ = open_model(
        given_path(path, "path"), given_path(config, "config") if config else None, deterministic, allow_import
    )
    return Model(method, run, device, precision, deterministic)


def open_model(
    path: Path, config: Path | None = None, deterministic: bool = False, allow_import: bool = False
) -> tuple[Method, RunConfig, str | None]:
    """The method, set for inference, its configuration, and of a `.pth` a line that says what it was taken for.

    Raises:
        UserError: As `load`.
    """
    if path.suffix == ".pth":
        method, run, line = import_generator(path, config)
        method.prepare_inference(deterministic)
        return method, run, line
    if config:
        raise UserError(f"{config}: goes with a .pth alone; a run brings its own configuration")
    if path.is_dir():
        saved = [path / INFERENCE_FILE, *reversed(list_checkpoints(path / "checkpoints"))]
        file = next((file for file in saved if file.is_file()), None)
        if file is None:
            raise UserError(f"{path}: holds neither {INFERENCE_FILE} nor checkpoints; name the directory of a run")
        path = file
    return (*load_translator(path, allow_import, deterministic), None)
