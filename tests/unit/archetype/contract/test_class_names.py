"""Class names: which class a target refers to, and files of class names."""

import unicodedata

import pytest

from archetype.contract.class_names import ClassNames, UnclearTarget, check_names, read_class_file

DIGITS = ["0", "1", "10", "2", "3"]
"""Ten and more numbers, sorted as text: the index of "2" is 3."""

CAFE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


@pytest.mark.parametrize(
    ("names", "target", "index"),
    [
        (["lemon", "bee"], "bee", 1),
        (["lemon", "bee"], " BEE\n", 1),
        (["lemon", "bee"], 1, 1),
        (["lemon", "bee"], "1", 1),
        (["lemon", "bee"], "#1", 1),
        (DIGITS, "2", 3),
        (DIGITS, "10", 2),
        (DIGITS, 2, 2),
        (DIGITS, "#2", 2),
        (["2024", "2025"], "2025", 1),
        (["007", "7"], "7", 1),
        (["#1", "bee"], "#1", 0),
        (["Crane", "crane"], "crane", 1),
        (["Crane", "crane"], " crane", 1),
        (["drake, male", "drake"], "Drake, male", 0),
        (["a  b"], "a b", 0),
        ([CAFE], unicodedata.normalize("NFD", CAFE), 0),
        ([unicodedata.normalize("NFD", CAFE)], CAFE.upper(), 0),
        (["Straße"], "STRASSE", 0),
        (["İstanbul"], "istanbul", 0),
        (["İstanbul"], "i\N{COMBINING DOT ABOVE}stanbul", 0),
        (["ılık"], "ILIK", 0),
        (["ΟΔΟΣ"], "οδος", 0),
        (["КОТ", "пёс"], "кот", 0),
        (["猫", "قط"], "قط", 1),
        (["{model}", "50%"], "{MODEL}", 0),
    ],
)
def test_a_text_is_the_name_of_a_class_before_it_is_an_index(names: list[str], target: int | str, index: int) -> None:
    assert ClassNames(names).find(target) == index


@pytest.mark.parametrize(
    ("names", "target", "message", "allowed"),
    [
        (["lemon", "bee"], "lemmon", "'lemmon' is not a class of fruit@1: did you mean 'lemon'", ["lemon"]),
        (["lemon", "bee"], "7", "no class 7: fruit@1 has 2 classes", "0 to 1"),
        (["lemon", "bee"], 2, "no class 2: fruit@1 has 2 classes", "0 to 1"),
        (["lemon", "bee"], "#2", "no class 2", "0 to 1"),
        (["lemon", "bee"], "-1", "not a class", []),
        (["lemon", "bee"], "1.0", "not a class", []),
        (["Crane", "crane"], "CRANE", r"2 classes of fruit@1, with the indices 0 \('Crane'\), 1 \('crane'\)", [0, 1]),
        (["crane", "bee", "crane"], "crane", "'#0'", [0, 2]),
        (["crane", "bee", "crane"], "Crane", "2 classes", [0, 2]),
        (["a"] * 7, "a", "and 2 more", list(range(7))),
        (DIGITS, "4", "can be a name or an index: .* the index 4 is the class '3'", ["#4"]),
        (
            DIGITS,
            "12",
            "the index 12 is no class: there are 5; give a name, or an index below 5",
            ["2", "1"],
        ),
        (["7", "other"], "1", "can be a name or an index: .* the index 1 is the class 'other'", ["#1"]),
    ],
)
def test_a_target_that_is_no_class_or_several_is_refused_with_what_it_can_mean(
    names: list[str], target: int | str, message: str, allowed: object
) -> None:
    with pytest.raises(UnclearTarget, match=message) as error:
        ClassNames(names, "fruit@1").find(target)
    assert error.value.allowed == allowed


def test_a_label_has_the_index_only_if_the_name_is_not_unique() -> None:
    names = ClassNames(["crane", "bee", "crane"])
    assert [names.label(index) for index in range(3)] == ["crane #0", "bee", "crane #2"]


@pytest.mark.parametrize(
    "data",
    [
        b"cat\ndog",
        b"cat\ndog\n",
        b"cat\r\ndog\r\n\r\n\r\n",
        b"cat\rdog\r",
        b"\xef\xbb\xbfcat\n\n  dog  \n \n",
    ],
)
def test_a_class_file_may_have_any_line_ends_a_byte_order_mark_and_blank_lines(data: bytes) -> None:
    assert read_class_file(data, "classes.txt") == ["cat", "dog"]


def test_only_line_ends_divide_a_class_file() -> None:
    text = "a\u2028b\nc\u2029d\ne\u0085f\ng\fh\ni\vj\nk\tl\nm\x1cn\ndrake, male\ncrane\ncrane\n"
    names = read_class_file(text.encode(), "classes.txt")
    assert names == ["a\u2028b", "c\u2029d", "e f", "g h", "i j", "k l", "m n", "drake, male", "crane", "crane"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("cat\ndog".encode("utf-16"), r"classes.txt, line 1: the encoding is UTF-16, .* save the file as UTF-8"),
        ("cat\ndog".encode("utf-32"), r"classes.txt, line 1: the encoding is UTF-32"),
        ("cat\ndog".encode("utf-16-le"), r"classes.txt, line 1: a zero byte .* UTF-16"),
        (f"cat\r\ndog\r\n{CAFE}".encode("latin-1"), r"classes.txt, line 3: the byte 0xE9 .* Latin-1 .* iconv"),
        (b"cat\ndo\x1bg", r"classes.txt, line 2: .* control character U\+001B"),
        (b"cat\n" + b"x" * 501, r"classes.txt, line 2: .* at most 500 characters"),
        (b"\n \n", r"classes.txt contains no class names"),
    ],
)
def test_a_file_that_holds_no_class_names_is_refused_with_the_line(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_class_file(data, "classes.txt")
    assert "\n" not in str(error.value)


def test_names_are_stripped_and_names_that_cannot_be_shown_are_refused() -> None:
    assert check_names([" cat ", "dog\n", "cat"]) == ["cat", "dog", "cat"]
    for wrong in ("", "  ", "a\tb", "a\x00", "a\x85b", "x" * 501):
        with pytest.raises(ValueError, match="class 1 is"):
            check_names(["cat", wrong])
