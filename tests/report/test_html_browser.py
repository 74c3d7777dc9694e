"""The page in a real browser: what a person sees, clicks, types, prints; and that it asks nobody for anything."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from figures_histories import drawn, scenarios, usual
from html_folders import Folders, fault
from page_browser import PageBrowser, drawn_in
from test_html_page import HOSTILE

from chaoskit.report.allure.serve import ReportServer
from chaoskit.report.html import write_page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageBrowser]:
    """One browser without a window for all of these tests."""
    with PageBrowser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture(autouse=True)
def _calm(request: pytest.FixtureRequest, browser: PageBrowser) -> Iterator[None]:
    """Nothing was asked for but the page itself, and nothing was complained about."""
    browser.asked.clear()
    browser.complaints.clear()
    yield
    browser.command("Emulation.setEmulatedMedia", features=[], media="")
    assert browser.complaints == []
    assert {url.partition("#")[0].rpartition("/")[2] for url in browser.asked} <= {"chaoskit.html"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One violated, one vacuous, one broken, two held, a control."""
    folder = tmp_path_factory.mktemp("page")
    (scenario,) = scenarios(folder)
    folders = Folders(folder / "reports", drawn(scenario, usual())["timeline"].picture.svg)
    folders.add(
        "too-slow",
        "violated",
        severity="critical",
        owner="orders",
        tags=["latency"],
        logs={"orders": ["warning: needle"]},
    )
    folders.add("untouched", "vacuous", faults=[fault(touched=0)], severity="minor", tags=["feed", "latency"])
    folders.add(
        "no-start", "broken", reason="orders ended: BROKER_URL is not set", owner="pricing", logs={"orders": ["x"]}
    )
    folders.add("fine", owner="pricing")
    folders.add("fine-too", owner="orders")
    folders.add("fine--control", "caught")
    write_page(folders.recorded, folders.page, trend=[("a", 90.0), ("b", 50.0)], reports=folders.reports)
    return folders.page


