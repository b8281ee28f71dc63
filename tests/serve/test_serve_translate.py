"""`POST /translate`: the translations of the Python interface, and one line for every mistake."""

import errno
import http.client
import io
import json
import logging
import shutil
import struct
import tempfile
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from served import form, make_photo, serving, tiny_runs

import cut
from cut.serve import guard
from cut.serve.models import Models, safe_name


@pytest.fixture(scope="module")
def runs():
    return tiny_runs()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return make_photo(tmp_path_factory.mktemp("photos") / "photo.png")


@pytest.fixture(scope="module")
def served(runs):
    with serving([runs]) as served:
        yield served


def pixels(answer):
    status, headers, content = answer
    assert (status, headers["content-type"]) == (200, "image/png"), content
    return np.array(Image.open(io.BytesIO(content)))


def file(path):
    return path.name, path.read_bytes()


def test_a_translation_is_that_of_the_python_interface(served, runs, photo):
    got = pixels(served.translate(picture=file(photo), model="cut"))
    assert got.shape == (37, 50, 3) and np.array_equal(got, np.array(cut.load(runs / "cut", device="cpu")(photo)))
    assert np.array_equal(pixels(served.translate(picture=file(photo))), got)  # the first model


def test_styles_directions_guides_and_scales_are_passed_on(served, runs, photo):
    model, guide = cut.load(runs / "munit", device="cpu"), runs.parent / "data/testB/1.png"
    for fields, options in (
        ({"seed": 3}, {"seed": 3}),
        ({"direction": "BtoA"}, {"direction": "BtoA"}),
        ({"guide": file(guide)}, {"guide": guide}),
        ({"load_px": 32}, {"load_px": 32}),
    ):
        got = pixels(served.translate(picture=file(photo), model="munit", **fields))
        assert np.array_equal(got, np.array(model(photo, **options))), fields
    described = served.json("/model?name=munit")
    assert described["directions"] == ["AtoB", "BtoA"] and described["takes_guide"] and described["takes_seed"]
    assert described["trained_at_px"] == 32


def test_a_model_of_several_passes_makes_as_many_as_are_asked_for(served, runs, photo):
    described = served.json("/model?name=unsb")
    assert (described["num_passes"], described["most_passes"], described["takes_seed"]) == (2, 3, True)
    model, seen = cut.load(runs / "unsb", device="cpu"), []
    for options in ({}, {"num_passes": 1}, {"num_passes": 3}, {"seed": 4}):
        seen.append(pixels(served.translate(picture=file(photo), model="unsb", **options)))
        assert np.array_equal(seen[-1], np.array(model(photo, **options)))
    assert len({image.tobytes() for image in seen}) == 4
    status, error = served.refused(picture=file(photo), model="unsb", num_passes=4)
    assert status == 422 and error == "num_passes 4: must be from 1 to 3, the steps of this model"
    assert "cut translates in one pass" in served.refused(picture=file(photo), model="cut", num_passes=1)[1]


def test_a_model_that_draws_from_noise_needs_no_picture(served, runs):
    assert served.json("/model?name=digits")["takes"] == "nothing"
    drawn = pixels(served.translate(model="digits", seed=4))
    assert np.array_equal(drawn, np.array(cut.load(runs / "digits", device="cpu").sample(1, seed=4)[0]))
    for name, value in (("num_passes", 1), ("picture", ("a.png", b"x")), ("direction", "AtoB")):
        status, error = served.refused(model="digits", **{name: value})
        assert (status, error) == (422, f"{name}: this model draws from noise; leave it out")


def test_tiles_change_nothing_and_are_reported(served, runs, photo, monkeypatch):
    seen, progress = [], Models.translate

    def noting(self, name, wish, report):
        return progress(self, name, wish, lambda done, total: (seen.append((done, total)), report(done, total)))

    monkeypatch.setattr(Models, "translate", noting)
    whole = pixels(served.translate(picture=file(photo), model="cut", tile_px=0)).astype(int)
    assert seen == []
    tiled = pixels(served.translate(picture=file(photo), model="cut", tile_px=32)).astype(int)
    assert abs(whole - tiled).max() <= 1
    assert len(seen) > 4 and [done for done, _ in seen] == list(range(1, seen[0][1] + 1))


