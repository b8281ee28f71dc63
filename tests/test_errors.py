"""What was wrong, in words short enough for one line."""

import pytest

from cut.errors import did_you_mean, nearest, reason


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