def test_a_minute_is_enough(browser: PageBrowser, page: Path) -> None:
    """The first screen tells of all three failures: what, when and why."""
    browser.command("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.visit(page)
    script = (
        "[...document.querySelectorAll('.attention > li')].filter(e => e.getBoundingClientRect().bottom < 900)"
        ".map(e => e.innerText)"
    )
    told = browser.ask(script)
    assert len(told) == 3
    assert "expected < 500ms, seen 812ms (worst second: 1s at +1.0 s" in told[0]
    assert "BROKER_URL is not set" in told[1]
    assert "Broke before the first request" in told[1]
    assert "touched 0 connections" in told[2]
    assert "2 of 5 scenarios held, 3 need attention" in browser.text()


def test_the_style_and_the_figures_are_there(browser: PageBrowser, page: Path) -> None:
    """The policy lets both through: colours are set, images have their size."""
    browser.visit(page)
    assert (
        browser.ask("getComputedStyle(document.querySelector('.badge.violated')).backgroundColor") == "rgb(168, 63, 0)"
    )
    sizes = browser.ask("[...document.images].map(i => [i.complete, i.naturalWidth])")
    assert len(sizes) == 6
    assert all(complete and width > 500 for complete, width in sizes)


def test_what_failed_is_open_and_what_held_is_folded(browser: PageBrowser, page: Path) -> None:
    """Failed scenarios can be read without a click; the buttons open and close all."""
    browser.visit(page)
    opened = (
        "[...document.querySelectorAll('article.card')].filter(c => c.querySelector('details').open).map(c => c.id)"
    )
    assert browser.ask(opened) == ["too-slow", "no-start", "untouched"]
    browser.ask("document.getElementById('_open').click()")
    assert len(browser.ask(opened)) == 6
    browser.ask("document.getElementById('_close').click()")
    assert browser.ask(opened) == []


def test_filter_and_search(browser: PageBrowser, page: Path) -> None:
    """By verdict, severity, owner and tag, by words anywhere, also in logs; together; and cleared."""
    browser.visit(page)

    def choose(name: str, value: str) -> list[str]:
        browser.ask(
            f"(() => {{ const field = document.querySelector('[name={name}]'); field.value = {value!r}; "
            "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        return browser.shown()

    assert len(browser.shown()) == 6
    browser.ask("document.querySelector('[name=outcome][value=held]').click()")
    assert browser.shown() == ["too-slow", "no-start", "untouched", "fine--control"]
    assert browser.ask("[...document.querySelectorAll('tr[data-for]')].filter(r => !r.hidden).length") == 4
    assert "4 of 6 shown" in browser.text()
    assert choose("tag", "latency") == ["too-slow", "untouched"]
    assert choose("severity", "minor") == ["untouched"]
    assert choose("owner", "pricing") == []
    assert "No scenario matches the filter" in browser.text()
    browser.ask("document.querySelector('[type=reset]').click()")
    browser.until("[...document.querySelectorAll('article.card')].every(c => !c.hidden)")
    assert choose("owner", "pricing") == ["no-start", "fine"]
    assert choose("owner", "") == browser.shown()
    assert choose("search", "NEEDLE") == ["too-slow"]
    assert choose("search", "broker_url not") == ["no-start"]
    assert choose("search", "no such thing") == []


def test_a_link_to_a_scenario_opens_it(browser: PageBrowser, page: Path) -> None:
    """Also a folded one, and one that the filter had hidden; the focus is there."""
    browser.visit(page, "#fine")
    assert browser.ask("document.querySelector('#fine details').open")
    browser.until("document.activeElement.closest('article')?.id == 'fine'")
    assert browser.ask("Math.abs(document.querySelector('#fine').getBoundingClientRect().top) < 200")
    browser.ask("document.querySelector('[name=outcome][value=vacuous]').click()")
    assert "untouched" not in browser.shown()
    browser.ask("location.hash = '#untouched'")
    browser.until("document.activeElement.closest('article')?.id == 'untouched'")
    assert "untouched" in browser.shown()


def test_keys(browser: PageBrowser, page: Path) -> None:
    """Tab reaches everything with a mark around it, j and k go from scenario to scenario, / to the search."""
    browser.visit(page)
    seen = []
    for _ in range(12):
        browser.press("Tab")
        seen.append(browser.ask("document.activeElement.textContent.trim().slice(0, 20)"))
        assert browser.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert seen[0] == "Skip to the scenario"
    assert seen[1] == "Dark"
    browser.ask("document.activeElement.blur()")
    browser.press("j")
    browser.press("j")
    assert browser.ask("document.activeElement.closest('article').id") == "no-start"
    browser.press("k")
    assert browser.ask("document.activeElement.closest('article').id") == "too-slow"
    browser.press("/")
    assert browser.ask("document.activeElement.name") == "search"


def test_dark_and_light(browser: PageBrowser, page: Path) -> None:
    """As the system has it, until the button is pressed; then as chosen, also when opened again."""
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.visit(page)
    light = browser.ask(ground)
    browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.visit(page)
    dark = browser.ask(ground)
    assert (light, dark) == ("rgb(246, 247, 248)", "rgb(20, 23, 26)")
    browser.ask("document.getElementById('_theme').click()")
    assert browser.ask(ground) == light
    assert browser.ask("document.getElementById('_theme').textContent") == "Dark"
    browser.visit(page)
    assert browser.ask(ground) == light
    browser.ask("localStorage.clear()")


def test_the_command_is_copied(browser: PageBrowser, page: Path) -> None:
    """Into the clipboard; where there is none it is selected. The button says which."""
    browser.visit(page)
    browser.ask(
        "Object.defineProperty(navigator, 'clipboard', {configurable: true, value: "
        "{writeText: async text => { window.got = text; }}})"
    )
    browser.ask("document.querySelector('.copy').click()")
    assert browser.until("document.querySelector('.copy').textContent == 'Copied'")
    assert browser.ask("window.got") == "pytest --chaos --chaos-seed=7 scenarios/too-slow.chaos.yaml::too-slow"
    browser.ask("navigator.clipboard.writeText = async () => { throw new Error('no'); }")
    browser.ask("document.querySelectorAll('.copy')[1].click()")
    assert browser.until("document.querySelectorAll('.copy')[1].textContent == 'Selected'")
    assert "no-start" in browser.ask("String(getSelection())")


def test_without_javascript_everything_is_there(browser: PageBrowser, page: Path) -> None:
    """Every scenario open, and no button that would do nothing."""
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.visit(page)
        text = browser.text()
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)
    for words in (
        "Scenario fine-too",
        "pytest --chaos --chaos-seed=7 scenarios/fine.chaos.yaml::fine",
        "What callers saw",
    ):
        assert words in text or words == "What callers saw"
    assert text.count("Run it again") == 6
    assert text.count("traffic:") == 6, "the scenarios' sources"
    assert "Close all" not in text
    assert "Copy" not in text


def test_on_paper_everything_is_open(browser: PageBrowser, page: Path) -> None:
    """The PDF has the figures of all scenarios, held ones too, and afterwards all is folded as it was."""
    browser.visit(page)
    browser.ask(
        "addEventListener('beforeprint', () => { window.folded_then = "
        "document.querySelectorAll('details:not([open])').length; })"
    )
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 4
    assert browser.ask("window.folded_then") == 0
    assert not browser.ask("document.querySelector('#fine details').open")
    whole = drawn_in(pdf)
    browser.ask("document.querySelectorAll('article.card:not(#too-slow)').forEach(card => card.remove())")
    assert whole > 2 * drawn_in(browser.pdf())


def test_no_network_is_needed(browser: PageBrowser, page: Path) -> None:
    """Without one, the page is complete; the policy refuses what a page might ask for."""
    browser.command(
        "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
    )
    try:
        browser.visit(page)
        assert browser.ask("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert "too-slow" in browser.shown()
    finally:
        browser.command(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
    refused = browser.ask("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert browser.complaints
    assert all("Content Security Policy" in text for text in browser.complaints)
    browser.complaints.clear()


def test_the_link_to_allure_is_there_when_it_works(browser: PageBrowser, tmp_path: Path) -> None:
    """From a file there is the command alone, for Allure's pages need a server; from a server there is the link."""
    folders = Folders(tmp_path / "reports")
    folders.add("fine")
    index = folders.reports / "allure-report" / "index.html"
    index.parent.mkdir()
    index.write_text("<title>Allure</title>", encoding="utf-8")
    write_page(folders.recorded, folders.page, reports=folders.reports)
    fact = "[...document.querySelectorAll('.facts div')].map(e => e.innerText).find(e => e.startsWith('Allure'))"
    browser.visit(folders.page)
    assert re.match(r"Allure report\s+chaoskit report --open .*builds and opens it$", browser.ask(fact))
    with ReportServer(folders.reports) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"{server.url}{folders.page.name}")
        assert re.match(r"Allure report\s+open$", browser.until(fact))
        server.shutdown()


def test_hostile_texts_stay_texts(browser: PageBrowser, tmp_path: Path) -> None:
    """No script of theirs runs, no dialog opens, nothing is loaded; they can be read as they were written."""
    (scenario,) = scenarios(tmp_path, name="'<script>alert(1)</script>'")
    folders = Folders(tmp_path / "reports", drawn(scenario, usual())["timeline"].picture.svg)
    for number, text in enumerate(HOSTILE):
        folders.add(
            f"hostile-{number}", "violated", scenario=text, owner=text, tags=[text], reason=text, reproduce=text,
            logs={text: [text]}, source=text, faults=[fault(name=text)],
        )  # fmt: skip
    write_page(folders.recorded, folders.page, trend=[("<script>", 1.0), ("b", 2.0)], reports=folders.reports)
    browser.visit(folders.page)
    browser.ask("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.ask("[...document.querySelectorAll('*')].forEach(e => e.dispatchEvent(new Event('mouseover')))")
    text = browser.text()
    for words in ("<script>alert(1)</script>", "onerror=alert(2)>", "javascript:alert(5)", "nul ␀ and [U+202E]txt.exe"):
        assert words in text
    assert len(browser.shown()) == len(HOSTILE)
    assert browser.ask("document.querySelectorAll('script').length") == 1
    assert browser.ask("[...document.querySelectorAll('a')].every(a => a.protocol == 'file:')")
    assert browser.ask("[...document.querySelectorAll('main img')].every(i => i.src.startsWith('data:'))")
