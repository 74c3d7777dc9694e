"""Each mistake in a scenario file is one message, with the line it stands in and what would be right."""

# ruff: noqa: E501 - one row of the table is one line

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language.loader import load


@dataclass(frozen=True)
class Mistake:
    """``old`` is replaced by ``new`` in the valid scenario; ``#!`` in ``new`` marks the line to be named.

    ``says`` are pieces of the one message that must come.
    """

    old: str
    new: str
    says: tuple[str, ...]


def mistake(id: str, old: str, new: str, *says: str) -> Any:
    """A row of the table."""
    return pytest.param(Mistake(old, new, says), id=id)


SLOW_DB = "- slow-db: {latency: {on: db, delay: 800ms, jitter: 100ms}, at: 0s, for: 6s}"
HUNG = "    - hung:\n        pause: {service: orders}\n        at: 2s\n        for: 1s\n"
DURING = '    place: {success_rate: ">= 99%", p99: "< 1s"}'
STEADY = '  place: {success_rate: ">= 99%", p95: "< 250ms"}'
DATA = "data:\n  skus: [a, b]\n"
SKU = '{sku: "{{ pick(skus) }}", region: "{{ pick(regions) }}"}'

TABLE = [
    # Unknown names
    mistake("key", "owner: orders", "ownr: orders #!", "unknown key 'ownr'", "legal: case, control", "'owner'?"),
    mistake("nested key", "arrival: con", "arival: con", "unknown key 'arival'", "legal: arrival, body", "'arrival'?"),
    mistake("number as key", "owner: orders", "17: orders #!", "unknown key '17'"),
    mistake("fault", "latency: {on", "latencyy: {on", "unknown fault 'latencyy'", "legal: abort,", "'latency'?"),
    mistake("expectation", "  recovery: {w", "  recvery: {w", "unknown expectation 'recvery'", "'recovery'?"),
    mistake("service", "{on: db,", "{on: dbb,", "unknown service 'dbb'; legal: db, orders; did you mean 'db'?"),
    mistake("service of with", "  orders: {env: {LOG", "  odrers: {env: {LOG", "unknown service 'odrers'", "'orders'?"),
    mistake("service of control", "    orders: {env: {P", "    payments: {env: {P", "unknown service 'payments'"),
    mistake("expected operation", "during:\n    place: {", "during:\n    plce: { #!\n      ", "unknown operation 'plce'", "'place'?"),
    mistake("steady operation", STEADY, STEADY.replace("place", "plce"), "unknown operation 'plce'", "'place'?"),
    mistake("environment", "environment: shop\n", "environment: shpo #!\n", "unknown environment 'shpo'; legal: shop;"),
    mistake("severity", "severity: critical", "severity: kritical", "severity: 'kritical'", "trivial; did you mean 'critical'?"),
    mistake("metric", STEADY, STEADY.replace("p95", "p96") + "  #!", "unknown key 'p96'", "legal: error_rate,", "'p99'?"),
    mistake("argument", "jitter: 100ms", "jiter: 100ms", "unknown key 'jiter'; legal: connections, delay,", "'jitter'?"),
    mistake("required argument", "delay: 800ms", "dely: 800ms", "unknown key 'dely'", "did you mean 'delay'?"),
    mistake("isolation", "isolation: shared", "isolation: fressh", "isolation: 'fressh' is not allowed", "'fresh'?"),
    # Quantities
    mistake("bare rate", "rate: 40/s", "rate: 40", "rate: 40 is not a rate", "legal: /s, /m, /min, /h"),
    mistake("bare duration", "timeout: 2s", "timeout: 2", "timeout: 2 is not a duration", "legal: us, µs, ms, s, m"),
    mistake("bare zero", "at: 0s", "at: 0", "at: 0 is not a duration"),
    mistake("wrong unit", "rate: 40/s", "rate: 40ms", "rate: '40ms' is not a rate"),
    mistake("unit of another kind", "delay: 800ms", "delay: 80%", "delay: '80%' is not a duration"),
    mistake("text for a number", "steady: 3s", "steady: soon", "steady: 'soon' is not a duration"),
    mistake("negative", "timeout: 2s", "timeout: -2s", "timeout: must not be negative"),
    mistake("endless", "timeout: 2s", "timeout: 1e999s", "timeout: '1e999s' is too large"),
    mistake("window", "for: 6s", "for: 6", "for: 6 is not a duration"),
    mistake("empty window", "for: 6s", "for: 0s", "for: a fault of 0s touches nothing"),
    mistake("over 100%", "jitter: 100ms", "share: 120%", "share: a share lies between 0% and 100%"),
    # Bounds
    mistake("no comparison", STEADY, STEADY.replace('"< 250ms"', "250ms"), "(a comparison is missing); legal: >= 250ms"),
    mistake("bare bound", STEADY, STEADY.replace('"< 250ms"', "250"), "p95: 250 is not a bound for a duration"),
    mistake("bound of another unit", STEADY, STEADY.replace("250ms", "9%"), "p95: '< 9%' is not a bound for a duration"),
    mistake("empty range", STEADY, STEADY.replace("< 250ms", "2s..1s"), "'2s..1s'", "(the range is empty)"),
    mistake("empty range around", STEADY, STEADY.replace("< 250ms", "1s ± -9%"), "(the range is empty)"),
    mistake("not a number", STEADY, STEADY.replace('p95: "< 250ms"', 'requests: ">= nan"'), "nan is not a finite number"),
    # Relative to the steady state
    mistake("relative steady state", STEADY, STEADY.replace("< 250ms", "<= 3x steady"), "p95: '<= 3x steady' would be relative to itself", "legal: >= 250ms"),
    mistake("misspelt steady", DURING, DURING.replace("< 1s", "3x stedy"), "p99: '3x stedy' is not a bound for a duration", "legal: <= 3x steady, >= 0.5x steady, 0.5x..2x steady"),
    mistake("no factor", DURING, DURING.replace("< 1s", "<= x steady"), "p99: '<= x steady' is not a bound for a duration", "legal: <= 3x steady"),
    mistake("factor without x", DURING, DURING.replace("< 1s", "<= 3 steady"), "p99: '<= 3 steady' is not a bound for a duration", "legal: <= 3x steady"),
    mistake("of what", DURING, DURING.replace("< 1s", "<= 3x"), "a factor with x, and 'steady'", "legal: <= 3x steady"),
    mistake("no factor at all", DURING, DURING.replace("< 1s", "<= 0x steady"), "(a factor is above 0)", "legal: <= 3x steady"),
    mistake("empty range of factors", DURING, DURING.replace("< 1s", "2x..1x steady"), "(the factors are no numbers, or no range)"),
    mistake("relative share", DURING, DURING.replace(">= 99%", ">= 0.9 steady"), "success_rate: '>= 0.9 steady' is not a bound for a ratio", "legal: <= 3x steady"),
    mistake("relative number", DURING, DURING.replace('"< 1s"', '"< 1s", requests: ">= 1x steady"'), "requests: '>= 1x steady' is not a bound for a number", "only a figure of an operation in 'during' or 'after'"),
    mistake("no bound at all", STEADY, "  place: {}", "place: nothing is expected here"),
    # Structure
    mistake("key twice", "owner: orders", "owner: orders\nowner: x #!", "'owner' stands here again; first in line 4"),
    mistake("fault twice", "    - hung:", "    - slow-db: #!", "a fault named 'slow-db' stands in line 31 already"),
    mistake("no window", HUNG, HUNG.replace("        for: 1s\n", "").replace("hung:", "hung: #!"), "'for' is missing: how long"),
    mistake("no kind", HUNG, HUNG.replace("        pause: {service: orders}", "").replace("hung:", "hung: #!"), "no kind of fault", "legal: abort,"),
    mistake("two kinds", HUNG, HUNG.replace("at: 2s", "kill: {service: db}").replace("hung:", "hung: #!"), "one kind of fault is expected, found pause, kill"),
    mistake("unnamed fault", SLOW_DB, "- {}", "a fault has a name, a kind and a window; legal: NAME: {FAULT: {"),
    mistake("fault as text", SLOW_DB, "- latency", "a fault has a name, a kind and a window"),
    mistake("fault not indented", HUNG, HUNG.replace("        ", "      ").replace("hung:", "hung: #!"), "a fault has a name, a kind and a window"),
    mistake("missing argument", "delay: 800ms, ", "", "'delay' is missing"),
    mistake("list for a mapping", "steady_state:\n" + STEADY, "steady_state: #!\n  - place", "steady_state: a mapping is expected, found ['place']"),
    mistake("text for a mapping", STEADY, "  place: fine", "place: a mapping is expected, found 'fine'"),
    mistake("text for a list", "tags: [pool]", "tags: pool", "tags: a list is expected, found 'pool'"),
    mistake("nothing for a mapping", "  recovery: {within: 5s}", "  recovery:", "recovery: a mapping is expected, found nothing"),
    mistake("an empty list", "  recovery: {within: 5s}", "  recovery: []", "recovery: nothing is expected here"),
    mistake("an empty mapping", "  recovery: {within: 5s}", "  after: {}", "after: nothing is expected here"),
    mistake("of two types", "status: 201", "status: [x]", "status: a whole number is expected, found 'x'"),
    mistake("none of two types", "environment: shop\n", "environment: 3 #!\n", "environment: text or a mapping is expected, found 3"),
    mistake("too many", "rate: 40/s", "rate: 40/s\n    copies: 1000 #!", "copies: should be less than or equal to 100"),
    mistake("index in brackets", "ok: {status: 201}", 'ok: {json: {"items[0].id": 5}}', "'items[0].id' is no dotted path", "legal: items.0.id"),
    mistake("two bodies", "  place:\n    request:", "  place: #!\n    body: text\n    request:", "place: a request has one body: 'json' or 'body', not both"),
    mistake("every answer a fallback", "fallback: {header: {x-degraded: cache}}", "fallback: {}", "every answer would be a fallback"),
    mistake("not a request", "request: POST {{ orders.url }}/orders", "request: post /x", "legal: METHOD URL, for example"),
    mistake("control without a change", "  with:\n    orders: {env: {POOL: none}}", "  with: {} #!", "with: dictionary should have at least 1"),
    # Controls
    mistake("control of nothing", "[during.place.p99]", "[durng.place.p99]", "expects nothing named 'durng'", "'during'?"),
    mistake("control of no operation", "[during.place.p99]", "[during.plce.p99]", "'during' expects nothing named 'plce'"),
    mistake("control of no metric", "[during.place.p99]", "[during.place.p98]", "'place' expects nothing named 'p98'", "'p99'?"),
    mistake("control says nothing", "[during.place.p99]", "[]", "violates: list should have at least 1 item"),
    # Templates
    mistake("template syntax", SKU, '{sku: "{{ pick(skus }}"}', "unexpected '}', expected ')'"),
    mistake("template name", SKU, '{sku: "{{ pick(sku) }}"}', "unknown name 'sku'; legal: db, faker,", "'skus'?"),
    mistake("template filter", SKU, '{sku: "{{ skus | frist }}"}', "No filter named 'frist'"),
    mistake("template key", SKU, '{"{{ nosuch }}": 1}', "unknown name 'nosuch'"),
    mistake("template address", "{{ orders.url }}", "{{ orders.urll }}", "the service orders has no 'urll'", "'url'?"),
    mistake("template private", SKU, '{sku: "{{ skus.__class__ }}"}', "'__class__' may not be reached"),
    mistake("template private item", SKU, "{sku: \"{{ skus['__class__'] }}\"}", "'__class__' may not be reached"),
    mistake("template private filter", SKU, "{sku: \"{{ skus|attr('_x') }}\"}", "'_x' may not be reached"),
    mistake("template keyword twice", SKU, '{sku: "{{ pick(a=1, a=2) }}"}', "template '{{ pick(a=1, a=2) }}': "),
    mistake("template of a setting", "LOG: debug", 'LOG: "{{ skus }}"', "unknown name 'skus'"),
    mistake("reserved name", DATA, "data:\n  skus: [a, b]\n  faker: x #!\n", "the name 'faker' is taken"),
    mistake("data like a service", DATA, "data:\n  skus: [a, b]\n  db: x #!\n", "'db' is a service"),
    # Matrix
    mistake("matrix name", "owner: orders", 'owner: "{{ matrix.delay }} {{ matrix.dely }}" #!\nmatrix: {delay: [a]}', "unknown matrix value 'dely'", "'delay'?"),
    mistake("matrix expression", SKU, '{sku: "{{ matrix.delay | upper }}"}', "legal: {{ matrix.NAME }}"),
    mistake("matrix unused", "owner: orders", "matrix: {more: [1, 2]} #!", "the matrix value 'more' is used nowhere"),
    mistake("matrix empty", "owner: orders", "matrix: {x: []} #!", "x: list should have at least 1 item"),
    mistake("matrix of one", "owner: orders", "matrix: {x: 1s} #!", "x: a list is expected, found '1s'"),
    mistake("matrix as list", "owner: orders", "matrix: [1s] #!", "matrix: a mapping is expected"),
    mistake("matrix same names", "owner: orders", 'owner: "{{ matrix.x }}"\nmatrix: {x: [a b, a-b]} #!', "'orders--x-a-b'"),
    # YAML
    mistake("bracket", "tags: [pool]", "tags: [pool\nx: y #!", "not YAML: while parsing a flow sequence"),
    mistake("tab", "tags: [pool]", "tags:\n\t- pool #!", "not YAML: ", "cannot start any token; YAML indents with blanks"),
    mistake("bare bound", 'p95: "< 250ms"', "p95: > 250ms #!", 'not YAML: ', 'a bound stands in quotes: ">= 99%"'),
    mistake("fault without a name", SLOW_DB, "- latency: {on: db, at: 0s, for: 6s} #!", "latency is a kind of fault; a fault has a name of its own, then its kind; legal: NAME: {FAULT"),
    mistake("bare template", "request: POST {{ orders.url }}/orders", "request: {{ orders.url }}/orders", "not YAML: ", "begins with {{ stands in quotes"),
    mistake("bare colon", "scenario: Orders survive", "scenario: Orders: survive", "not YAML: ", "a colon and a blank stands in quotes"),
    mistake("a time for a mapping", "  recovery: {within: 5s}", "  recovery: 4s", "recovery: a mapping is expected, found '4s'; legal: {within: 4s}"),
    mistake("a count with a unit", STEADY, STEADY.replace('p95: "< 250ms"', 'requests: ">= 40 requests"'), "('40 requests' is not a number);"),
    mistake("alias to nothing", "owner: orders", "owner: *nosuch #!", "not YAML: found undefined alias"),
    mistake("alias of itself", DATA, "data:\n  skus: &a [*a] #!\n", "nested more than 60 levels deep, or an alias"),
    mistake("deep merge", DATA, f"data:\n  {'<<: {' * 1500}{'}' * 1500} #!\n", "nested more than 60 levels deep, or an alias"),
    mistake("merge of text", DATA, "data:\n  <<: text #!\n", "expected a mapping or list of mappings for merging"),
    mistake("merge twice", DATA, "data:\n  <<: {a: 1}\n  <<: {b: 1} #!\n", "'<<' stands here again; first in line 15: merge a list"),
    mistake("merge of itself", DATA, "data: &a #!\n  <<: *a\n", "nested more than 60 levels deep, or an alias"),
    mistake("python tag", "owner: orders", "owner: !!python/name:os.system x #!", "python/name:os.system is not allowed"),
    mistake("tag on a mapping", DATA, "data: !x #!\n  a: b\n", "the tag !x is not allowed"),
    mistake("text tag on a mapping", DATA, "data:\n  skus: !!str {a: b} #!\n", "the tag tag:yaml.org,2002:str is not"),
    mistake("key that is a list", "owner: orders", "? [a, b] #!\n: c", "a key must be plain text"),
    mistake("endless number", DATA, f"data:\n  skus: {'9' * 5000} #!\n", "is not usable as a value"),
    mistake("bad number", DATA, "data:\n  skus: !!int x #!\n", "'x' is not usable as a value"),
    mistake("control character", "owner: orders", "owner: \x01 #!", "not YAML: '\\x01': "),
    mistake("deep flow", DATA, f"data:\n  skus: {'[' * 9000} #!\n", "nested more than 60 levels deep"),
    mistake("deep block", DATA, f"data:\n  {'- ' * 5000}x #!\n", "nested more than 60 levels deep"),
]  # fmt: skip


