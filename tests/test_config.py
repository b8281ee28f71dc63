"""Configs: what is read, and what a mistake is told."""

from operator import attrgetter

import pytest
from conftest import REPOSITORY

from cut.build import read_config
from cut.config.load import changed_keys, changes_of_run
from cut.errors import UserError


def write(path, text):
    path.write_text(text)
    return path


MINIMAL = "method: {name: cut}\ndata: {root: somewhere}\n"


def test_defaults_are_the_papers(tmp_path):
    config = read_config(write(tmp_path / "a.yaml", MINIMAL))
    assert config.method.nce_layers == (0, 4, 8, 12, 16) and config.method.num_patches == 256
    assert config.method.temperature == 0.07 and config.method.nce_idt
    assert (config.generator.base_channels, config.generator.num_blocks, config.generator.norm) == (64, 9, "instance")
    assert (config.optim.lr, config.optim.betas) == (2e-4, (0.5, 0.999))
    assert (config.data.load_px, config.data.crop_px, config.data.batch_size) == (286, 256, 1)
    assert (config.schedule.constant_epochs, config.schedule.decay_epochs) == (200, 200)


def test_the_method_chooses_networks_and_data_that_a_yaml_leaves_out(tmp_path):
    config = read_config(write(tmp_path / "a.yaml", "method: {name: pix2pix}\ndata: {root: somewhere}\n"))
    assert (config.data.name, config.generator.name, config.discriminator.norm) == ("paired", "unet", "batch")
    assert (config.method.lambda_l1, config.method.gan_loss, config.method.conditional) == (100.0, "vanilla", True)
    assert (config.generator.image_px, config.generator.norm, config.generator.dropout) == (256, "batch", 0.5)
    assert not config.discriminator.antialias and config.discriminator.receptive_field_px == 70
    assert {config.generator.init, config.discriminator.init} == {"normal"}


def test_written_config_reads_back_the_same(tmp_path):
    config = read_config(write(tmp_path / "a.yaml", MINIMAL), ["method.nce_loss.name=focal"])
    again = read_config(write(tmp_path / "b.yaml", config.to_yaml()))
    assert again == config and again.method.nce_loss.gamma == 2.0


@pytest.mark.parametrize("px, layers", [(1, 0), (16, 1), (70, 3), (142, 4), (286, 5)])
def test_a_receptive_field_and_its_number_of_layers_name_the_same_network(tmp_path, px, layers):
    path = write(tmp_path / "a.yaml", MINIMAL)
    by_field = read_config(path, [f"discriminator.receptive_field_px={px}"]).discriminator
    assert by_field == read_config(path, [f"discriminator.num_layers={layers}"]).discriminator
    assert (by_field.receptive_field_px, by_field.num_layers) == (px, layers)
    both = ["discriminator.num_layers=2", f"discriminator.receptive_field_px={px}"]
    assert read_config(path, [*both, "discriminator.num_layers=null"]).discriminator == by_field


def test_base_is_merged_and_a_renamed_section_starts_anew(tmp_path):
    write(tmp_path / "base.yaml", MINIMAL + "schedule: {name: linear, constant_epochs: 3, decay_epochs: 4}\n")
    child = write(tmp_path / "child.yaml", "base: base.yaml\nschedule: {decay_epochs: 5}\n")
    assert read_config(child).schedule.model_dump()["constant_epochs"] == 3
    other = write(tmp_path / "other.yaml", "base: base.yaml\nschedule: {name: constant, total_steps: 9}\n")
    assert read_config(other).schedule.total_steps == 9


def test_overrides_win_and_may_be_any_yaml(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL)
    config = read_config(path, ["method.nce_layers=[0, 4]", "optim.lr=1e-4", "train.max_steps=null", "data.flip=false"])
    assert config.method.nce_layers == (0, 4) and config.optim.lr == 1e-4
    assert config.train.max_steps is None and config.data.flip is False


CUT = """
method: {name: cut, nce_loss: {name: cross_entropy}}
generator: {name: resnet, num_blocks: 3}
discriminator: {name: patch}
data: {name: unpaired, root: x}
schedule: {name: linear, constant_steps: 1, decay_steps: 1}
"""
DCGAN = """
method: {name: dcgan, generator: {name: dcgan, latent_size: 7}, discriminator: {name: dcgan}}
data: {name: images, root: x}
"""


