"""Bounds a policy file before Cedar's parser sees it.

That parser, and everything after it, recurses once per level of nesting and
once per operator: a few thousand brackets, or one very long expression,
overflow the stack and end the process, which no ``except`` can catch. So depth
and length are counted here first, without recursion.
"""

import re

from bundleformat.errors import LimitExceededError, MalformedError

MAX_FILE_BYTES = 256 * 2**10
"""Largest policy file. Unit: bytes. Checked before it is decoded."""

MAX_STATEMENT_CHARACTERS = 8 * 2**10
"""Longest policy, from the end of the one before to its semicolon.

Unit: characters, comments included. Bounds chains of operators, which nest
without a bracket.
"""

MAX_DEPTH = 32
"""Deepest nesting of brackets outside strings and comments."""

_TOKENS = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|[()\[\]{};"]', re.DOTALL)
"""A comment, a string, or one character that matters; the rest is skipped."""


def read_source(data: bytes, *, where: str) -> str:
    """Return the text of a policy file that is safe to parse.

    Raises:
        LimitExceededError: The file, a policy or the nesting is above its limit.
        MalformedError: Not UTF-8, a control character, or an open string.
    """
    if len(data) > MAX_FILE_BYTES:
        raise LimitExceededError(
            "the file is too large",
            where=where,
            expected=f"at most {MAX_FILE_BYTES} bytes",
            actual=str(len(data)),
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("not UTF-8 text", where=where) from error
    if not all(mark.isprintable() or mark in "\n\t" for mark in _lines(text)):
        # Bidirectional overrides would show a reviewer other text than Cedar reads.
        raise MalformedError("an invisible or control character", where=where)
    _check_statements(text, where)
    return text


def _lines(text: str) -> str:
    """Return the text with the line ends of Windows made plain."""
    return text.replace("\r\n", "\n")


def _check_statements(text: str, where: str) -> None:
    depth = start = 0
    for token in _TOKENS.finditer(text):
        mark = token.group()
        if mark in "([{":
            depth += 1
            _check_depth(depth, where)
        elif mark in ")]}":
            # A stray closing bracket must not make room for deeper nesting.
            depth = max(0, depth - 1)
        elif mark == ";":
            _check_statement(token.end() - start, where)
            start = token.end()
        elif mark == '"':
            raise MalformedError("a string is not closed", where=where)
    _check_statement(len(text) - start, where)


def _check_depth(levels: int, where: str) -> None:
    if levels > MAX_DEPTH:
        raise LimitExceededError(
            "brackets nest too deeply",
            where=where,
            expected=f"at most {MAX_DEPTH} levels",
            actual=str(levels),
        )


def _check_statement(characters: int, where: str) -> None:
    if characters > MAX_STATEMENT_CHARACTERS:
        raise LimitExceededError(
            "a policy is too long",
            where=where,
            expected=f"at most {MAX_STATEMENT_CHARACTERS} characters",
            actual=str(characters),
        )
