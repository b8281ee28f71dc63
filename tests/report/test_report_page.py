"""The page, as text and in a browser."""

import json
import os
import re
from html.parser import HTMLParser

import pytest
import yaml
from chromium import CHROMIUM, browser
from run_folders import make_run, write_lines

from cut.errors import UserError
from cut.report import write_report

HOSTILE = "<script>console.error('run')</script>'\"><img src=x onerror=console.error(1)>"


def hostile_run(folder):
    """A run all of whose names and texts try to be markup."""
    run = make_run(folder / HOSTILE.replace("/", "\u2215"), pictures=(HOSTILE, "y.png"))
    config = {"method": {"name": HOSTILE}, "data": {"root": HOSTILE}, HOSTILE: {"x": [HOSTILE]}, "seed": "</style>"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "environment.json").write_text(json.dumps({"</title>" + HOSTILE: HOSTILE}))
    losses = {f"loss/{HOSTILE}/{HOSTILE}": 1.0, f"eval/{HOSTILE}/{HOSTILE}": 2.0, HOSTILE: 3.0}
    write_lines(run, {"step": 1, "lr": 1.0, **losses}, {"step": 2, "warning": HOSTILE}, {"step": 3, **losses})
    return run


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.words = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    a, b = make_run(folder / "a", 400, num_sheets=4), make_run(folder / "b", 1000, lr=4e-4, num_sheets=2)
    return {
        "one": write_report([a], folder / "one.html"),
        "two": write_report([a, b], folder / "pages" / "two.html"),
        "hostile": write_report([hostile_run(folder), b], folder / "hostile.html"),
    }


def test_page_refers_to_nothing_outside_itself(pages):
    for page in pages.values():
        for tag, attributes in Elements(page.read_text()).found:
            for name in {"src", "href", "srcset", "action", "style"} & set(attributes):
                assert re.match(r"data:|#", attributes[name]), (tag, attributes)
            assert tag not in ("iframe", "object", "embed", "form", "base"), tag


def test_hostile_names_are_text_and_add_no_element(pages):
    found = Elements(pages["hostile"].read_text())
    assert [tag for tag, _ in found.found].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in found.found for name in attributes)
    assert found.words.count(HOSTILE) >= 8


def test_a_page_says_what_is_missing(tmp_path):
    run = make_run(tmp_path / "run", num_sheets=0)
    for part in ("metrics.jsonl", "evaluation.json", "environment.json"):
        (run / part).unlink()
    words = Elements(write_report([run], tmp_path / "page.html").read_text()).words
    for text in ("Nothing is logged yet", "metrics.jsonl: nothing is logged yet", "No environment.json was found."):
        assert text in words
    assert "Before and after" not in words and "Samples" not in words


@pytest.mark.parametrize("roles", [("input", "translation"), ("translation",)], ids=["unpaired", "from noise"])
def test_test_pictures_are_shown_with_what_there_is_of_them(roles, tmp_path):
    run = make_run(tmp_path / "run", pictures=("x.png",))
    evaluation = json.loads((run / "evaluation.json").read_text())
    evaluation["pictures"] = [entry | {"target": None} for entry in evaluation["pictures"]]
    if "input" not in roles:
        evaluation["pictures"][0]["input"] = None
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    found = Elements(write_report([run], tmp_path / "page.html").read_text())
    names = [attributes["alt"] for tag, attributes in found.found if tag == "img" and "x.png" in attributes["alt"]]
    assert names == ["translation of x.png by run", *(["input x.png"] if "input" in roles else [])]
    assert "Before and after" in found.words


def test_only_settings_that_differ_come_before_the_complete_list(pages):
    text = pages["two"].read_text().partition('id="configuration"')[2].partition("</section>")[0]
    differing, complete = text.split("<details>")
    assert "optim.lr" in differing and "0.0004" in differing and "method.name" not in differing
    assert all(key in complete for key in ("optim.lr", "method.name", "method.nce_layers", "data.root", "seed"))