@pytest.mark.parametrize(
    "text, overrides, value",
    [
        (CUT, ["generator.base_channels=16", "generator.name=unet"], 16),
        (CUT, ["discriminator.norm=batch", "discriminator.name=pixel"], "batch"),
        (CUT, ["data.load_px=300", "data.name=paired", "data.root=y", "method.name=pix2pix"], 300),
        (CUT, ["schedule.total_steps=9", "schedule.name=constant"], 9),
        (CUT, ["method.lambda_cycle_a=3", "method.name=cyclegan"], 3.0),
        (CUT, ["method.nce_loss.gamma=5", "method.nce_loss.name=focal"], 5.0),
        (DCGAN, ["method.generator.base_channels=2", "method.generator.name=resnet"], 2),
        (DCGAN, ["method.discriminator.dropout=0.25", "method.discriminator.name=vgg16"], 0.25),
    ],
)
def test_overrides_of_a_section_that_changes_its_name_count_in_any_order(tmp_path, text, overrides, value):
    path = write(tmp_path / "a.yaml", text)
    config = read_config(path, overrides)
    assert config == read_config(path, overrides[::-1])
    assert attrgetter(overrides[0].partition("=")[0])(config) == value


def test_of_two_overrides_of_one_key_the_last_wins(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL + "eval: {every_steps: 5, metrics: [l1]}\n")
    names = ["generator.name=unet", "generator.base_channels=8", "generator.name=resnet", "generator.base_channels=16"]
    generator = read_config(path, names).generator
    assert (generator.name, generator.base_channels) == ("resnet", 16)
    assert read_config(path, ["eval.every_steps=2", "eval=null"]).eval is None
    afresh = read_config(path, ["eval=null", "eval.every_steps=2"]).eval
    assert (afresh.every_steps, afresh.metrics) == (2, ("fid", "ssim"))
    with pytest.raises(UserError, match="generator.num_blocks: unknown key"):  # and nothing is dropped silently
        read_config(path, ["generator={name: resnet, num_blocks: 3}", "generator.name=unet"])


def test_a_later_yaml_goes_over_an_earlier_one_each_with_its_own_base(tmp_path):
    write(tmp_path / "cut.yaml", CUT)
    write(tmp_path / "small_base.yaml", "generator: {num_blocks: 2, base_channels: 8}\ndata: {load_px: 80}\n")
    child = write(tmp_path / "child.yaml", "base: cut.yaml\ndata: {crop_px: 64}\n")
    small = write(tmp_path / "small.yaml", "base: small_base.yaml\ngenerator: {base_channels: 4}\n")
    config = read_config([child, small], ["data.load_px=72"])
    assert (config.generator.num_blocks, config.generator.base_channels) == (2, 4)
    assert (config.data.root, config.data.load_px, config.data.crop_px) == ("x", 72, 64)
    last = write(tmp_path / "last.yaml", "generator: {num_blocks: 5}\n")
    assert read_config([child, small, last]).generator.num_blocks == 5
    assert read_config([child, last, small]).generator.num_blocks == 2


def test_what_a_yaml_says_under_another_name_is_left_and_the_rest_is_kept(tmp_path):
    cut = write(tmp_path / "cut.yaml", CUT)
    narrow = write(tmp_path / "narrow.yaml", "generator: {base_channels: 4}\n")
    resnet = write(tmp_path / "resnet.yaml", "generator: {name: resnet, num_blocks: 2, base_channels: 6}\n")
    unet = write(tmp_path / "unet.yaml", "generator: {name: unet, dropout: 0.25}\n")
    for files in ([cut, narrow, unet], [cut, unet, narrow], [cut, resnet, narrow, unet]):
        generator = read_config(files).generator
        assert (generator.name, generator.base_channels, generator.dropout) == ("unet", 4, 0.25)
    assert read_config([cut, resnet, unet]).generator.base_channels == 64
    dcgan = write(tmp_path / "dcgan.yaml", DCGAN + "generator: null\ndiscriminator: null\n")
    assert read_config([cut, dcgan]).discriminator is None
    assert read_config([cut, dcgan, cut]).method.nce_loss.name == "cross_entropy"


def test_a_mistake_in_several_yamls_names_them_all(tmp_path):
    files = [write(tmp_path / "a.yaml", MINIMAL), write(tmp_path / "b.yaml", "train: {max_stepz: 2}\n")]
    with pytest.raises(UserError, match=r"a\.yaml \+ .*b\.yaml: train.max_stepz: unknown key; did you mean"):
        read_config(files)


