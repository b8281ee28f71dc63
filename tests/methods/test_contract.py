"""What every method and every YAML must do; both are found by themselves."""

import copy
import functools
import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, make_idx, make_labelled, make_paired, make_single, make_unpaired

from cut.build import build_method, build_trainer, load_translator
from cut.build import read_config as read_anew
from cut.methods import find_translator, known_methods, trained_methods
from cut.runtime.seeding import random_state
from cut.runtime.sharding import Shard
from cut.storage.checkpoint import INFERENCE_FILE
from cut.train.health import judge, to_numbers
from cut.train.run_dir import open_run
from cut.train.step import Piece

read_config = functools.cache(read_anew)  # the same YAMLs are asked for hundreds of times
CONFIGS = REPOSITORY / "configs"
# The folders whose YAMLs each overlay makes small.
OVERLAYS = {
    "earth2map_64_cpu": ("methods/*", "ablations/*"),
    "facades_128_cpu": ("pix2pix_objectives/*",),
    "earth2map_128_cpu": ("earth2map_cut",),
    "facades_unpaired_cpu": ("earth2map_cut",),
}
ALONE = [(path,) for path in sorted(CONFIGS.rglob("*.yaml")) if path.parent.name != "overlays"]
OVERLAID = [
    (path, CONFIGS / "overlays" / f"{name}.yaml")
    for name, patterns in OVERLAYS.items()
    for pattern in patterns
    for path in sorted(CONFIGS.glob(f"{pattern}.yaml"))
]
# Of the tricks for few pictures, the YAMLs whose settings no other YAML has.
TRICKS = ("spectral_hinge", "together")
# What --config is given, a YAML or two; an overlay changes sizes only, so that one run stands for all of it.
RUNS = [
    *(
        paths
        for paths in ALONE
        if read_config(paths).method.name in trained_methods()
        and (paths[0].parent.name != "few_pictures" or paths[0].stem in TRICKS)
    ),
    *{overlay: (path, overlay) for path, overlay in OVERLAID}.values(),
]
SHRINK = (
    "data.num_workers=0",
    "train.accelerator=cpu",
    "train.max_steps=2",
    "train.checkpoint_every_steps=1",
    "train.keep_checkpoints=2",
    "train.num_samples=1",
    "train.tensorboard=false",
    "eval=null",
    "start=null",
)
# What makes each kind of section tiny, by its name.
SMALL_SECTIONS = {
    ("generator", "resnet"): {"base_channels": 4, "num_blocks": 4},
    ("generator", "unet"): {"base_channels": 2, "image_px": 64},  # the smallest with a level that has dropout
    ("generator", "stylegan2"): {"base_channels": 4, "num_blocks": 4},
    ("discriminator", "stylegan2"): {"base_channels": 4},
    ("discriminator", "patch"): {"base_channels": 4, "num_layers": 2, "receptive_field_px": "null"},
    ("discriminator", "pixel"): {"base_channels": 4},
    ("discriminator", "projected"): {"base_channels": 4, "mixed_channels": 4, "features": "random"},
    ("data", "unpaired"): {"load_px": 36, "crop_px": 32},
    ("data", "paired"): {"load_px": 72, "crop_px": 64},
    ("method", "cut"): {"num_patches": 20, "head_channels": 16},
    ("method", "enco"): {"num_patches": 20, "head_channels": 16, "layer_pairs": "[[3, -4], [7, -8], [13, 14]]"},
    ("method", "dclgan"): {"num_patches": 20, "head_channels": 16, "similarity_channels": 8},
    ("method", "unsb"): {
        "num_timesteps": 2,
        "num_patches": 20,
        "head_channels": 16,
        "nce_layers": "[0, 4, 8, 12]",
        "generator.base_channels": 2,
        "generator.num_blocks": 1,
        "discriminator.base_channels": 2,
        "discriminator.num_layers": 1,
    },
    ("method", "dcgan"): {"generator.base_channels": 2, "discriminator.base_channels": 2},
    ("method", "munit"): {
        "generator.base_channels": 2,
        "generator.num_blocks": 1,
        "generator.mlp_channels": 8,
        "discriminator.base_channels": 2,
        "discriminator.num_scales": 2,
    },
    ("method", "drit"): {
        "generator.base_channels": 2,
        "discriminator.base_channels": 2,
        "discriminator.num_scales": 2,
        "content_discriminator_layers": 0,
    },
    ("method", "biggan"): {
        "generator.base_channels": 2,
        "generator.latent_part": 2,
        "generator.shared_dim": 3,
        "discriminator.base_channels": 2,
    },
    ("method", "deepi2i"): {
        "adaptor_steps": 1,
        "generator.base_channels": 2,
        "generator.latent_part": 2,
        "generator.shared_dim": 3,
        "discriminator.base_channels": 2,
    },
    ("data", "labelled"): {"load_px": 32, "crop_px": 32},
    ("method", "wct2_decoder"): {"base_channels": 2, "vgg": "random"},
    ("data", "images"): {"load_px": 36, "crop_px": 32},
    ("data", "single"): {"crop_px": 16, "crops_per_epoch": 8},
}
# Writes tiny data of each kind into a folder; returns the settings that lead there.
DATA = {
    "unpaired": lambda folder: {"root": make_unpaired(folder, count=6)},  # three batches of two have three distances
    "paired": lambda folder: {"root": make_paired(folder)},
    "idx": lambda folder: {"root": make_idx(folder)},
    "labelled": lambda folder: {"root": make_labelled(folder)},
    "images": lambda folder: {"root": make_unpaired(folder) / "trainA"},
    "single": make_single,
}


