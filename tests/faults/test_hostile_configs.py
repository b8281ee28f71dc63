"""Configs, overrides and palettes that a stranger or a fuzzer wrote: a value, or one line that says what is wrong."""

import json
import random
import string

import pytest
from conftest import REPOSITORY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cut.build import read_config
from cut.errors import UserError
from cut.scoring.palette import known_palettes, read_palette
from cut.storage.yaml import MAX_BYTES

_FEW, _MANY = 40, pytest.param(600, marks=pytest.mark.soak)
_TEMPLATES = sorted((REPOSITORY / "configs").glob("*.yaml"))
_PALETTES = sorted((REPOSITORY / "cut" / "scoring" / "palettes").glob("*.yaml"))
_MOST_CHARACTERS = 4000  # of a mistake's line
_NASTY = (
    "null true -1 0 1 1e309 .nan .inf -.inf 1e-400 9223372036854775808 0x" + "f" * 5000 + " " + "9" * 5000 + " "
    "2020-99-99 2020-01-01 ~ [] {} [[]] {a:} '\\0' \"\\u0000\" !!binary|a !!python/name:os.system &a *a <<: ? % @ ` "
    "1_000_000_000_000_000 1:30 0o7 0b1 " + "[" * 60 + " " + "x" * 100_000
).split(" ")
_VALUES = st.one_of(
    st.sampled_from(_NASTY),
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.sampled_from(_NASTY[:12]), max_size=4).map(lambda words: f"[{', '.join(words)}]"),
    st.dictionaries(st.sampled_from(["name", "lr", "0", "~"]), st.sampled_from(_NASTY[:12]), max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{k}: {v}" for k, v in pairs.items()) + "}"
    ),
)


def _keys():
    """Dotted keys that are there, and others."""
    config = read_config(REPOSITORY / "configs" / "quickstart.yaml").to_dict()
    sections = [f"{section}.{key}" for section, values in config.items() if isinstance(values, dict) for key in values]
    return st.one_of(st.sampled_from([*config, *sections]), st.text(max_size=12), st.just("a." * 5000 + "a"))


def _answered(read, tally, kind):
    """Whether `read` gave a value; a mistake must be told as one, and briefly."""
    tally[f"hostile inputs: {kind}"] += 1
    try:
        read()
    except UserError as error:
        assert 0 < len(str(error)) < _MOST_CHARACTERS, error  # which the command line makes one line, see below
        return False
    return True


def _fuzz(count, strategy, check):
    """Calls `check` with `count` examples, the same in each run."""
    quiet = settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    quiet(given(strategy)(check))()


@pytest.mark.parametrize("count", [_FEW, _MANY])
def test_any_override_is_taken_or_told(count, tally):
    path = REPOSITORY / "configs" / "quickstart.yaml"
    taken = [0, 0]

    def check(override):
        key, value = override
        taken[_answered(lambda: read_config(path, [f"{key}={value}"]), tally, "overrides")] += 1

    _fuzz(count, st.tuples(_keys(), _VALUES), check)
    assert taken[False] and (taken[True] or count == _FEW), "nothing was refused, or nothing taken"


@pytest.mark.parametrize("count", [_FEW, _MANY])
def test_any_text_as_a_config_is_taken_or_told(count, tally, tmp_path):
    path = tmp_path / "x.yaml"
    names = st.sampled_from("method generator data optim schedule train eval seed base zzz".split())
    lines = st.lists(st.tuples(names, _VALUES).map(": ".join), max_size=6).map("\n".join)

    def check(text):
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        _answered(lambda: read_config(path), tally, "config texts")

    _fuzz(count, st.one_of(st.text(max_size=60), lines), check)


@pytest.mark.parametrize("count", [_FEW, _MANY])
def test_any_damaged_config_is_taken_or_told(count, tally, tmp_path):
    rng, path, taken = random.Random(count), tmp_path / "x.yaml", [0, 0]
    for _ in range(count):
        path.write_bytes(_mutated(rng.choice(_TEMPLATES).read_bytes(), rng))
        taken[_answered(lambda: read_config(path), tally, "damaged configs")] += 1
    assert min(taken) > 0, "nothing was refused, or nothing taken"