def test_configs_are_frozen(tmp_path):
    config = read_config(write(tmp_path / "a.yaml", MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        config.optim.lr = 1.0


@pytest.mark.parametrize(
    "text, overrides, message",
    [
        (MINIMAL + "generater: {}\n", [], r"generater: unknown key; did you mean 'generator'\?"),
        (
            MINIMAL,
            ["generator.name=unet", "data.crop_px=192"],
            r"data.crop_px: must be a multiple of 256 for this unet generator, got 192; change",
        ),
        (
            MINIMAL,
            ["generator.name=unet", "data.preprocess=none"],
            "data.preprocess: this unet generator needs crops, which none does not make",
        ),
        (MINIMAL, ["discriminator.receptive_field_px=71"], r"receptive_field_px: input should be 1, 16, 34, 70, .*71"),
        (
            MINIMAL,
            ["discriminator={receptive_field_px: 16, num_layers: 3}"],
            r"receptive_field_px \(16\) takes num_layers 1, but num_layers is 3; give one of the two",
        ),
        (MINIMAL, ["method.lambda_nec=2"], r"method.lambda_nec: unknown key; did you mean 'lambda_nce'\?"),
        (MINIMAL, ["generator.ngf=2"], r"generator.ngf: unknown key .*known here: .*base_channels"),
        (MINIMAL, ["discriminator.nam=pixel"], r"discriminator.nam: unknown key; did you mean 'name'\?"),
        (MINIMAL, ["schedule.total_epochs=2"], r"schedule: needs a name \(linear, cosine, step, constant, plateau\)"),
        (MINIMAL, ["discriminator.name=pixal"], r"discriminator.name: no such name 'pixal'; did you mean 'pixel'\?"),
        (MINIMAL, ["discriminator.name=pixel", "discriminator.num_layers=3"], r"discriminator.num_layers: unknown key"),
        (MINIMAL, ["method.name=cutt"], r"method.name: no such method 'cutt'; did you mean 'cut'\?"),
        (MINIMAL, ["method.name=/etc/passwd"], r"method.name: no such method '/etc/passwd' \(known: "),
        (MINIMAL, ["method.name=no.such:Thing"], r"method.name: cannot import 'no.such:Thing'"),
        (MINIMAL, ["method.name=cut.errors:UserError"], r"not a subclass"),
        (MINIMAL, ["method.nce_loss.name=/etc/passwd"], r"method.nce_loss.name: no such name '/etc/passwd'"),
        (MINIMAL, ["method.nce_loss={name: focal, gama: 1}"], r"nce_loss.gama: unknown key; did you mean 'gamma'\?"),
        (MINIMAL, ["optim.lr=fast"], r"optim.lr: input should be a valid number.*got 'fast'"),
        (MINIMAL, ["data.batch_size=0"], r"data.batch_size: input should be greater than or equal to 1, got 0"),
        (MINIMAL, ["method.lambda_gan=0", "method.lambda_nce=0"], r"method: lambda_gan and lambda_nce are both 0"),
        (MINIMAL, ["data.crop_px=30", "data.load_px=30"], r"data.crop_px: input should be a multiple of 4, got 30"),
        (MINIMAL, ["seed=2020-99-99"], r"--set seed=2020-99-99: the value is not YAML"),
        (MINIMAL, ["method.name=.x:Y"], r"method.name: cannot import '.x:Y'"),
        (MINIMAL, ["data.crop_px=300"], r"data: load_px \(286\) must be at least crop_px \(300\)"),
        (MINIMAL, ["data.preprocess=none", "data.batch_size=2"], r"batch_size must be 1"),
        (MINIMAL, ["schedule={name: linear, constant_epochs: 1, decay_steps: 1}"], r"schedule: give the length in one"),
        (
            MINIMAL,
            ["schedule={name: constant}"],
            r"schedule: give the length in one unit, either total_epochs or total_s",
        ),
        (MINIMAL, ["schedule={name: constant, warmup_steps: 5}"], r"schedule: give the length in one unit"),
        (
            MINIMAL,
            ["schedule={name: constant, warmup_steps: 5, total_epochs: 9}"],
            r"schedule: give the warm-up in the unit of the length: warmup_epochs",
        ),
        (MINIMAL, ["train.precision=fp16"], r"train.precision: .*'32-true'.*got 'fp16'"),
        ("method: {name: cut}\n", [], r"data: required, but not given"),
        ("data: {root: x}\n", [], r"method: must be a mapping with a name"),
        ("method: cut\ndata: {root: x}\n", [], r"method: must be a mapping with a name"),
        ("- a\n- b\n", [], r"must be a mapping of settings"),
        ("method: {name: cut\n", [], r"not valid YAML \(line 2"),
        (MINIMAL + "seed: 1\nseed: 2\n", [], r"the key 'seed' stands twice"),
        ("base: missing.yaml\n", [], r"missing.yaml: no such config file"),
        ("base: a.yaml\n", [], r"inherit from each other in a circle"),
        ("!!python/object/apply:os.system ['true']\n", [], r"not valid YAML"),
        (MINIMAL, ["seed"], r"--set seed: write it as key=value"),
        (MINIMAL, ["seed=[1"], r"--set seed=\[1: the value is not YAML"),
    ],
)
def test_a_mistake_is_told_on_one_line(tmp_path, text, overrides, message):
    path = write(tmp_path / "a.yaml", text)
    with pytest.raises(UserError, match=message) as caught:
        read_config(path, overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no such config file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="not valid YAML .byte 128 is not UTF-8; save it as UTF-8"):
        read_config(tmp_path / "b.yaml")
    with pytest.raises(UserError, match="Is a directory"):
        read_config(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_windows_editors_and_shells_write_is_read(tmp_path, encoding):
    """Such as `cut-train --print-config > a.yaml` in PowerShell 5."""
    (tmp_path / "a.yaml").write_bytes(MINIMAL.replace("somewhere", "münze").replace("\n", "\r\n").encode(encoding))
    assert read_config(tmp_path / "a.yaml").data.root == "münze"


@pytest.mark.parametrize("limits", ["[0, .inf]", "[-1.e+308, 1.e+308]", "[0, 1.e-320]"])
def test_a_range_by_which_nothing_can_be_divided_is_refused(tmp_path, limits):
    with pytest.raises(UserError, match="data.range_a"):
        read_config(write(tmp_path / "a.yaml", MINIMAL), [f"data.range_a={limits}"])


def test_changed_keys_are_named_with_both_values():
    before, after = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 5}, "e": 4}
    assert changed_keys(before, after) == ["a.c: 2 -> 5", "d: 3 -> None", "e: None -> 4"]
    assert len(changed_keys({"root": "x" * 5000}, {"root": "y" * 5000})[0]) < 400


def test_a_run_goes_on_with_another_cache_and_other_workers(tiny_yaml):
    before = read_config(tiny_yaml)
    assert changes_of_run(before, read_config(tiny_yaml, ["data.cache_mib=0", "data.num_workers=1"])) == []
    assert changes_of_run(before, read_config(tiny_yaml, ["data.flip=false"])) == ["data.flip: True -> False"]


def test_fastcut_is_cut_with_three_other_settings():
    cut, fastcut = (read_config(REPOSITORY / f"configs/horse2zebra_{name}.yaml").method for name in ("cut", "fastcut"))
    changes = changed_keys(cut.model_dump(), fastcut.model_dump())
    assert changes == ["lambda_nce: 1.0 -> 10.0", "nce_idt: True -> False", "flip_equivariance: False -> True"]


def test_each_trick_for_few_pictures_changes_one_thing_alone():
    folder = REPOSITORY / "configs" / "few_pictures"
    base, rows = read_config(folder / "cut.yaml"), {}
    for path in sorted(folder.glob("*.yaml")):
        rows[path.stem] = changed_keys(base.to_dict(), read_config(path).to_dict())
    assert rows.pop("projected")[0] == "discriminator.name: patch -> projected"
    together = rows.pop("together")
    spectral, matched = "discriminator.spectral_norm: False -> True", "data.match_colours: False -> True"
    assert rows == {
        "cut": [],
        "augment": ["discriminator.augment: [] -> ['color', 'translation', 'cutout']"],
        "r1": ["method.lambda_r1: 0.0 -> 30.0"],
        "spectral": [spectral],
        "spectral_hinge": ["method.gan_loss: lsgan -> hinge_clamped", spectral],
        "match_colours": [matched],
    }
    assert {matched, *rows["augment"], "method.lambda_identity: 0.0 -> 5.0"} <= set(together)