def bomb():
    """A PNG of a few bytes that claims 900 megapixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def truncated():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()[:900]


def test_what_is_no_picture_is_one_line_and_the_server_lives(served, photo, caplog):
    good = file(photo)
    cases = [
        (422, "words.png: cannot be read as a picture", {"picture": ("words.png", b"no picture\n" * 50)}),
        (422, "empty.png: cannot be read as a picture", {"picture": ("empty.png", b"")}),
        (422, "bomb.png: refused, larger than", {"picture": ("bomb.png", bomb())}),
        (422, "cut.jpg: cannot be read as a picture", {"picture": ("cut.jpg", truncated())}),
        (422, "guide guide.png: cannot be read", {"picture": good, "model": "munit", "guide": ("guide.png", b"x")}),
        (422, "picture: missing", {"model": "cut"}),
        (404, "model 'horse': no such run; known: cut", {"picture": good, "model": "horse"}),
        (404, "did you mean 'munit'", {"picture": good, "model": "munitt"}),
        (422, "direction BtoA: this cut generator has learnt AtoB only", {"picture": good, "direction": "BtoA"}),
        (422, "label: cut knows no classes", {"picture": good, "label": "horse"}),
        (422, "seed: input should be a valid integer", {"picture": good, "seed": "many"}),
        (422, "tile_px at least 32", {"picture": good, "tile_px": 8}),
        (422, "load_px 4: must be from 8", {"picture": good, "load_px": 4}),
    ]
    with caplog.at_level(logging.WARNING):
        for want, words, fields in cases:
            status, error = served.refused(**fields)
            assert status == want and words in error and "/tmp" not in error, error
    assert not caplog.records and pixels(served.translate(picture=good)).shape == (37, 50, 3)


def test_fields_that_would_be_passed_over_are_refused(served, photo):
    """Else a mistyped `model` would translate with another one."""
    good = file(photo)
    cases = [
        ({"picture": good, "modle": "munit"}, "modle: no such field; did you mean 'model'? (known: picture, model,"),
        ({"picture": "photo.jpg"}, "picture: is text, not a file; with curl write -F picture=@FILE"),
    ]
    for fields, words in cases:
        status, error = served.refused(**fields)
        assert status == 422 and words in error
    content, kind = form({"picture": good})
    status, _, said = served.ask("POST", "/translate?model=munit", content, {"Content-Type": kind})
    assert status == 422 and json.loads(said)["error"].startswith("model: stands in the address; it goes into the form")
    line = content[2:34]
    twice = content.removesuffix(b"--%b--\r\n" % line) + content
    status, _, said = served.ask("POST", "/translate", twice, {"Content-Type": kind})
    assert status == 422 and json.loads(said)["error"].startswith("picture: is given 2 times")


def test_a_disk_without_room_for_an_upload_is_one_line(served, photo, monkeypatch):
    def full(prefix):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    assert served.refused(picture=file(photo)) == (500, "/tmp: No space left on device")


def test_a_scale_beyond_the_bound_of_pictures_is_refused(served, photo):
    _, error = served.refused(picture=file(photo), load_px=30000)
    assert error.startswith("50x37 px would be scaled to 30000x30000 px, more than ")


def test_a_run_that_is_deleted_takes_no_other_along(runs, photo, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(runs / "cut", tmp_path / name)
    with serving([tmp_path / "one", tmp_path / "two"]) as served:
        shutil.rmtree(tmp_path / "one")
        assert [model["name"] for model in served.json("/models")["models"]] == ["two"]
        assert pixels(served.translate(picture=file(photo))).shape == (37, 50, 3)
        assert served.refused(picture=file(photo), model="one")[0] == 404


def test_too_large_an_upload_is_refused_whether_or_not_it_says_its_size(runs, photo):
    content, kind = form({"picture": ("a.png", bytes(5_000_000))})
    with serving([runs / "cut"], most_bytes=1_000_000) as served:
        before_sending = {"Content-Type": kind, "Content-Length": "200000000", "Expect": "100-continue"}
        pieces = (content[at : at + 100_000] for at in range(0, len(content), 100_000))
        for body, headers in (
            (None, before_sending),
            (content, {"Content-Type": kind}),
            (pieces, {"Content-Type": kind}),
        ):
            status, _, said = served.ask("POST", "/translate", body, headers)
            error = json.loads(said)["error"]
            assert status == 413 and error == "more than 1 MB, the bound of --max-upload-mb; send a smaller file"
        assert pixels(served.translate(picture=file(photo))).shape == (37, 50, 3)


def test_a_body_that_does_not_come_gives_its_place_to_the_next(runs, photo, monkeypatch):
    """Such as that of a laptop which was closed in the middle of it."""
    monkeypatch.setattr(guard, "_PATIENCE_SECONDS", 0.3)
    content, kind = form({"picture": ("a.png", photo.read_bytes()), "model": "cut"})
    with serving([runs / "cut"], most_waiting=0) as served:
        slow = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        slow.putrequest("POST", "/translate")
        for name, value in (("Content-Type", kind), ("Content-Length", len(content))):
            slow.putheader(name, value)
        slow.endheaders(content[:200])
        wait_for(lambda: served.translate(picture=file(photo))[0] == 503)
        answer = slow.getresponse()
        assert answer.status == 408 and json.loads(answer.read())["error"].startswith("the request comes too slowly")
        wait_for(lambda: served.translate(picture=file(photo))[0] == 200)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:7860"}, 403),  # a name that was made to point here
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "[::1]:7860"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(served, photo, headers, status):
    got, _, content = served.translate(headers, picture=file(photo))
    assert got == status, content


def test_answers_forbid_what_the_page_does_not_need(served):
    for path in ("/", "/page.css", "/page.js", "/docs", "/models", "/nowhere"):
        _, headers, _ = served.ask("GET", path)
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


@pytest.fixture
def blocked(runs, monkeypatch):
    """A server of one place to wait, whose translations wait for `go`."""
    go = threading.Event()
    ended = []

    def slow(self, name, wish, progress):
        while not go.wait(0.02):
            try:
                progress(1, 9)
            except Exception:
                ended.append(wish.seed)
                raise
        return b"done"

    monkeypatch.setattr(Models, "translate", slow)
    with serving([runs], most_waiting=1) as served:
        yield served, go, ended
        go.set()


def wait_for(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_one_is_computed_others_wait_and_too_many_are_refused(blocked):
    served, go, _ = blocked
    answers = []

    def post(ticket):
        answers.append(served.translate(model="cut", ticket=ticket)[0])

    threads = [threading.Thread(target=post, args=(ticket,)) for ticket in ("one", "two")]
    for thread, state in zip(threads, ("running", "waiting"), strict=True):
        thread.start()
        name = {"running": "one", "waiting": "two"}[state]
        wait_for(lambda name=name, state=state: served.json(f"/progress?ticket={name}")["state"] == state)
    wait_for(lambda: served.json("/progress?ticket=one")["tiles"] == 9)
    assert served.json("/progress?ticket=two")["ahead"] == 1
    status, error = served.refused(model="cut")
    assert status == 503 and error == "busy: 2 translations are asked for already; try again later"
    go.set()
    for thread in threads:
        thread.join(10)
    assert answers == [200, 200] and served.json("/progress?ticket=one")["state"] == "unknown"
    assert served.translate(model="cut")[0] == 200


def test_a_translation_ends_when_nobody_waits_for_it(blocked):
    served, _, ended = blocked
    content, kind = form({"model": "cut", "seed": 7})
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request("POST", "/translate", content, {"Content-Type": kind})
    wait_for(lambda: served.app.state.line.jobs)
    connection.close()
    wait_for(lambda: ended == [7] and not served.app.state.line.jobs)


def test_a_new_checkpoint_is_loaded_and_few_models_are_kept(runs, tmp_path):
    models = Models([runs / "cut"], device="cpu")
    first = models.model("cut")
    assert models.model("cut") is first
    weights = runs / "cut/generator.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content)
    assert models.model("cut") is not first


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("..", "picture"),
        (None, "picture"),
        ("a\0\n.png", "a.png"),
        ("\N{KEY}" * 99 + ".png", "\N{KEY}" * 49 + ".png"),  # 4 bytes each
    ],
)
def test_names_of_uploads_lead_nowhere(given, name):
    assert safe_name(given) == name


def test_the_interface_is_described(served):
    schema = served.json("/openapi.json")
    fields = schema["components"]["schemas"]["Body_translate"]["properties"]
    names = {"picture", "model", "direction", "label", "seed", "num_passes", "guide", "load_px", "tile_px", "ticket"}
    assert set(fields) == names
    assert "image/png" in schema["paths"]["/translate"]["post"]["responses"]["200"]["content"]
    _, _, page = served.ask("GET", "/docs")
    assert all(f"<code>{name}</code>" in page.decode() for name in fields)
