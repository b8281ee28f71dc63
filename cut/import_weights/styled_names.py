"""What the authors of MUNIT and of DRIT call the tensors of our networks; their files hold both directions.

A MUNIT file is `{a: state dict, b: state dict}`, each an encoder of contents, one of styles, a decoder and the network
that makes scales and biases of a style. A DRIT file holds all networks and optimizers of a training, of which `enc_c`,
`enc_a` and `gen` translate. In both a convolution stands within modules of its own for border, norm and activation,
which ours have as layers of one sequence: four to a convolution with norm, three without.
"""

import re
from collections.abc import Callable, Sequence

Rule = tuple[str, Callable[[re.Match[str]], str]]  # a pattern of our key -> the authors' key without weight or bias


def _places(text: str) -> Callable[[re.Match[str]], str]:
    """Fills the groups of a match into a format, one after the other."""
    return lambda found: text.format(*found.groups())


_MUNIT: Sequence[Rule] = (
    (r"style_encoder_(.)\.layers\.(\d+)", lambda m: f"{m[1]}.enc_style.model.{int(m[2]) // 3}.conv"),
    (r"style_encoder_(.)\.last", _places("{}.enc_style.model.6")),
    (r"content_encoder_(.)\.layers\.(\d+)", lambda m: f"{m[1]}.enc_content.model.{int(m[2]) // 4}.conv"),
    (
        r"content_encoder_(.)\.layers\.(\d+)\.layers\.(\d+)",
        lambda m: f"{m[1]}.enc_content.model.3.model.{int(m[2]) - 12}.model.{int(m[3]) // 4}.conv",
    ),
    (r"decoder_(.)\.mlp\.(\d+)", lambda m: f"{m[1]}.mlp.model.{int(m[2]) // 2}.fc"),
    (r"decoder_(.)\.blocks\.(\d+)\.first\.1", _places("{}.dec.model.0.model.{}.model.0.conv")),
    (r"decoder_(.)\.blocks\.(\d+)\.second\.1", _places("{}.dec.model.0.model.{}.model.1.conv")),
    (r"decoder_(.)\.layers\.(2|7)", lambda m: f"{m[1]}.dec.model.{2 if m[2] == '2' else 4}.conv"),
    (r"decoder_(.)\.layers\.(3|8)", lambda m: f"{m[1]}.dec.model.{2 if m[2] == '3' else 4}.norm"),
    (r"decoder_(.)\.layers\.11", _places("{}.dec.model.5.conv")),
)
_DRIT: Sequence[Rule] = (
    (r"content_encoder\.shared\.layers\.(\d)", _places("enc_c.conv_share.0.model.{}")),
    (r"content_encoder\.domains\.(.)\.(\d+)", lambda m: f"enc_c.conv{m[1].upper()}.{(int(m[2]) + 1) // 4}.model.1"),
    (
        r"content_encoder\.domains\.(.)\.(\d+)\.layers\.(\d)",
        lambda m: f"enc_c.conv{m[1].upper()}.{int(m[2]) - 8}.model.{m[3]}",
    ),
    (r"attribute_encoder_(.)\.layers\.1", lambda m: f"enc_a.conv_{m[1].upper()}.1"),
    (
        r"attribute_encoder_(.)\.layers\.(\d)\.layers\.(2|5)",
        lambda m: f"enc_a.conv_{m[1].upper()}.{m[2]}.conv.{'2' if m[3] == '2' else '4.1'}",
    ),
    (r"attribute_encoder_(.)\.layers\.(\d)\.shortcut\.1", lambda m: f"enc_a.conv_{m[1].upper()}.{m[2]}.shortcut.1"),
    (r"attribute_encoder_(.)\.mean", lambda m: f"enc_a.fc_{m[1].upper()}.0"),
    (r"attribute_encoder_(.)\.log_variance", lambda m: f"enc_a.fcVar_{m[1].upper()}.0"),
    (r"attribute_encoder_(.)\.encoder\.layers\.(\d+)", _places("enc_a.model_{}.{}")),
    (r"attribute_encoder_(.)\.encoder\.last", _places("enc_a.model_{}.16")),
    (r"decoder\.shared\.layers\.(\d)", _places("gen.dec_share.0.model.{}")),
    (
        r"decoder\.domains\.(.)\.stages\.0\.(\d)\.layers\.(\d)",
        lambda m: f"gen.dec{m[1].upper()}1.{m[2]}.model.{m[3]}",
    ),
    (
        r"decoder\.domains\.(.)\.stages\.([12])\.(\d)",
        lambda m: f"gen.dec{m[1].upper()}{int(m[2]) + 1}.0.model.{m[3]}",
    ),
    (r"decoder\.domains\.(.)\.stages\.3\.0", lambda m: f"gen.dec{m[1].upper()}4.0"),
    (r"decoder\.domains\.(.)\.mlp\.(\d)", lambda m: f"gen.mlp{m[1].upper()}.{m[2]}"),
    (
        r"decoder\.domains\.(.)\.blocks\.(\d)\.convolutions\.(\d)\.1",
        lambda m: f"gen.dec{m[1].upper()}{int(m[2]) + 1}.conv{int(m[3]) + 1}.0.1",
    ),
    (
        r"decoder\.domains\.(.)\.blocks\.(\d)\.mixes\.(\d)\.(\d)",
        lambda m: f"gen.dec{m[1].upper()}{int(m[2]) + 1}.blk{int(m[3]) + 1}.{m[4]}",
    ),
    (
        r"decoder\.domains\.(.)\.layers\.([0134])",
        lambda m: f"gen.dec{m[1].upper()}5.{int(m[2]) // 3}.model.{int(m[2]) % 3}",
    ),
    (r"decoder\.domains\.(.)\.layers\.6", lambda m: f"gen.dec{m[1].upper()}5.2"),
)


def munit_name(ours: str) -> str:
    """The authors' key of a tensor of our `MUNIT`, which calls the layer norm's parameters otherwise."""
    theirs = _name(ours, _MUNIT)
    if theirs.split(".")[-2] != "norm":
        return theirs
    return theirs.replace("norm.weight", "norm.gamma").replace("norm.bias", "norm.beta")


def drit_name(ours: str) -> str:
    """The authors' key of a tensor of our `DRIT`."""
    return _name(ours, _DRIT)


def _name(ours: str, rules: Sequence[Rule]) -> str:
    module, _, leaf = ours.rpartition(".")
    (found,) = [rename(match) for pattern, rename in rules if (match := re.fullmatch(pattern, module))]
    return f"{found}.{leaf}"
