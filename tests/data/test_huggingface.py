"""Data sets of Hugging Face: the same samples as of folders. Skipped where the package `datasets` is not installed."""

import copy
import pickle
import sys

import pytest
import torch
from programs import inside, told
from safetensors.torch import load_file

from cut.build import build_trainer, read_config
from cut.config import HuggingFaceDataConfig, UnpairedDataConfig
from cut.data.huggingface import HuggingFaceStream, import_datasets
from cut.data.loader import batches
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError


def write_table(path, cells):
    """A Parquet file with a column of pictures, as the hub has them, and one of numbers."""
    from pyarrow import parquet, table

    parquet.write_table(table({"image": cells, "number": list(range(len(cells)))}), path)


@pytest.fixture
def tables(unpaired):
    """The pictures of `unpaired` as Parquet files, in the order of their names, as they are on the disk."""
    try:
        datasets = import_datasets("data.a")
    except UserError:
        pytest.skip("the package datasets is not installed")
    for domain in "AB":
        paths = sorted((unpaired / f"train{domain}").iterdir())
        write_table(unpaired / f"{domain}.parquet", [{"bytes": p.read_bytes(), "path": p.name} for p in paths])
        whole = datasets.load_dataset("parquet", data_files=str(unpaired / f"{domain}.parquet"), split="train")
        whole.save_to_disk(str(unpaired / f"saved{domain}"))
    return {domain.lower(): {"path": str(unpaired / f"{domain}.parquet")} for domain in "AB"}


def stream_of(tables, **settings):
    settings = {"load_px": 36, "crop_px": 32, "num_workers": 0, **settings}
    return HuggingFaceStream(HuggingFaceDataConfig(**copy.deepcopy(tables), **settings), seed=3)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_samples_are_those_of_the_same_files_in_folders(tables, unpaired, direction):
    folders = UnpairedDataConfig(root=str(unpaired), load_px=36, crop_px=32, direction=direction)
    stream, files = stream_of(tables, direction=direction), UnpairedStream(folders, seed=3)
    assert all(equal(stream[n], files[n]) for n in range(12))
    assert all(equal(pickle.loads(pickle.dumps(stream))[n], files[n]) for n in range(2))
    by_two = list(batches(stream, 1, range(6), 2))
    assert all(torch.equal(batch["real_a"][0], files[n]["real_a"]) for n, batch in enumerate(by_two))


def test_saved_folder_part_of_a_split_and_gray(tables, unpaired):
    whole, saved = stream_of(tables), stream_of({d: {"path": str(unpaired / f"saved{d.upper()}")} for d in "ab"})
    assert all(equal(whole[n], saved[n]) for n in range(4))
    part = stream_of({domain: table | {"split": "train[:3]"} for domain, table in tables.items()}, channels_a=1)
    assert part.num_pictures == 3 and part[0]["real_a"].shape == (1, 32, 32)
    assert [len(part.fixed_samples(count)) for count in (2, 9)] == [2, 3]
    assert part.fixed_samples(1)[0]["name"] == "row 0"
    assert part.notes()[0] == f"{tables['a']['path']}[train[:3]]: 3 pictures"


def test_list_of_pictures_changes_with_them(tables):
    assert stream_of(tables).picture_list() == stream_of(tables).picture_list()
    other = stream_of(tables | {"b": tables["a"]}).picture_list()
    assert stream_of(tables).picture_list()["a"] == other["a"] == other["b"] != stream_of(tables).picture_list()["b"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"column": "imag"}, r"data.a.column: .*A.parquet\[train\] has no column 'imag'.*image.*there: image, number"),
        ({"column": "number"}, "data.a.column: .*'number' holds no pictures"),
        ({"path": "/nowhere/missing"}, "data.a: /nowhere/missing: cannot be loaded, split train"),
        ({"path": __file__}, r"data.a.path: .*no data set; a file must end in .parquet"),
    ],
)
def test_mistakes_are_one_line(tables, table, expected, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=expected) as caught:
        stream_of(tables | {"a": tables["a"] | table})
    assert "\n" not in str(caught.value)


def test_broken_picture_names_its_row(unpaired, tables):
    path = unpaired / "trainA" / "2.png"
    path.write_bytes(path.read_bytes()[:100])
    write_table(unpaired / "broken.parquet", [{"bytes": path.read_bytes(), "path": None}, None])
    stream = stream_of(tables | {"a": {"path": str(unpaired / "broken.parquet")}})
    errors = {str(error) for error in map(stream.__getitem__, range(8)) if isinstance(error, UserError)}
    assert any("broken.parquet[train], row 0: cannot be read as a picture" in error for error in errors)
    assert any("broken.parquet[train], row 1: holds no picture" in error for error in errors)


def test_trains_and_resumes_bit_for_bit(tiny_yaml, tables, tmp_path, capsys):
    settings = [
        f"data={{name: huggingface, a: {tables['a']}, b: {tables['b']}, load_px: 36, crop_px: 32, num_workers: 0}}"
    ]
    settings = [*settings, "train.tensorboard=false"]
    words = [word for setting in settings for word in ("--set", setting)]
    for stop in (2, 4):
        steps = ("--set", f"train.max_steps={stop}", "--resume")
        inside("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run", *words, *steps)
    assert "A.parquet[train]: 4 pictures" in capsys.readouterr().err
    straight = build_trainer(read_config(tiny_yaml, settings))
    for batch in straight.batches(4):
        straight.train_step(batch)
    resumed = load_file(tmp_path / "run" / "generator.safetensors")
    for key, tensor in straight.method.generator.state_dict().items():
        assert torch.equal(tensor, resumed[f"generator.{key}"])
    for wrong in ("eval={every_steps: 2, metrics: [ssim]}", "method.lambda_paired=1"):
        message = told("train", "--config", tiny_yaml, "--run-dir", tmp_path / "other", *words, "--set", wrong)
        assert "huggingface" in message


def test_missing_package_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"data.a: needs the package datasets; run: pip install 'cut\[huggingface\]'"):
        stream_of({"a": {"path": "x.parquet"}, "b": {"path": "y.parquet"}})
