"""The page in a browser, with mouse and keyboard; what it shows of trainings; the command."""

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from chromium import CHROMIUM, browser
from programs import told
from run_folders import make_run, write_lines
from served import make_photo, serving, tiny_runs

from cut.cli.serve import _parse, main
from cut.serve import folders
from cut.serve.folders import find_places


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that logs, whose name tries to be markup, below a folder of runs; the models beside it."""
    folder = tmp_path_factory.mktemp("trainings")
    make_run(folder / "deeper" / "<img src=x onerror=alert(1)>")
    return folder


@pytest.fixture(scope="module")
def served(folder):
    runs = tiny_runs()
    with serving([folder, runs / "munit", runs / "cut", runs / "digits", runs / "unsb"]) as served:
        yield served


def opened(tab, served, width=1280, scheme="light"):
    tab.open(f"http://127.0.0.1:{served.port}/", width, scheme=scheme)
    tab.wait("document.querySelectorAll('#models input').length === 4")
    tab.wait("!document.querySelector('[data-option=seed]').hidden && document.querySelector('#live .charts')")
    return tab


def only(tab, *names):
    """Chooses these models."""
    for name in tab.run("[...document.querySelectorAll('#models input')].map(box => box.value)"):
        box = f"document.querySelector('#models input[value={name}]')"
        if tab.run(f"{box}.checked") != (name in names):
            tab.run(f"{box}.click()")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pictures_are_translated_by_several_models_and_compared_by_keyboard(tab, served, tmp_path, width, scheme):
    opened(tab, served, width, scheme)
    only(tab, "munit", "cut")
    tab.wait("document.querySelector('#status').textContent === ''")
    tab.choose_file("#picture", make_photo(tmp_path / "photo.png"))
    tab.run("document.querySelector('#count').value = 2; document.querySelector('#seed').focus()")
    tab.press("Enter")
    tab.wait("document.querySelector('#status').textContent === 'done'")
    titles = tab.run("[...document.querySelectorAll('.result h3')].map(title => title.textContent)")
    assert titles == ["munit, seed 0", "munit, seed 1", "cut"]
    tab.wait("[...document.images].filter(image => image.src).every(image => image.naturalWidth > 0)")
    assert tab.run("document.querySelector('.below small').textContent").startswith("50 x 37 px")
    tab.run("document.querySelector('.split').focus()")
    tab.press("ArrowRight", times=10)
    clips = tab.run("[...document.querySelectorAll('.before')].map(image => getComputedStyle(image).clipPath)")
    assert len(clips) == 3 and all("40%" in clip for clip in clips)
    assert tab.run("document.querySelector('.result a').download") == "photo_munit_0.png"
    assert tab.run("document.documentElement.scrollWidth") <= width and tab.console == []
    assert all(r.startswith((f"http://127.0.0.1:{served.port}/", "blob:", "data:")) for r in tab.requests)
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (int(background.split("(")[1].split(",")[0]) > 127) is (scheme == "light")


def test_the_page_offers_what_a_model_takes_and_no_more(tab, served):
    opened(tab, served)
    visible = "[...document.querySelectorAll('[data-option]')].filter(p => !p.hidden).map(p => p.dataset.option)"
    for name, options, action in (
        ("munit", ["direction", "guide", "seed", "scale"], "Translate"),
        ("cut", ["scale"], "Translate"),
        ("unsb", ["seed", "passes", "scale"], "Translate"),
        ("digits", ["seed"], "Draw"),
    ):
        only(tab, name)
        tab.wait(f"JSON.stringify({visible}) === '{json.dumps(options, separators=(',', ':'))}'")
        assert tab.run("document.querySelector('#go').textContent") == action
        assert name != "unsb" or tab.run("document.querySelector('#passes').value") == "2"  # its own number
    tab.run("document.querySelector('#go').click()")
    tab.wait("document.querySelector('.result img')")
    assert tab.run("document.querySelectorAll('.split').length") == 0


def test_a_mistake_is_one_line_on_the_page(tab, served, tmp_path):
    opened(tab, served)
    error = "document.querySelector('#error').textContent"
    tab.run("document.querySelector('#go').click()")
    tab.wait(f"{error} === 'choose a picture first'")
    (tmp_path / "words.png").write_text("no picture")
    tab.choose_file("#picture", tmp_path / "words.png")
    tab.run("document.querySelector('#go').click()")
    tab.wait(f"{error}.startsWith('munit: words.png: cannot be read as a picture')")
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(200_000_000)
    tab.choose_file("#picture", tmp_path / "large.png")
    tab.wait(f"{error} === 'large.png: 200 MB; the server takes up to 64 MB'")
    assert tab.run("document.querySelectorAll('.result').length") == 0


def test_curves_of_a_training_are_renewed_and_names_are_no_markup(tab, served, folder, monkeypatch):
    opened(tab, served)
    run = next(folder.glob("deeper/*"))
    name = f"deeper/{run.name}"
    assert tab.run("document.querySelector('#run').value") == name
    tab.wait("[...document.querySelectorAll('#live img')].every(image => image.naturalWidth > 0)")
    assert tab.run("document.querySelector('.state').textContent") == "No training runs here now."
    write_lines(run, *({"step": step, "loss/generator/gan": 7.25} for step in (100, 123)))
    monkeypatch.setattr(folders, "lock_holder", lambda path: "another process" if path == run else None)
    assert {place["name"] for place in served.json("/models")["models"] if place["is_training"]} == {name}
    tab.run("renew()")
    tab.wait("document.querySelector('.state').textContent === 'Training goes on.'")
    tab.wait("document.querySelector('#live dl').textContent.includes('123')")
    assert "7.25" in tab.run("[...document.querySelectorAll('#live .legend b')].map(value => value.textContent)")
    assert tab.run("document.querySelectorAll('[onerror]').length") == 0 and tab.console == []
    tab.open(tab.run("document.querySelector('#report').href"))
    assert tab.run("document.title").endswith("- report") and tab.console == []


def test_runs_are_found_in_folders(tmp_path):
    make_run(tmp_path / "a"), make_run(tmp_path / "out" / "cut" / "seed_0")
    (tmp_path / "empty").mkdir()
    assert list(find_places([tmp_path])) == ["a", "out/cut/seed_0"]
    file = tiny_runs() / "cut" / "generator.safetensors"
    places = find_places([tmp_path / "a", file])
    assert [(place.name, place.weights, place.is_run) for place in places.values()] == [
        ("a", None, True),
        ("generator.safetensors", file, False),
    ]
    with pytest.MonkeyPatch.context() as patch:  # as where a folder is somebody else's, such as lost+found
        listed = Path.iterdir
        patch.setattr(Path, "iterdir", lambda path: listed(path) if path.name != "empty" else os.listdir("/none"))
        assert list(find_places([tmp_path])) == ["a", "out/cut/seed_0"]
    for path, words in ((tmp_path / "none", "no such run or file"), (tmp_path / "empty", "holds no run")):
        assert words in told("serve", path)


def test_mistakes_of_the_command_are_one_line(monkeypatch):
    run = tiny_runs() / "cut"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert told("serve", run, "--port", port).startswith(f"--port {port}: cannot listen there")
    for options, words in (
        (("--port", 70000), "must be from 0 to 65535"),
        (("--max-upload-mb", 0), "must be from 0.001"),
        (("--max-waiting", -1), "must be at least 0"),
        (("--tile-px", 8), "must be at least 32"),
        (("--host", "no such host"), "--host no such host: cannot listen there"),
    ):
        assert words in told("serve", run, *options)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert told("serve", run) == "the page needs uvicorn, which is not installed: pip install 'cut[serve]'"


def test_only_this_machine_is_listened_to_by_default():
    assert (_parse(["run"]).host, _parse(["run"]).port, _parse(["run"]).max_upload_mb) == ("127.0.0.1", 7860, 64)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_asked_to_end(capsys, number):
    said, answers = "", []

    def visit():
        nonlocal said
        while "Ctrl-C" not in said:
            said += capsys.readouterr().out
            time.sleep(0.01)
        with urllib.request.urlopen(f"{said.split()[0]}/models", timeout=10) as answer:
            answers.append(json.load(answer)["models"][0]["name"])
        signal.raise_signal(number)  # which the main thread handles

    previous = signal.getsignal(signal.SIGTERM)
    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(tiny_runs() / "cut"), "--port", "0", "--device", "cpu"])
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert (ended.value.code, answers, capsys.readouterr()) == (0, ["cut"], ("cut-serve: ended\n", ""))