def marked_line(text: str, valid: str) -> int:
    """The number of the line with the mark, or of the first one that is not as in the valid text."""
    lines = text.splitlines()
    marked = [number for number, line in enumerate(lines, 1) if "#!" in line]
    return next(
        iter(marked),
        1 + [old == new for old, new in zip(valid.splitlines(), lines, strict=False)].index(False),
    )


@pytest.mark.parametrize("row", TABLE)
def test_one_mistake_is_one_message_with_its_line(desk: Any, row: Mistake) -> None:
    """Exactly one problem comes, in the right line of the right file, saying what is legal."""
    text = desk.edit(row.old, row.new)
    (problem,) = desk.problems(text)
    assert str(problem).startswith(f"orders.chaos.yaml:{marked_line(text, desk.scenario)}: ")
    for words in row.says:
        assert words in str(problem)
    assert "\n" not in str(problem)


@pytest.mark.parametrize("key", ["scenario", "environment", "traffic", "steady_state", "timeline"])
def test_a_missing_key_is_named(desk: Any, key: str) -> None:
    """A required key of the file that is missing is told with the first line."""
    kept, skip = [], False
    for line in desk.scenario.splitlines():
        if not line.startswith(" "):
            skip = line.startswith(f"{key}:")
        if not skip:
            kept.append(line)
    texts = [str(problem) for problem in desk.problems("\n".join(kept))]
    assert f"orders.chaos.yaml:1: {key!r} is missing" in texts


