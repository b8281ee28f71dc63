"""What was wrong, in words short enough for one line."""

import pytest

from cut.errors import did_you_mean, listed, nearest, printable, reason


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device", "x.png"), "No space left on device"),
        (OSError("encoder error -2"), "encoder error -2"),
        (RuntimeError("\nfirst\nsecond\n"), "first"),
        (ValueError("one\ntwo"), "one"),
        (EOFError(), "EOFError"),
        (MemoryError(), "the system gives no more memory"),
        (MemoryError("Unable to allocate 9 TiB"), "Unable to allocate 9 TiB"),
    ],
)
def test_the_reason_is_one_line(error, text):
    assert reason(error) == text


def test_the_nearest_word_is_offered_and_a_far_one_is_not():
    assert nearest("load_pxx", ["crop_px", "load_px"]) == "load_px"
    assert nearest("zzz", ["crop_px", "load_px"]) is None
    assert did_you_mean("load_pxx", ["load_px"]) == "; did you mean 'load_px'?" and did_you_mean("zzz", ["a"]) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain caf\u00e9 \u732b.png", "plain caf\u00e9 \u732b.png"),
        ("new\nline\t\r.png", "new\\nline\\t\\r.png"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\udce9", "\\udce9"),  # a byte that is no text
        ("\u202egnp.exe", "\\u202egnp.exe"),  # would turn what follows round
    ],
)
def test_a_name_is_printable_on_one_line(text, shown):
    assert printable(text) == shown and printable(text).isprintable()


def test_a_list_says_how_many_more_there_are():
    assert listed(["a", "b"], 2) == "a; b" and listed("abcde", 3) == "a; b; c; and 2 more" and listed([]) == ""