def test_a_name_that_is_no_valid_text_does_not_keep_the_page_from_being_written(tmp_path):
    run = make_run(tmp_path / os.fsdecode(b"caf\xe9"))
    assert "caf" in write_report([run], tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    run = make_run(tmp_path / "run")
    (tmp_path / "file").write_text("")
    for output, words in (
        (tmp_path, "is a folder; --output must name the page"),
        (run / "config.yaml", "must end in .html"),
        (tmp_path / "file" / "page.html", "cannot be written"),
    ):
        with pytest.raises(UserError, match=words):
            write_report([run], output)
    assert (run / "config.yaml").read_text().startswith("seed") and not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name", ["one", "two", "hostile"])
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_page_opens_without_complaint_and_fits_the_window(tab, pages, name, width, scheme):
    tab.open(pages[name], width, scheme=scheme)
    assert tab.console == []
    assert {request.partition(":")[0] for request in tab.requests} == {"file", "data"}
    assert sum(request.startswith("file:") for request in tab.requests) == 1
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (luminance(background) > 0.5) is (scheme == "light")


def test_the_browser_would_complain_and_runs_no_script_but_ours(tab, pages):
    tab.open(pages["one"])
    tab.run("document.body.insertAdjacentHTML('beforeend', `<img src=data:, onerror='window.ran = 1'>`)")
    tab.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 2'}))")
    tab.run("fetch('https://example.invalid').catch(() => window.refused = true)")
    tab.run("new Promise(done => setTimeout(done, 50))")
    assert tab.run("window.ran") is None and tab.run("window.refused") is True
    assert sum("Content Security Policy" in text for text in tab.console) >= 2


def shown(tab, part):
    """The labels of the pictures that are visible in a part of the page."""
    visible = f"[...document.querySelectorAll('{part} .frame')].filter(frame => frame.offsetHeight > 0)"
    return tab.run(f"{visible}.map(frame => frame.querySelector('img').alt)")


def test_arrow_keys_move_through_the_sheets_of_both_runs(tab, pages):
    tab.open(pages["two"])
    sheets = [["100", "500"], ["200", "500"], ["300", "500"], ["400", "1000"]]  # steps; 500 is nearest to 25 to 75 %
    expected = [
        [f"sample sheet of {run}, step {step}, epoch {int(step) // 20}" for run, step in zip("ab", steps, strict=True)]
        for steps in sheets
    ]
    assert shown(tab, "#samples") == expected[3]
    tab.run("document.querySelector('#sheet').focus()")
    tab.press("ArrowLeft")
    assert shown(tab, "#samples") == expected[2]
    assert tab.run("document.querySelector('#samples output').value") == "75% of each run"
    tab.press("Home")
    assert shown(tab, "#samples") == expected[0]
    tab.press("ArrowRight")
    assert shown(tab, "#samples") == expected[1] and tab.console == []


def test_arrow_keys_choose_the_test_picture_and_move_the_line_between_before_and_after(tab, pages):
    tab.open(pages["two"])
    tab.run("document.querySelector('#picture').focus()")
    assert shown(tab, "#comparison") == ["translation of x.png by a", "translation of x.png by b"]
    tab.press("ArrowRight")
    assert shown(tab, "#comparison") == ["translation of y.png by a", "translation of y.png by b"]
    tab.press("Tab")  # to the first picture's own slider
    assert tab.run("document.activeElement.ariaLabel").endswith("y.png, a")
    tab.press("ArrowRight", times=10)
    clips = tab.run("[...document.querySelectorAll('.before')].map(image => getComputedStyle(image).clipPath)")
    assert len(clips) == 4 and {float(re.search(r"([\d.]+)%", clip)[1]) for clip in clips} == {40.0}
    assert tab.run("document.activeElement.getAttribute('aria-valuetext')") == "60 % input"
    assert tab.run("getComputedStyle(document.activeElement.parentElement).outlineStyle") == "solid"


def test_a_click_into_a_picture_puts_the_line_there(tab, pages):
    tab.open(pages["one"])
    tab.run("document.querySelector('.compare').scrollIntoView({block: 'center', behavior: 'instant'})")
    left, top, width, height = tab.run(
        "(r => [r.x, r.y, r.width, r.height])(document.querySelector('.compare').getBoundingClientRect())"
    )
    for share in (0.25, 0.9):
        tab.mouse("mousePressed", left + share * width, top + height / 2)
        tab.mouse("mouseReleased", left + share * width, top + height / 2)
        split = float(tab.run("document.querySelector('#comparison').style.getPropertyValue('--split')").rstrip("%"))
        assert split == pytest.approx(100 * share, abs=1.0)


def test_values_at_a_step_are_told_by_keyboard_and_by_pointer(tab, pages):
    tab.open(pages["one"])
    texts = "['.title', '.legend b'].map(part => chart.querySelector(part).textContent)"
    values = f"[...document.querySelectorAll('.chart')].map(chart => {texts})"
    assert dict(tab.run(values))["fid"] == "350"  # |400 - 70| + 20
    tab.run("document.querySelector('#step').focus()")
    tab.press("Home")
    tab.press("ArrowRight", times=72)
    assert dict(tab.run(values))["fid"] == "20" and tab.run("document.querySelector('#step').value") == "72"
    tab.run("document.querySelector('.plot').scrollIntoView({block: 'center', behavior: 'instant'})")
    left, top, width = tab.run("(r => [r.x, r.y, r.width])(document.querySelector('.plot').getBoundingClientRect())")
    tab.mouse("mouseMoved", left + width / 2, top + 30)
    assert abs(float(tab.run("document.querySelector('#step').value")) - 200) <= 2
    assert dict(tab.run(values))["fid"] == "150" and dict(tab.run(values))["generator: gan"] == "1.005"
    place = tab.run("(c => [c.getAttribute('cx'), getComputedStyle(c).display])(document.querySelector('.cursor'))")
    assert float(place[0]) == pytest.approx(170, abs=0.1) and place[1] != "none"


def luminance(colour):
    """Relative luminance of a CSS colour rgb(r, g, b), as WCAG 2.2 defines it."""
    channels = [float(number) / 255 for number in re.findall(r"[\d.]+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_as_wcag_asks_and_the_choice_of_a_theme_wins(tab, pages, scheme):
    other = {"light": "dark", "dark": "light"}[scheme]
    tab.open(pages["two"], scheme=other)
    tab.run(
        f"(s => {{ s.value = '{scheme}'; s.dispatchEvent(new Event('change')) }})(document.querySelector('#theme'))"
    )
    colour = "getComputedStyle(document.querySelector('{}')).{}"
    page, card = (tab.run(colour.format(s, "backgroundColor")) for s in ("body", ".card"))
    assert (luminance(page) > 0.5) is (scheme == "light")
    for text in ("body", ".hint", "dt", "nav a", "small", ".leader", "caption"):
        assert contrast(tab.run(colour.format(text, "color")), page) >= 4.5, text
        assert contrast(tab.run(colour.format(text, "color")), card) >= 4.5, text
    for index in range(8):
        tab.run(f"document.querySelector('polyline').setAttribute('class', 'smooth run-{index}')")
        assert contrast(tab.run(colour.format("polyline", "stroke")), card) >= 3, index


def test_everything_that_is_seen_or_moved_has_a_name(tab, pages):
    tab.open(pages["two"])
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    assert {"main", "navigation", "banner", "contentinfo"} <= {role for role, _ in named}
    roles = ("slider", "combobox", "link", "image", "img", "region", "table")
    assert all(name.strip() for role, name in named if role in roles)
    assert [role for role, _ in named].count("slider") == 5  # step, sheet, picture, and a picture's own per run
