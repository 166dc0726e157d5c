"""Class names: the list of a network, its text file, and the class that a target refers to.

A text is compared with the names in three steps: as it is; without surrounding spaces and in one Unicode normal form;
without regard to case. The first step in which a name is equal decides.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property

from archetype.contract.problem import nearest, shorten

MAX_NAME_LENGTH = 500
"""Characters. Every class name can be a target, so both have the same limit."""

INDEX = re.compile(r"#([0-9]{1,9})")
"""An index as text: `#12`."""

LINE_END = re.compile("\r\n|\r|\n")
"""Where a file is divided. `str.splitlines` also divides at characters that can be part of a name, such as U+2028."""

OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks of other encodings than UTF-8. Those of UTF-32 come first: one begins with that of UTF-16."""


class UnclearTarget(ValueError):
    """A target refers to no class, or could refer to several.

    Attributes:
        allowed: What can be given instead: indices, or similar names.
    """

    def __init__(self, detail: str, allowed: object = None) -> None:
        super().__init__(detail)
        self.allowed = allowed


class ClassNames:
    """The class names of a network, in the order of its scores."""

    def __init__(self, names: Sequence[str], model: str = "the model") -> None:
        """Creates the list.

        Args:
            names: The names; some may be equal.
            model: Name of the model, for errors.
        """
        self.names = names
        self.model = model

    def find_all(self, text: str) -> list[int]:
        """Returns the indices of all classes that have this name."""
        for indices, simplify in self._steps:
            if matches := indices.get(simplify(text)):
                return matches
        return []

    def find(self, target: int | str) -> int:
        """Returns the index of the class that a target refers to.

        Args:
            target: An index; or a text, which is the name of a class. A text that is no name can be an index: `#12`, or
                `12` if no class has a number as its name.

        Raises:
            UnclearTarget: There is no such class, or the text is the name of several.
        """
        if isinstance(target, int):
            return self._check_index(target)
        matches = self.find_all(target)
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise self._explain_several(target, matches)
        text = target.strip()
        if match := INDEX.fullmatch(text):
            return self._check_index(int(match[1]))
        if not text.isdecimal():
            raise self._explain_unknown(target)
        if self._has_numbers:
            raise self._explain_number(text)
        return self._check_index(int(text))

    def label(self, index: int) -> str:
        """Returns the name of a class, with its index if another class has the same name: `crane #134`."""
        name = self.names[index]
        return f"{name} #{index}" if len(self._steps[0][0][name]) > 1 else name

    def _check_index(self, index: int) -> int:
        count = len(self.names)
        if 0 <= index < count:
            return index
        raise UnclearTarget(f"there is no class {index}: {self.model} has {count} classes", f"0 to {count - 1}")

    def _explain_unknown(self, text: str) -> UnclearTarget:
        close = nearest(text, self.names)
        hint = f": did you mean {', '.join(map(repr, close))}?" if close else ""
        return UnclearTarget(f"{text!r} is not a class of {self.model}{hint}", close)

    def _explain_several(self, text: str, matches: list[int]) -> UnclearTarget:
        listed = ", ".join(f"{index} ({self.names[index]!r})" for index in matches[:5])
        more = f" and {len(matches) - 5} more" if len(matches) > 5 else ""
        detail = f"{text!r} is the name of {len(matches)} classes of {self.model}, with the indices {listed}{more}"
        return UnclearTarget(f"{detail}; give the index of one as a number, or as text: '#{matches[0]}'", matches)

    def _explain_number(self, text: str) -> UnclearTarget:
        index, count = int(text), len(self.names)
        detail = (
            f"{text!r} can be a name or an index: classes of {self.model} have numbers as names, but none has the name "
            f"{text!r}, and the index {index} is "
        )
        close = nearest(text, self.names)
        if index >= count:
            detail += f"no class: there are {count}; give a name, or an index below {count} as a number"
            return UnclearTarget(detail, close)
        detail += f"the class {self.names[index]!r}; give a name, or the index as a number, or as text: '#{index}'"
        return UnclearTarget(detail, [*close, f"#{index}"])

    @cached_property
    def _has_numbers(self) -> bool:
        return any(name.strip().isdecimal() for name in self.names)

    @cached_property
    def _steps(self) -> list[tuple[dict[str, list[int]], Callable[[str], str]]]:
        """The indices of the names in each form, and the function that gives a text this form."""
        return [(self._group(form), form) for form in (str, tidy_name, fold_name)]

    def _group(self, form: Callable[[str], str]) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            groups.setdefault(form(name), []).append(index)
        return groups


