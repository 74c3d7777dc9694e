"""Signs that an answer gives away the inside of a service.

Each pattern is one that a person would look for after seeing such an answer. They also match inside JSON, where
quotation marks and line ends are escaped.
"""

from __future__ import annotations

import re

_PATH = "a file path"

SIGNS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern)
    for name, pattern in {
        # Python: the head and the frames of a traceback
        "a stack trace (Python)": r"Traceback \(most recent call last\)|File \\*\"[^\"]+\", line \d+",
        # Go: a panic's first line, a goroutine's head, a frame
        "a stack trace (Go)": r"\bgoroutine \d+ \[|\bpanic: |\bruntime error: |\w\.go:\d+\b",
        # Java and Kotlin: a frame, the chain of causes
        "a stack trace (Java)": r"\bat [\w.$<>]+\(\w+\.(?:java|kt):\d+\)|\bCaused by: ",
        # JavaScript: a frame with line and column, the folder of dependencies
        "a stack trace (Node)": r"\bat .{1,200}?\.[cm]?[jt]s:\d+:\d+|\bnode_modules/",
        # KeyError: ..., psycopg.errors.UniqueViolation..., java.lang.NullPointerException
        "an exception class": r"\b[A-Z]\w*(?:Error|Exception)(?:[:(]| \()"
        r"|\b(?:[a-z_]\w*\.){1,9}[A-Z]\w*(?:Error|Exception)\b|\bpsycopg2?\.|\basyncpg\.|\bsqlalchemy\.",
        _PATH: r"(?<![\w:/.-])/(?:app|etc|home|opt|root|srv|tmp|usr|var)/[\w.-]+|\b[A-Z]:\\+\w",
        "SQL": r"\bSELECT\b.{1,300}\bFROM\b|\b(?:INSERT INTO|DELETE FROM)\b|\bUPDATE \w+ SET\b|\bSQLSTATE\b"
        r"|(?i:\binsert into \w+ ?\(|\bselect .{1,300} from \w+ where\b)"
        r"|\bduplicate key value violates\b|\brelation \\*\"\w+\\*\" does not exist",
    }.items()
}


_WORDS = {
    "a stack trace (Python)": ("traceback", "file "),
    "a stack trace (Go)": ("goroutine ", "panic: ", "runtime error: ", ".go:"),
    "a stack trace (Java)": (".java:", ".kt:", "caused by: "),
    "a stack trace (Node)": ("js:", "ts:", "node_modules/"),
    "an exception class": ("error", "exception", "psycopg", "asyncpg.", "sqlalchemy."),
    _PATH: ("/app/", "/etc/", "/home/", "/opt/", "/root/", "/srv/", "/tmp/", "/usr/", "/var/", ":\\"),  # noqa: S108  # no use of it
    "SQL": ("select", "insert into", "delete from", "update ", "sqlstate", "duplicate key", "relation "),
}
"""Of which one stands in every match, whatever the case: a search for words costs far less than the pattern."""


def internals_in_header(_name: str, value: str) -> list[str]:
    """What of the service's inside stands in a header of an answer. What looks like a file path is an address there."""
    return [found for found in internals_in(value) if not found.startswith(_PATH)]


def internals_in(body: str) -> list[str]:
    """What of the service's inside stands in ``body``, each sign with the text that was found."""
    folded = body.casefold()
    signs = [(name, sign) for name, sign in SIGNS.items() if any(word in folded for word in _WORDS[name])]
    return [f"{name}: {found.group(0)[:60]!r}" for name, sign in signs if (found := sign.search(body)) is not None]
