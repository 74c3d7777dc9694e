"""Which Toxiproxy serves: the choice, and that a real one behind our tap gives the same verdicts and evidence."""

from __future__ import annotations

import shutil
import subprocess

import psutil
import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError, ChaosError, TimeoutExpired
from chaoskit.engine.session import Session
from chaoskit.engine.toxiproxy_server import BINARY, Interposer, resolve
from chaoskit.history import rows as r
from chaoskit.language.expectation import Outcome
from chaoskit.language.loader import load as load_scenarios
from chaoskit.system.journal import Journal
from chaoskit.system.ports import free_port
from chaoskit.system.sweep import opened, read, sweep
from chaoskit.system.undo import lease
from chaoskit.toxiproxy.client import ToxiproxyControl
from chaoskit.toxiproxy.launch import server_command

needs_binary = pytest.mark.skipif(
    shutil.which(BINARY) is None,
    reason=f"no {BINARY} on the PATH: go install github.com/Shopify/toxiproxy/v2/cmd/server",
)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("embeded", "did you mean 'embedded'"),
        ("http://192.0.2.1:8474", "only a Toxiproxy on loopback"),
    ],
)
def test_what_is_refused(mode, said):
    """A typing mistake, what is not built, and what lies outside the blast radius."""
    with pytest.raises(ChaosError, match=said):
        resolve(mode)


def test_auto_takes_the_binary_only_where_it_is(monkeypatch, tmp_path):
    """Nothing on the PATH: embedded; then binary cannot be had. A program of that name: binary."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resolve("auto") == "embedded"
    with pytest.raises(ChaosError, match="on the PATH"):
        resolve("binary")
    program = tmp_path / BINARY
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert resolve("auto") == "binary"


def test_one_server_that_does_not_end_keeps_no_other_running(tmp_path):
    """All are ended, then it is told; the connection to the API is closed."""

    class Stubborn:
        def terminate(self, _grace):
            raise TimeoutExpired("waited 10 s for it to end")

    interposer = Interposer("embedded", tmp_path / "toxiproxy", Journal(tmp_path / "a.journal"))
    interposer.start()
    (server,) = interposer._processes
    port = int(interposer.control.places("any")[0][0].rpartition(":")[2])
    assert interposer.describe().startswith("embedded ")
    assert [each for each in psutil.net_connections("tcp") if each.raddr and each.raddr.port == port]
    interposer._processes.append(Stubborn())
    with pytest.raises(TimeoutExpired):
        interposer.stop()
    assert server.poll() is not None
    ours = [each for each in psutil.Process().net_connections("tcp") if each.raddr and each.raddr.port == port]
    assert ours == []


@pytest.fixture
def server():
    """A Toxiproxy of somebody else's, with a proxy on it (the embedded one speaks the same API)."""
    port = free_port()
    process = subprocess.Popen(server_command(port), stdout=subprocess.DEVNULL)
    control = ToxiproxyControl(f"http://127.0.0.1:{port}")

    def answers():
        try:
            return control.version()
        except ChaosError:
            return ""

    wait_for(answers, what="the server", limit=10)
    control.create_proxy("theirs", "127.0.0.1:9")
    control.add_toxic("theirs", "theirs", "latency", {"latency": 5})
    yield f"http://127.0.0.1:{port}", control
    control.close()
    process.terminate()
    process.wait(10)


def _run(project, tmp_path, engine):
    session = Session(tmp_path / "reports", toxiproxy=engine)
    try:
        (scenario,) = load_scenarios(project(delay="80ms"))
        result = session.run(scenario)
    finally:
        session.close()
    return result


def test_a_server_at_a_url_is_shared_politely(project, tmp_path, server):
    """Held with evidence; afterwards only what was there before is there, as it was."""
    url, control = server
    result = _run(project, tmp_path, url)
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    (fault,) = result.history.rows(r.Fault)
    assert fault.touched > 0
    assert result.history.rows(r.Exchange)
    assert set(control.counters()) == {"theirs"}
    assert not control.add_toxic("theirs", "another", "latency", {"latency": 1})
    assert control.remove_toxic("theirs", "theirs"), "their toxic should still be there"


