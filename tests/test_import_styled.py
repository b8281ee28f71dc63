"""Public files of MUNIT and DRIT, with random weights under the authors' keys (golden/munit_drit_layers.pt)."""

import pytest
import torch

from cut.build import load_translator
from cut.cli.test import main
from cut.errors import UserError
from cut.import_weights import import_generator
from cut.storage.checkpoint import save_inference_file

SETTINGS = {
    "munit": {"base_channels": 2, "num_blocks": 2, "style_dim": 4, "mlp_channels": 8},
    "drit_concat": {"injection": "concat", "base_channels": 2, "attribute_dim": 4},
    "drit_feature": {"injection": "feature", "base_channels": 2, "attribute_dim": 4},
}


@pytest.fixture
def content(golden):
    """What a file of that kind holds, and where each tensor belongs in our method."""

    def make(kind):
        layers, draw = golden("munit_drit_layers"), torch.Generator().manual_seed(0)
        names = layers[f"{kind}_names"]
        tensors = {theirs: torch.randn(shape, generator=draw) for theirs, (_, shape) in names.items()}
        nested = {}
        for theirs, tensor in tensors.items():
            network, _, key = theirs.partition(".")
            nested.setdefault(network, {})[key] = tensor
        if kind == "munit":  # statistics that its adaptive norms hold and never use
            for key in layers["munit_leftover"]:
                network, _, leaf = key.partition(".")
                nested[network][leaf] = torch.zeros(8) if key.endswith("mean") else torch.ones(8)
        else:  # the rest of a training
            optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]}
            nested |= {"disA": {"Diss.0.0.model.1.weight": torch.zeros(2, 3, 4, 4)}, "gen_opt": optimizer}
            nested |= {"ep": 3, "total_it": 900}
        return nested, {ours: tensors[theirs] for theirs, (ours, _) in names.items()}

    return make


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_tensor_arrives_where_it_belongs(kind, content, tmp_path):
    nested, expected = content(kind)
    torch.save(nested, tmp_path / "gen_00500000.pt")
    method, config, line = import_generator(tmp_path / "gen_00500000.pt")
    assert config.method.name == kind.partition("_")[0] and f"taken as {config.method.name}" in line
    assert config.method.generator.model_dump() == SETTINGS[kind]
    ours = method.state_dict()
    inference = {f"{name}.{key}" for name, part in method.inference_networks().items() for key in part.state_dict()}
    assert inference == expected.keys()
    assert all(torch.equal(ours[key], tensor.reshape(ours[key].shape)) for key, tensor in expected.items())


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_converted_file_translates_both_ways_as_the_import_does(kind, content, tmp_path):
    torch.save(content(kind)[0], tmp_path / "gen.pt")
    method, config, _ = import_generator(tmp_path / "gen.pt")
    save_inference_file(tmp_path / "g.safetensors", method.inference_networks(), config.to_dict(), step=0)
    again, stored = load_translator(tmp_path / "g.safetensors")
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    method.prepare_inference()
    assert stored == config and set(again.directions()) == {"ab", "ba"}
    for name, translate in again.directions().items():
        assert torch.equal(translate(image), method.directions()[name](image))


def test_a_config_must_agree_with_the_file(content, tmp_path):
    torch.save(content("munit")[0], tmp_path / "gen.pt")
    config = tmp_path / "mine.yaml"
    sizes = "base_channels: 2, num_blocks: 2, style_dim: {}, mlp_channels: 8"
    text = "method: {{name: munit, generator: {{" + sizes + "}}, lambda_cycle: 0.0}}\n"
    text += "data: {{name: unpaired, root: nowhere, direction: BtoA}}\n"
    config.write_text(text.format(4))
    _, resolved, _ = import_generator(tmp_path / "gen.pt", config)
    assert resolved.method.lambda_cycle == 0.0 and resolved.data.direction == "AtoB"
    config.write_text(text.format(5))
    with pytest.raises(UserError, match="method.generator.style_dim is 4 in the file, but 5 in the config"):
        import_generator(tmp_path / "gen.pt", config)
    config.write_text("method: {name: cyclegan}\ndata: {name: unpaired, root: nowhere}\n")
    with pytest.raises(UserError, match="cyclegan has no such generator as .* MUNIT's networks of 2 blocks"):
        import_generator(tmp_path / "gen.pt", config)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda nested: nested["a"].pop("mlp.model.2.fc.bias"), "missing: a.mlp.model.2.fc.bias"),
        (lambda nested: nested["b"].pop("enc_style.model.2.conv.weight"), "missing: b.enc_style.model.2.conv.weight"),
        (lambda nested: nested["a"].update(more=torch.zeros(2)), "unknown: a.more"),
        (lambda nested: nested["b"].update({"dec.model.5.conv.bias": torch.zeros(4)}), r"other shape: b.dec.model.5"),
        (lambda nested: nested["a"].pop("mlp.model.0.fc.weight"), "without a.mlp.model.0.fc.weight"),
        (lambda nested: nested["a"].update({"mlp.model.0.fc.bias": torch.full((8,), torch.inf)}), "not finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(damage, message, content, tmp_path):
    nested, _ = content("munit")
    damage(nested)
    torch.save(nested, tmp_path / "gen.pt")
    with pytest.raises(UserError, match=message) as error:
        import_generator(tmp_path / "gen.pt")
    assert "\n" not in str(error.value)


def test_discriminators_of_munit_are_told_as_such(tmp_path):
    half = {"cnns.0.0.conv.weight": torch.zeros(2, 3, 4, 4)}
    torch.save({"a": half, "b": half}, tmp_path / "dis_00500000.pt")
    with pytest.raises(UserError, match="MUNIT's discriminators, which only training uses"):
        import_generator(tmp_path / "dis_00500000.pt")


def test_cut_test_translates_with_a_public_file(content, tmp_path, unpaired, capsys):
    torch.save(content("drit_concat")[0], tmp_path / "00999.pth")
    arguments = ["--import", str(tmp_path / "00999.pth"), "--input", str(unpaired / "testA")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--num-outputs", "2", "--output", str(tmp_path / "out"), "--accelerator", "cpu"])
    assert not ended.value.code and len(list((tmp_path / "out").glob("*.png"))) == 8
    assert "DRIT's networks of 2 channels, attributes of 4 numbers (concat)" in capsys.readouterr().out