def run_id(paths):
    return " + ".join(path.relative_to(CONFIGS).as_posix() for path in paths)


def shrink(config):
    """The settings that make this config tiny."""
    settings = [f"data.batch_size={min(config.data.batch_size, 2)}"]
    for section in ("method", "generator", "discriminator", "data"):
        name = getattr(getattr(config, section), "name", None)
        small = SMALL_SECTIONS.get((section, name), {})
        settings += [f"{section}.{key}={value}" for key, value in small.items()]
    return [*SHRINK, *settings]


def tiny_config(paths, folder, *overrides):
    config = read_config(paths)
    data = [f"data.{key}={value}" for key, value in DATA[config.data.name](folder).items()]
    return read_anew(paths, [*shrink(config), *data, *overrides])


def decisive(settings):
    """What of a nest of settings decides which code runs: of a weight or a rate, whether it is 0."""
    if isinstance(settings, dict):
        return {key: decisive(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return list(map(decisive, settings))
    return bool(settings) if isinstance(settings, float) else settings


def leaves(settings, prefix=""):
    """The dotted keys of a nest of settings, with their values as text."""
    if not isinstance(settings, dict):
        return {(prefix, json.dumps(settings))}
    return {leaf for key, value in settings.items() for leaf in leaves(value, f"{prefix}.{key}")}


@functools.cache
def groups():
    """Runs that, made tiny, differ in weights, places of data and lengths alone, by what else they say."""
    found = {}
    for paths in RUNS:
        tiny = read_anew(paths, shrink(read_config(paths))).to_dict()
        data = {k: v for k, v in tiny["data"].items() if k not in ("root", "a", "b", "direction")}
        networks = {k: v for k, v in tiny.items() if k in ("method", "generator", "discriminator")}
        settings = {"data": data, "ema": tiny["train"]["ema_decay"], tiny["method"]["name"]: networks}
        settings |= {k: v for k, v in tiny.items() if k not in (*networks, "data", "train", "schedule")}
        found.setdefault(frozenset(leaves(decisive(settings))), []).append(paths)
    return found


def behaviours():
    """One run of each group."""
    return [pytest.param(runs[0], id=" = ".join(map(run_id, runs))) for runs in groups().values()]


def representatives():
    """As few of them as have, between them, each setting of each method, of data and of the average."""
    left, chosen = set().union(*groups()), []
    while left:
        chosen.append(max(groups(), key=lambda settings: len(settings & left)))
        left -= chosen[-1]
    return [pytest.param(groups()[settings][0], id=run_id(groups()[settings][0])) for settings in chosen]


def inference_input(method, config):
    if "image" not in method.inputs:
        return method.latents(2, torch.Generator().manual_seed(0))
    channels, size = next(iter(config.data.channels.values())), config.data.crop_px
    return torch.linspace(-1, 1, channels * size**2).view(1, channels, size, size)


def snapshot(network):
    state = network.state_dict()  # `deepcopy` takes ten times as long for a tensor
    return {k: v.clone() if isinstance(v, torch.Tensor) else copy.deepcopy(v) for k, v in state.items()}


def differing(before, after):
    return {key for key in before if not equal(before[key], after[key])}


def equal(one, other):
    """Of tensors, and of the lists, dicts and plain values that extra state is made of."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if not isinstance(one, list | tuple):
        return one == other
    return len(one) == len(other) and all(map(equal, one, other))


def test_every_method_has_a_config_that_names_it():
    for name in known_methods():
        assert find_translator(name).Config.model_fields["name"].default == name


def test_every_method_has_a_yaml():
    assert {read_config(paths).method.name for paths in ALONE} == set(known_methods())


@pytest.mark.parametrize("paths", ALONE, ids=run_id)
def test_yaml_opens_with_its_command(paths):
    comment = [line for line in paths[0].read_text().splitlines() if line.startswith("#")]
    program = "cut-train" if read_config(paths).method.name in trained_methods() else "cut-test"
    command = f"{program} --config {paths[0].relative_to(REPOSITORY).as_posix()}"
    if paths[0].parent.name == "recipes":  # for folders of the user's own
        command = f"cut-train --data mydata --recipe {paths[0].stem}"
    assert command in " ".join(comment)


def test_every_overlay_goes_over_a_folder_and_opens_with_a_command_for_each():
    assert {path.stem for path in (CONFIGS / "overlays").glob("*.yaml")} == set(OVERLAYS)
    for name, patterns in OVERLAYS.items():
        overlay = f"configs/overlays/{name}.yaml"
        text = (REPOSITORY / overlay).read_text()
        for pattern in patterns:
            found = pattern.replace("*", r"\w+")
            shown = re.findall(rf"#   cut-train --config (configs/{found}\.yaml) --config {overlay}\n", text)
            assert len(shown) == 1 and (REPOSITORY / shown[0]).is_file()


def check_each_player(trainer, batch):
    """Each changes only its own networks."""
    players = trainer.players
    for player in players:
        trainer.update_players.players = (player,)
        before = snapshot(trainer.method)
        trainer.train_step(batch)
        own = {id(p) for network in player.networks for p in network.parameters()}
        names = {name for name, parameter in trainer.method.named_parameters() if id(parameter) in own}
        assert differing(before, snapshot(trainer.method)) & dict(trainer.method.named_parameters()).keys() <= names
    trainer.update_players.players = players


@pytest.mark.parametrize("path", behaviours())
def test_steps_change_exactly_the_players_parameters_and_judging_them_nothing(path, tmp_path):
    trainer = build_trainer(tiny_config(path, tmp_path / "data"))
    check_each_player(trainer, next(trainer.batches(1)))
    changed, trainer.losses.sums = set(), {}
    size = trainer.config.data.crop_px
    for batch in trainer.batches(trainer.step + 2):  # in the first there may be no earlier image to learn from
        assert batch and all(images.shape[2:] == (size, size) for images in batch.values() if images.dim() == 4)
        before = snapshot(trainer.method)
        trainer.train_step(batch)
        changed |= differing(before, snapshot(trainer.method))  # a second step may take the first one back
    trainable = {name for name, parameter in trainer.method.named_parameters() if parameter.requires_grad}
    owned = {id(p) for player in trainer.players for network in player.networks for p in network.parameters()}
    names = {name for name, parameter in trainer.method.named_parameters() if id(parameter) in owned}
    assert changed & trainable == names == trainable
    assert trainer.losses.sums and all(torch.isfinite(value) for value in trainer.losses.sums.values())
    assert {key.split("/")[1] for key in trainer.losses.sums} == {player.name for player in trainer.players}
    check_judging(trainer, batch)


def check_judging(trainer, batch):
    """It changes nothing and gives shares."""
    pieces = [Piece(batch, Shard(len(batch)), trainer.method.translate(batch))]
    before, streams = snapshot(trainer.method), random_state()
    figures = to_numbers(judge(trainer.method, pieces, trainer.fabric, trainer.processes))
    assert not differing(before, snapshot(trainer.method)) and equal(streams["torch"], random_state()["torch"])
    assert bool(figures) == any(player.name == "discriminator" for player in trainer.players)
    assert all(0.0 <= share <= 1.0 for share in figures.values())


@pytest.mark.parametrize("path", representatives())
def test_a_resumed_run_equals_a_straight_one_bit_for_bit_and_its_files_translate_as_it_does(path, tmp_path):
    config, run = tiny_config(path, tmp_path / "data"), tmp_path / "run"
    straight = build_trainer(config)
    open_run(straight, run, resume=False)
    straight.fit(run)
    last = run / "checkpoints" / "step_00000002.pt"
    last.unlink()  # as if the process had been killed before it was written

    torch.rand(7)  # the streams of the new process are elsewhere
    resumed = build_trainer(config)
    assert "going on from step 1 of 2" in open_run(resumed, run, resume=False)
    resumed.fit(run)
    assert not differing(snapshot(straight.method), snapshot(resumed.method))
    check_files(resumed, run / INFERENCE_FILE, last)


def check_files(trainer, *files):
    """They translate as the trained method does."""
    image = inference_input(trainer.method, trainer.config)
    trainer.method.prepare_inference(deterministic=True)
    for file in files:
        method, config = load_translator(file, deterministic=True)
        assert config == trainer.config
        averaged = trainer.ema.applied(trainer.method) if trainer.ema else nullcontext()
        with averaged, torch.inference_mode():
            own = trainer.method.translations()
            assert torch.equal(method(image), own["ab"](image))
            for name, translate in method.translations().items():
                assert torch.equal(translate(image), own[name](image))


@pytest.mark.parametrize("name", trained_methods())
def test_a_deterministic_run_gives_the_same_weights_twice(name, tmp_path, switches):
    path = next(path for path in ALONE if read_config(path).method.name == name)
    config = tiny_config(path, tmp_path / "data", "train.deterministic=true")
    weights = []
    for count in range(2):
        torch.rand(count)  # whatever was drawn before
        trainer = build_trainer(config)
        assert torch.are_deterministic_algorithms_enabled()
        for batch in trainer.batches(2):
            trainer.train_step(batch)
        weights.append(snapshot(trainer.method))
    assert not differing(*weights)


def test_inference_file_holds_the_generator_alone_and_the_colours_where_they_are_matched(tmp_path):
    from safetensors import safe_open

    path = Path(REPOSITORY / "configs" / "quickstart.yaml")
    for name, more in (("matched", {"colour_match"}), ("plain", set())):
        settings = () if more else ("data.match_colours=false",)
        build_trainer(tiny_config(path, tmp_path / f"{name}_data", *settings)).save(tmp_path / name)
        with safe_open(tmp_path / name / INFERENCE_FILE, framework="pt") as file:
            assert {key.split(".")[0] for key in file.keys()} == {"generator"} | more  # noqa: SIM118


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    path = REPOSITORY / "configs" / "quickstart.yaml"
    builds = []
    for index, seed in enumerate((1, 1, 2)):
        config = tiny_config(path, tmp_path / str(index), f"seed={seed}")
        builds.append(snapshot(build_trainer(config).method))
    assert not differing(builds[0], builds[1])
    assert differing(builds[0], builds[2])
    assert build_method(config).config.name == "cut"