def test_all_mistakes_of_a_file_are_told_at_once(desk: Any) -> None:
    """Mistakes in every part of a file come together, sorted by line, one line of text each."""
    text = desk.scenario
    for old, new in (
        ("owner: orders", "ownr: orders"),
        ("rate: 40/s", "rate: 40"),
        ("{{ pick(skus) }}", "{{ pick(sku) }}"),
        ("{on: db,", "{on: dbb,"),
        ("pause: {service", "pasue: {service"),
        ("  recovery: {within: 5s}", "  recovery: {within: 5}"),
    ):
        text = desk.edit(old, new, text)
    with pytest.raises(InputError) as caught:
        desk.load(text)
    assert [problem.line for problem in caught.value.problems] == [4, 20, 21, 31, 33, 40]
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: a mapping is expected at the top"),
        ("# only a comment\n", "1: a mapping is expected at the top"),
        ("- a\n- b\n", "1: a mapping is expected at the top"),
        ("just text\n", "1: a mapping is expected at the top"),
        ("--- 1\n--- 2\n", "2: not YAML: expected a single document"),
    ],
)
def test_a_file_that_holds_no_mapping(desk: Any, text: str, says: str) -> None:
    """An empty file, a list, a text or two documents: one message."""
    (problem,) = desk.problems(text)
    assert says in str(problem)


