"""The page as text: what it says, in which order, what it keeps out, how large it is."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from html_folders import SOURCE, Folders, fault, fault_report, finding, large_figure

from chaoskit.report.html import logs, write_page

HOSTILE = (
    "<script>alert(1)</script>",
    "</script></style></title></pre></textarea><img src=x onerror=alert(2)>",
    "\" onmouseover=alert(3) x=\"' autofocus onfocus=alert(4) '",
    "javascript:alert(5)",
    "<a href=javascript:alert(6)>x</a>{{ 7 * 7 }}{% raw %}",
    "--><!-- ]]> <!--",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "nul \x00 and \u202etxt.exe\u2066",
    "\ud800 alone",
)


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice: {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note it."""
        self.words.append(data)

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        """The attributes of each tag of this name."""
        return (attributes for name, attributes in self.tags if name == tag)

    @property
    def text(self) -> str:
        """With single spaces."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A reports folder."""
    return Folders(tmp_path / "reports")


@pytest.fixture(scope="module")
def figure(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A timeline."""
    return large_figure(tmp_path_factory.mktemp("figure"))


def written(folders: Folders, **more: Any) -> Tags:
    """The page of all recorded scenarios, read back."""
    write_page(folders.recorded, folders.page, reports=folders.reports, **more)
    return Tags(folders.page.read_text(encoding="utf-8"))


def mixed(folders: Folders) -> Folders:
    """One of each outcome."""
    folders.add("fine", logs={"orders": ["ready"]}, owner="pricing", tags=["a", "b"])
    folders.add("too-slow", "violated", severity="critical", case="C1")
    folders.add("untouched", "vacuous", faults=[fault(touched=0)], severity="blocker")
    folders.add("no-start", "broken", reason="orders ended: exit status 1\n  password=hunter2", severity="minor")
    for name, outcome in (("fine", "caught"), ("too-slow", "not caught")):
        folders.add(f"{name}--control", outcome, nodeid=f"scenarios/{name}.chaos.yaml::{name}--control")
    return folders


def test_what_failed_comes_first_the_most_severe_before_the_others(folders: Folders) -> None:
    """By severity; then what held, then what was caught."""
    page = written(mixed(folders))
    ids = [attributes["id"] for attributes in page.of("article")]
    assert ids == ["untouched", "too-slow", "too-slow--control", "no-start", "fine", "fine--control"]
    assert "1 of 4 scenarios held, 4 need attention" in page.text


def test_what_when_and_why_stand_at_the_top(folders: Folders) -> None:
    """Before the first scenario: expected, seen, worst, what was injected and when; why it broke."""
    text = written(mixed(folders)).text
    top = text[: text.index("What the verdicts mean")]
    assert "during.ask.success_rate expected < 500ms , seen 812ms (worst second: 1s at +1.0 s)" in top
    assert "Injected: slow (latency on stub) from +0.0 s to +2.0 s, touched 12 connections" in top
    assert "orders ended: exit status 1 password=***" in top
    assert "Broke before the first request" in top
    assert "touched 0 connections" in top
    assert "Look whether the traffic of the scenario reaches what the fault acts on" in top
    assert "hunter2" not in text


def test_score_trend_and_counts(folders: Folders) -> None:
    """The score as the gate computes it; the change, and against which run; how many of each outcome."""
    page = written(mixed(folders), trend=[("a", 90.0), ("b", 20.5)])
    assert "Stability score 13.3 of 100" in page.text
    assert "Trend of these 4 scenarios, 2 runs" in page.text
    assert "-69.5 against a, the last run that had any of them" in page.text
    assert "a: 90.0; b: 20.5" in page.text
    assert "✓ held 1 ✓ caught 1 ✗ violated 1 ✗ not caught 1 ? vacuous 1 ! broken 1" in page.text
    first = Tags(_page(folders, trend=[("a", 90.0)]))
    assert not list(first.of("polyline")), "one run is no trend"
    assert "Trend of these 4 scenarios no earlier run has these scenarios" in first.text


def test_a_trend_of_one_scenario(folders: Folders) -> None:
    """In words for one; nothing was compared where nothing was run, or where there is no history."""
    folders.add("fine")
    text = written(folders, trend=[("a", 0.0), ("b", 100.0), ("c", 100.0)]).text
    assert "Trend of this scenario, 3 runs" in text
    assert "as in b, the last run that had it" in text
    assert "no earlier run has this scenario" in written(folders, trend=[("c", 100.0)]).text
    assert "Trend of" not in written(folders).text
    folders.recorded[0] = replace(folders.recorded[0], outcome="skipped")
    assert "Trend of" not in written(folders, trend=[("a", 0.0), ("b", 100.0)]).text


def test_the_worst_finding_stands_first_in_an_opened_scenario(folders: Folders) -> None:
    """Before what was injected, and before the table of all of them."""
    worse = finding("during.ask.p99", "violated", line=4)
    folders.add("too-slow", "violated", findings=[finding("recovery", "violated"), worse])
    text = written(folders).text
    card = text[text.index("✗ violated Scenario too-slow", text.index("Worst finding")) :]
    assert "during.ask.p99 expected < 500ms , seen 812ms" in card[: card.index("Injected: ")]
    assert card.index("and 1 more") < card.index("Injected: ") < card.index("2 findings not met")


def test_no_share_of_fallbacks_that_are_not_recognised(folders: Folders) -> None:
    """An operation that declares none has no such share, rather than 0 %."""
    source = SOURCE + '  get: {{request: "GET /", rate: 1/s, fallback: {{status: 203}}}}\n'
    source = source.replace("expect:\n", "").replace('  during: {{ask: {{p95: "< 500ms"}}}}\n', "")
    shares = {"requests": 9, "success": 1.0, "fallback": 0.0, "p50": 0.1, "p99": 0.2, "histogram": ""}
    folders.add("slow", source=source.format(scenario="Slow"), operations={"ask": shares, "get": shares})
    text = written(folders).text
    assert "ask 9 100% – 100ms 200ms" in text
    assert "get 9 100% 0% 100ms 200ms" in text


def _page(folders: Folders, **more: Any) -> str:
    write_page(folders.recorded, folders.page, reports=folders.reports, **more)
    return folders.page.read_text(encoding="utf-8")


def test_a_finding_shows_the_line_that_asked_for_it(folders: Folders) -> None:
    """File (as the terminal names it) and line, and what stands there; held findings are there too."""
    folders.add("too-slow", "violated", file="/elsewhere/mine/too-slow.chaos.yaml")
    assert 'scenarios/too-slow.chaos.yaml:5 during: {ask: {p95: "< 500ms"}}' in written(folders).text
    folders.recorded.clear()
    folders.add("too-strict", "violated")
    text = written(folders).text
    assert ' scenario.chaos.yaml:5 during: {ask: {p95: "< 500ms"}}' in text
    assert "1 finding held" in text


def test_one_is_not_many(folders: Folders) -> None:
    """One connection, one request, one line, one character."""
    one = fault(touched=1)
    folders.add("too-slow", "violated", faults=[one], samples=1, logs={"orders": ["x"]}, description="x" * 2001)
    text = written(folders).text
    for words in (
        "touched 1 connection ", "1 connection toxic", "1 request, seed", "1 of 1 line ", "(+1 character)",
        "0 of 1 scenario held, 1 needs attention", "1 finding not met", "1 finding held",
    ):  # fmt: skip
        assert words in text, words


def test_an_invalid_scenario_says_why_and_how_to_run_it(folders: Folders) -> None:
    """Among what needs attention, with its mistakes; nothing is offered that needs a recorded history."""
    from recordings import made

    facts = {"severity": "unknown", "folder": None, "reason": "x.chaos.yaml:3: <typo>", "reproduce": "pytest x"}
    folders.recorded.append(made("bad", "invalid", **facts))
    page = written(folders)
    assert page.text.count("x.chaos.yaml:3: <typo>") == 3, "what failed, the list, the card"
    assert "0 of 1 scenario held, 1 needs attention" in page.text
    assert "pytest x" in page.text
    assert "judges this history again" not in page.text


def test_a_skipped_scenario_says_why(folders: Folders) -> None:
    """It is in the list, and counts for nothing."""
    from recordings import made

    folders.add("fine")
    folders.recorded.append(made("elsewhere", "skipped", reason="needs Docker"))
    page = written(folders)
    assert "1 of 1 scenario held" in page.text
    assert "Not rehearsed here: needs Docker" in page.text


def test_logs_are_bounded_and_tell_of_trouble_first(folders: Folders) -> None:
    """Of a thousand lines: the first errors, then the last lines, in order, masked, with times."""
    lines = [f"line {number}" for number in range(1000)]
    lines[500], lines[700] = "ERROR: refused, \x1b[31mtoken\x1b[0m=\x1b[1mhunter2\x1b[0m", "WARNING: slow"
    one = folders.add("x", "violated", logs={"orders": lines, "quiet": ["only one"]})
    assert one.folder is not None
    orders, quiet = logs.read(one.folder, 100.0)
    shown = orders.excerpt(10)
    assert [text for _, text in shown] == [
        "ERROR: refused, token=***", "WARNING: slow", *(f"line {number}" for number in range(992, 1000)),
    ]  # fmt: skip
    assert shown[0][0] == pytest.approx(50.0)
    assert (orders.total, quiet.total, len(quiet.excerpt(10))) == (1000, 1, 1)
    assert "Log of orders: 60 of 1000 lines" in written(folders).text


def test_nothing_of_a_service_becomes_part_of_the_page(folders: Folders) -> None:
    """Hostile texts in every place that holds text: no tag, no attribute, no address and no control comes of them."""
    calm = mixed(Folders(folders.reports.parent / "calm"))
    calm.add("reported", files={"fault-reports/1-x.json": fault_report("calm")})
    usual_tags = {(tag, name) for tag, attributes in written(calm).tags for name in attributes}
    for number, text in enumerate(HOSTILE):
        folders.add(
            f"hostile-{number}", "violated", scenario=text, owner=text, tags=[text], case=text, description=text,
            reason=text, reproduce=text, file=text, nodeid=f"x::{text}", matrix={text: text},
            findings=[finding(text, "violated", expected=text, seen=text, worst=text, rows=[text])],
            faults=[fault(name=text, kind=text, target=text, unit=text, evidence={text: text})],
            logs={text: [text]}, source=f"scenario: x\n{text}\n" * 3, toxiproxy=text, runtime=text, chaoskit=text,
            files={"fault-reports/1-x.json": fault_report(text), "fault-reports/1-x.md": text},
        )  # fmt: skip
    page = written(folders, trend=[(text, 50.0) for text in HOSTILE])
    found = {(tag, name) for tag, attributes in page.tags for name in attributes}
    assert found - usual_tags <= {
        ("svg", name) for name in ("class", "role", "aria-labelledby", "viewbox", "width", "height")
    } | {("title", "id"), ("polyline", "points")} | {("circle", name) for name in ("cx", "cy", "r")} | {
        ("option", "value")
    }
    assert sum(1 for _ in page.of("script")) == sum(1 for _ in page.of("style")) == 1
    for tag, attributes in page.tags:
        for name in ("href", "src"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "./", "data:image/svg+xml,")), (tag, address)
    raw = folders.page.read_bytes().decode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", raw)
    assert "{{ 7 * 7 }}" in page.text
    assert "alert(1)</script>" in page.text


def test_the_policy_allows_this_style_and_script_and_nothing_else(folders: Folders) -> None:
    """The hashes are those of the only style and the only script."""
    folders.add("fine")
    text = _page(folders)
    policy = next(str(meta["content"]) for meta in Tags(text).of("meta") if "http-equiv" in meta)
    for tag in ("style", "script"):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r'\s(style|on\w+)="', text)


def test_it_can_be_read_aloud_and_walked_through(folders: Folders, figure: bytes) -> None:
    """Language, title, landmarks, no level of heading left out, alternatives, labels, ids that are there once."""
    folders.svg = figure
    page = written(mixed(folders), trend=[("a", 1.0), ("b", 2.0)])
    assert next(page.of("html"))["lang"] == "en"
    assert "4 failed" in page.text
    for landmark in ("header", "main", "footer"):
        assert sum(1 for _ in page.of(landmark)) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    images = list(page.of("img"))
    assert len(images) == 6
    for image in images:
        assert len(image["alt"] or "") > 30
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = [str(attributes["aria-labelledby"]) for _, attributes in page.tags if "aria-labelledby" in attributes]
    assert referred
    assert set(referred) <= set(ids)
    markup = folders.page.read_text(encoding="utf-8")
    inputs = re.findall(r"<(?:input|select)\b", markup)
    labelled = re.findall(r"<label[^>]*>(?:(?!</label>).)*<(?:input|select)\b", markup, re.DOTALL)
    assert len(inputs) == len(labelled) > 5
    assert all(th.get("scope") for th in page.of("th"))


def test_no_outcome_is_told_by_colour_alone(folders: Folders) -> None:
    """Each badge holds the word and a sign of its own."""
    badges = set(re.findall(r'<span class="badge ([a-z-]+)"><span aria-hidden="true">(.)</span> ([a-z ]+)</span>',
                            _page(mixed(folders))))  # fmt: skip
    assert badges == {
        ("held", "✓", "held"), ("violated", "✗", "violated"), ("vacuous", "?", "vacuous"), ("broken", "!", "broken"),
        ("invalid", "!", "invalid"), ("inconclusive", "~", "inconclusive"),
        ("caught", "✓", "caught"), ("not-caught", "✗", "not caught"),
    }  # fmt: skip


def test_nothing_at_all_is_a_page_too(folders: Folders) -> None:
    """A run in which all was skipped, or nothing was."""
    assert "0 of 0 scenarios held" in written(folders).text


def test_the_pictures_in_the_docs_are_there_and_small() -> None:
    """Each that the guide shows, none that it does not; under 200 kB."""
    docs = Path(__file__).parents[2] / "docs"
    guide = (docs / "how-to" / "read-the-report.md").read_text(encoding="utf-8")
    shown = {(docs / "how-to" / name).resolve() for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", guide)}
    assert shown == set(docs.glob("images/html-*.png"))
    assert all(picture.stat().st_size < 200_000 for picture in shown)