@needs_binary
def test_the_binary_gives_the_same_verdict(project, tmp_path):
    """The original serves; the tap in front of it sees every exchange and what the toxic touched."""
    result = _run(project, tmp_path, "binary")
    assert result.verdict.outcome is Outcome.HELD, result.verdict.reason
    (fault,) = result.history.rows(r.Fault)
    assert fault.touched > 0
    assert len(result.history.rows(r.Exchange)) >= 100
    assert "binary" in (result.folder / "run.json").read_text()


def test_a_proxy_left_on_a_server_is_swept(tmp_path, server):
    """A run that died leaves its proxy on a server that lives on: the sweep deletes that one, and no other."""
    url, control = server
    journal = Journal(tmp_path / "dead.journal")
    journal.add("proxy", url=url, name="chaoskit-dead-stub")
    control.create_proxy("chaoskit-dead-stub", "127.0.0.1:9")
    # As if its owner had died: the first line names a process that is not there.
    text = journal.path.read_text().splitlines()
    text[0] = text[0].replace('"start": ', '"start": 1')
    journal.path.write_text("\n".join(text) + "\n")
    told = sweep(tmp_path)
    assert any("proxy" in line for line in told), told
    assert set(control.counters()) == {"theirs"}


@needs_binary
def test_toxics_on_the_original_have_a_lease_too(tmp_path):
    """It knows none: the journal keeps it, with what the guardian needs to remove the toxic."""
    journal = Journal(tmp_path / "undo.journal")
    interposer = Interposer("binary", tmp_path / "toxiproxy", journal)
    interposer.start()
    try:
        control = interposer.control
        control.create_proxy("stub", "127.0.0.1:9")
        with lease(12345.0):
            control.add_toxic("stub", "slow", "latency", {"latency": 5})
        with opened(journal.path) as handle:
            (entry,) = [entry for entry in read(handle).entries.values() if entry.until is not None]
        assert (entry.kind, entry.until, entry.facts["name"]) == ("toxic", 12345.0, "slow")
        entry.undo()
        assert not control.remove_toxic("stub", "slow"), "it should be gone from the original"
        assert not [kind for kind, _ in journal.open_entries() if kind == "toxic"]
    finally:
        interposer.stop()
        journal.undo_all()
        journal.close()


@needs_binary
def test_the_original_is_led_within_the_blast_radius_only(tmp_path):
    """It would connect to anybody: what it is told is looked at before, and is a number."""
    interposer = Interposer("binary", tmp_path / "toxiproxy", Journal(tmp_path / "a.journal"))
    interposer.start()
    try:
        control = interposer.control
        for place in ("192.0.2.7:80", "far.example.com:80", "[::ffff:192.0.2.7]:80", "10.1:80", "evillocalhost:80"):
            with pytest.raises(BrokenError, match="beyond the blast radius"):
                control.create_proxy("far", place)
        control.create_proxy("near", "localhost:9")
        with pytest.raises(BrokenError, match="beyond the blast radius"):
            control.set_upstream("near", "192.0.2.7:80")
        ((_, shown),) = control.real._consumer.call("GET", "/proxies").json().items()
        assert shown["upstream"] in ("127.0.0.1:9", "[::1]:9")
    finally:
        interposer.stop()


def test_a_server_at_a_url_is_asked_at_the_number_that_was_looked_at(tmp_path, server):
    """So that a name cannot lead elsewhere later."""
    url, _ = server
    named = url.replace("127.0.0.1", "localhost")
    interposer = Interposer(named, tmp_path / "toxiproxy", Journal(tmp_path / "a.journal"))
    interposer.start()
    try:
        interposer.control.create_proxy("near", "127.0.0.1:9")
        assert url in [place for place, _ in interposer.control.places("near")]
    finally:
        interposer.stop()


def test_a_server_at_a_url_beyond_is_not_asked(tmp_path):
    """Though whoever resolved the mode may have let it pass."""
    interposer = Interposer("http://192.0.2.7:8474", tmp_path / "toxiproxy", Journal(tmp_path / "a.journal"))
    try:
        with pytest.raises(BrokenError, match="beyond the blast radius"):
            interposer.start()
    finally:
        interposer.stop()