@pytest.mark.parametrize(
    ("content", "says"), [(b"scenario: \xff\xfe", "not UTF-8 text"), (b"\x00\x01", "not YAML: '\\x00'")]
)
def test_a_file_that_holds_no_text(desk: Any, content: bytes, says: str) -> None:
    """Bytes that are no text are one message, not a decoding error."""
    desk.file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(desk.file)
    (problem,) = caught.value.problems
    assert str(problem).startswith("orders.chaos.yaml:1: ")
    assert says in str(problem)


def test_a_file_that_is_not_there_or_is_a_folder(desk: Any) -> None:
    """What cannot be read says why."""
    with pytest.raises(InputError, match=r"nosuch\.chaos\.yaml:1: cannot be read: No such file"):
        load(desk.file.with_name("nosuch.chaos.yaml"))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load(desk.file.parent)


def test_an_environment_is_no_scenario(desk: Any) -> None:
    """One message, instead of one for each key that it lacks."""
    (problem,) = desk.problems(desk.environment)
    assert str(problem) == "orders.chaos.yaml:4: this is an environment, which scenarios name: no scenario"


def test_a_text_that_grows_by_its_aliases_is_refused_quickly(desk: Any) -> None:
    """Nine levels of nine aliases would be 400 million values."""
    levels = ["  a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (problem,) = desk.problems(desk.edit("data:\n", "data:\n" + "\n".join(levels) + "\n"))
    assert "more than 100000 values, counting what aliases repeat" in str(problem)
