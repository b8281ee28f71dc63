import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import REPOSITORY
from PIL import Image
from programs import start, timed


def _run(*arguments, folder=REPOSITORY):
    return start("data", *arguments, folder=folder).wait()


def _assert_one_line(done, *words):
    assert done.status == 2 and done.stderr.startswith("cut-data: error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize("command", [[], ["earth2map"], ["download"], ["check"]])
def test_help_has_an_example_and_comes_at_once(command):
    done, seconds = timed("data", *command, "--help")
    assert seconds < 1.0
    assert done.returncode == 0 and f"cut-data {' '.join(command)}".strip() in done.stdout and "example" in done.stdout


def test_help_imports_nothing_heavy():
    code = "import sys, cut.cli.data; print({'numpy', 'PIL', 'torch', 'tqdm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_list_names_every_set():
    done = _run("download", "--list")
    assert done.status == 0 and "horse2zebra" in done.stdout and "about 117 MB" in done.stdout


def test_unknown_name_is_one_line():
    _assert_one_line(_run("download", "horse2zbra"), "did you mean horse2zebra?")


def test_path_as_name_is_one_line():
    _assert_one_line(_run("download", "/etc/passwd"), "a path was given where a name belongs")


def test_missing_name_is_one_line():
    _assert_one_line(_run("download"), "cut-data download --list")


def test_bound_must_be_positive():
    _assert_one_line(_run("download", "maps", "--max-gb", "-1"), "--max-gb", "above 0")


def test_tile_that_is_too_small_is_one_line(tmp_path):
    _assert_one_line(_run("earth2map", "--output", str(tmp_path / "e"), "--tile-px", "4"), "--tile-px 4")


def test_server_that_cannot_be_reached_is_one_line(tmp_path):
    done = _run("download", "maps", "--output", str(tmp_path), "--base-url", "http://127.0.0.1:9")
    _assert_one_line(done, "http://127.0.0.1:9/maps.zip")


def test_check_of_a_missing_folder_is_one_line(tmp_path):
    _assert_one_line(_run("check", str(tmp_path / "missing")), "missing: no such folder")


def test_unknown_option_exits_with_two():
    assert _run("check", "--jsn", "x").status == 2


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web server with maps.zip; its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    (tmp_path / "site").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    with zipfile.ZipFile(tmp_path / "site/maps.zip", "w") as archive:
        archive.write(tmp_path / "1.png", "maps/trainA/1.png")
        archive.write(tmp_path / "1.png", "maps/trainB/2.png")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site"))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_download_then_check_then_download_again(tmp_path, site):
    done = _run("download", "maps", "--base-url", site, folder=tmp_path)
    assert (done.status, done.stdout) == (0, f"{os.path.join('datasets', 'maps')}\n") and "maps.zip" in done.stderr
    assert sorted(path.name for path in (tmp_path / "datasets").rglob("*")) == [
        "1.png",
        "2.png",
        "maps",
        "trainA",
        "trainB",
    ]
    done = _run("check", "datasets/maps", "--json", "report.json", folder=tmp_path)
    assert done.status == 0 and "trainA/1.png = trainB/2.png" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["layout"] == "unpaired"
    done = _run("download", "maps", folder=tmp_path)
    assert done.status == 0 and "there already" in done.stderr


def test_check_exits_with_one_where_files_are_broken(tmp_path):
    (tmp_path / "broken.jpg").touch()
    done = _run("check", str(tmp_path))
    assert done.status == 1 and "broken.jpg" in done.stdout and "Traceback" not in done.stderr


def test_json_that_cannot_be_written_is_one_line(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    done = _run("check", str(tmp_path), "--json", str(tmp_path / "none/report.json"))
    assert done.status == 2 and done.stderr.splitlines()[-1].startswith("cut-data: error: --json ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_that_closes_early_hears_nothing(unbuffered):
    code = "import time; from cut.cli import run; run('p', lambda: (time.sleep(0.3), print('x' * 99))[1])"
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 141


def test_broken_pipe_elsewhere_is_not_hidden():
    code = "from cut.cli import run\ndef main(): raise BrokenPipeError\nrun('p', main)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "BrokenPipeError" in done.stderr


def test_interrupt_is_one_line_and_status_130():
    code = (
        # A shell starts background jobs, and so perhaps these tests, with SIGINT ignored.
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); from cut.cli import run; "
        "run('p', lambda: (print('go', flush=True), time.sleep(60))[1])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == b"p: interrupted" and process.wait() == 130
