"""Train, resume, run and score image-to-image translation GANs, each chosen by one YAML.

    import cut

    model = cut.load("runs/mine")
    picture = model("photo.jpg")

`cut.load`, `cut.train`, `cut.score`, `cut.stylize`, `cut.Model` and `cut.UserError` are what programs and notebooks
need. They are imported when they are first used, because torch takes seconds and `cut-train --help` should not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Model", "UserError", "__version__", "load", "score", "stylize", "train"]

if TYPE_CHECKING:
    from cut.api.loading import load
    from cut.api.model import Model
    from cut.api.scoring import score
    from cut.api.stylizing import stylize
    from cut.api.training import train
    from cut.errors import UserError

_HOMES = {
    "Model": "cut.api.model",
    "load": "cut.api.loading",
    "score": "cut.api.scoring",
    "stylize": "cut.api.stylizing",
    "UserError": "cut.errors",
}


def __getattr__(name: str) -> Any:
    if name == "train":  # the package of this name, which can be called
        return import_module("cut.train")
    if name not in _HOMES:
        raise AttributeError(f"module 'cut' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