def tidy_name(text: str) -> str:
    """Returns a name in Unicode normal form C, with single spaces between words and none around them."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold_name(text: str) -> str:
    """Returns a name in a form that does not depend on case, also for ß and for the Turkish İ and ı."""
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return tidy_name(folded.replace("i\u0307", "i").replace("ı", "i"))


def check_name(text: str) -> str:
    """Returns a class name without surrounding spaces.

    Raises:
        ValueError: The name is empty or too long, or contains a control character.
    """
    name = text.strip()
    control = next((character for character in name if unicodedata.category(character) == "Cc"), None)
    if not name:
        raise ValueError("a class name must not be empty")
    if control is not None:
        raise ValueError(f"a class name must not contain the control character U+{ord(control):04X}")
    if len(name) > MAX_NAME_LENGTH:
        raise ValueError(f"a class name must have at most {MAX_NAME_LENGTH} characters, not {len(name)}")
    return name


def check_names(names: Sequence[str]) -> list[str]:
    """Returns class names without surrounding spaces. Raises `ValueError` for the first that `check_name` refuses."""
    checked = []
    for index, name in enumerate(names):
        try:
            checked.append(check_name(name))
        except ValueError as error:
            raise ValueError(f"{error}: class {index} is {shorten(name)!r}") from error
    return checked


def read_class_file(data: bytes, file: str) -> list[str]:
    """Reads a file with one class name per line.

    Args:
        data: The file, in UTF-8 with or without byte order mark. Lines end with LF, CRLF or CR; blank ones are skipped.
        file: Name of the file, for errors.

    Raises:
        ValueError: The file has another encoding, a line is not a class name, or there are no names.
    """
    names = []
    for number, line in enumerate(LINE_END.split(_decode(data, file)), 1):
        # White space inside a name, such as a tab or a form feed, is a space.
        name = re.sub(r"[\t\v\f\x1c-\x1f\x85]", " ", line).strip()
        if not name:
            continue
        try:
            names.append(check_name(name))
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}") from error
    if not names:
        raise ValueError(f"{file} contains no class names; write one name per line")
    return names


def _decode(data: bytes, file: str) -> str:
    for mark, encoding in OTHER_ENCODINGS:
        if data.startswith(mark):
            raise _explain_encoding(f"{file}, line 1: the encoding is {encoding}, not UTF-8", encoding)
    data = data.removeprefix(codecs.BOM_UTF8)
    if 0 in data:
        place = f"{file}, line {_count_lines(data[: data.index(0)])}"
        raise _explain_encoding(f"{place}: a zero byte is not text in UTF-8; the encoding may be UTF-16", "UTF-16")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        place, byte = f"{file}, line {_count_lines(data[: error.start])}", f"0x{data[error.start]:02X}"
        detail = f"{place}: the byte {byte} is not valid in UTF-8; the encoding may be Latin-1 or Windows-1252"
        raise _explain_encoding(detail, "WINDOWS-1252") from error


def _explain_encoding(detail: str, encoding: str) -> ValueError:
    return ValueError(f"{detail}; save the file as UTF-8, for example with: iconv -f {encoding} -t UTF-8 OLD > NEW")


def _count_lines(before: bytes) -> int:
    """Returns the number of the line that follows these bytes."""
    return len(re.findall(b"\r\n|\r|\n", before)) + 1