@pytest.mark.parametrize("count", [_FEW, pytest.param(300, marks=pytest.mark.soak)])
def test_any_damaged_palette_is_taken_or_told(count, tally, tmp_path):
    assert [path.stem for path in _PALETTES] == list(known_palettes())
    rng, path, taken = random.Random(count), tmp_path / "x.yaml", [0, 0]
    for _ in range(count):
        path.write_bytes(_mutated(rng.choice(_PALETTES).read_bytes(), rng))
        taken[_answered(lambda: read_palette(path), tally, "damaged palettes")] += 1
    assert min(taken) > 0, "nothing was refused, or nothing taken"


def _mutated(data: bytes, rng: random.Random) -> bytes:
    """A few of its characters exchanged, pieces cut out, doubled, or replaced by what parsers trip over."""
    for _ in range(rng.randint(1, 2)):
        first = rng.randrange(len(data) + 1)
        last = min(len(data), first + rng.choice([0, 1, 1, 5, 30]))
        new = rng.choice(
            [
                b"",
                data[first:last] * 2,
                rng.choice(_NASTY).encode(),
                rng.choice(string.printable).encode(),
                rng.randbytes(1),
            ]
        )
        data = data[:first] + new + data[last:]
    return data


_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMBS = {
    "billion laughs": _LAUGHS + "seed: *i\n",
    "laughing merge keys": _LAUGHS.replace("x", "{k: v}") + "<<: [*i, *h]\n",
    "long text, often": f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 10_000)}]\n",
    "contains itself": "method: &m {name: cut, again: *m}\n",
    "deep": "a: " + "[" * 20_000,
    "deep in blocks": "".join(f"{' ' * n}a:\n" for n in range(1200)),
    "many keys": "".join(f"k{n}: 1\n" for n in range(15_000)),
    "large": "#" * (MAX_BYTES + 1),
}


_QUICK = ("billion laughs", "laughing merge keys")


@pytest.mark.parametrize(
    "kind", [kind if kind in _QUICK else pytest.param(kind, marks=pytest.mark.soak) for kind in BOMBS]
)
def test_a_small_file_that_stands_for_a_large_one_is_refused_at_once(kind, forks, tiny, straight, tally, tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMBS[kind])
    ended = forks.run("train", "--config", path, "--run-dir", tmp_path / "run", seconds=60, memory_mib=500)
    assert str(path) in ended.mistake and len(ended.mistake) < _MOST_CHARACTERS
    data = tiny.parent / "data" / "testB"
    arguments = ("--generated", data, "--target", data, "--metrics", "pixel_accuracy", "--palette", path)
    assert str(path) in forks.run("eval", *arguments, seconds=60, memory_mib=500).mistake
    run = tmp_path / "run"
    run.mkdir()
    path.rename(run / "config.yaml")
    page = forks.run("report", run, "--output", tmp_path / "page.html", seconds=60, memory_mib=500).check()
    assert "config.yaml: cannot be read" in page.stderr and (tmp_path / "page.html").stat().st_size < 1_000_000
    tally["bombs refused: YAML"] += 3


_TOO_LARGE = ("generator.base_channels=100000", "generator.num_blocks=100000000", "data.crop_px=100000000")
_TOO_LARGE_TOO = (
    "generator.base_channels=1000000000000",
    "discriminator.base_channels=90000",
    "method.head_channels=10000000000",
    "method.queue_size=100000000000",
    "data.batch_size=1000000000",
    "schedule.constant_steps=100000000000000000000",
)


@pytest.mark.parametrize("setting", [*_TOO_LARGE, *(pytest.param(s, marks=pytest.mark.soak) for s in _TOO_LARGE_TOO)])
def test_a_config_that_cannot_fit_into_memory_is_refused_before_it_is_built(setting, forks, tiny, tally, tmp_path):
    ended = forks.run("train", "--config", tiny, "--run-dir", tmp_path / "run", "--set", setting, seconds=60)
    assert len(ended.mistake) < _MOST_CHARACTERS and ended.peak_mib < 2000
    tally["bombs refused: settings"] += 1


_STEERING = ("a\rb", "\x1b[2J", "\udcff", "\x85", "\u202e", "\x00")


@pytest.mark.parametrize("text", ["a\nb", *(pytest.param(text, marks=pytest.mark.soak) for text in _STEERING)])
def test_nothing_in_a_mistake_breaks_its_line_or_steers_the_terminal(text, forks, tiny, tally, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(tiny.read_text() + f"\n{json.dumps(text)}: 1\n")
    ended = forks.run("train", "--config", path, "--run-dir", tmp_path / "run")
    assert str(path) in ended.mistake and all(c.isprintable() for c in ended.mistake)
    tally["hostile inputs: control characters"] += 1
