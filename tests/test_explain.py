"""A config explains itself: each field has a text, and --print-config prints it."""

import pytest
from conftest import REPOSITORY
from pydantic import AfterValidator

from cut.build import read_config
from cut.config import RunConfig
from cut.config.explain import to_explained_yaml
from cut.config.load import _models_in
from cut.methods import find_translator, known_methods


def sections():
    """Every section of a config and of every method's."""
    waiting, found = [RunConfig, *(find_translator(name).Config for name in known_methods())], []
    while waiting:
        section = waiting.pop()
        if section not in found:
            found.append(section)
            waiting += [model for field in section.model_fields.values() for model in _models_in(field.annotation)]
    return found


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_every_field_has_a_text_of_one_line(section):
    for name, field in section.model_fields.items():
        assert field.description and "\n" not in field.description, f"{section.__name__}.{name}"


def test_every_setting_that_is_a_text_is_a_name_or_marked_as_a_path():
    """So that `~` works in it."""
    texts = {
        name
        for section in sections()
        for name, field in section.model_fields.items()
        if field.annotation in (str, str | None) and not any(isinstance(m, AfterValidator) for m in field.metadata)
    }
    assert texts == {"name", "split", "best", "column", "subset", "revision"}


def test_all_sections_are_looked_at():
    names = {section.__name__ for section in sections()}
    assert {"CUTConfig", "FocalConfig", "VGG16DiscriminatorConfig", "PlateauScheduleConfig", "EvalConfig"} <= names


@pytest.mark.parametrize(
    "name", ["quickstart", "mnist_resnet_vgg16", "monet_etretat_sincut", "facades_pix2pix_cpu", "horse2zebra_cyclegan"]
)
def test_a_printed_config_has_comments_and_reads_back_the_same(tmp_path, name):
    config = read_config(REPOSITORY / f"configs/{name}.yaml")
    text = to_explained_yaml(config)
    (tmp_path / "again.yaml").write_text(text)
    assert read_config(tmp_path / "again.yaml") == config
    assert "#   max_steps: Step to stop at, although the schedule goes on." in text
    lines = text.splitlines()
    assert lines[lines.index("  # Learning rate (alpha), before the schedule.") + 1] == f"  lr: {config.optim.lr}"
    assert max(len(line) for line in lines if line.lstrip().startswith("#")) <= 120


def test_values_and_texts_of_a_users_own_stay_where_they_belong(tmp_path):
    (tmp_path / "odd.yaml").write_text('method: {name: cut}\ndata: {root: "x # y: {\\n\'é"}\n')
    config = read_config(tmp_path / "odd.yaml")
    (tmp_path / "again.yaml").write_text(to_explained_yaml(config))
    assert read_config(tmp_path / "again.yaml").data.root == "x # y: {\n'é"
