"""The actions restart, scale, switch, http, command and notify, with what alerts say as hostile as it can be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from sop_stage import Desk, alert, http_server

from chaoskit.base.errors import InputError, Problem

HOSTILE = (
    'x\'; touch pwned; echo "$(touch pwned)" `touch pwned` {{ 7 * 7 }} {% for a in [1] %}b{% endfor %} --flag\n| <b>'
)


@pytest.fixture
def desk(tmp_path):
    """A runner's desk, closed in the end."""
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def run(desk, *steps, **labels):
    """One SOP of these steps on an alert with these labels; its row."""
    runner = desk.open({"sop": "s", "retry": {"attempts": 1}, "steps": list(steps)})
    runner.alert(alert(labels=labels))
    desk.settle()
    (row,) = desk.rows()
    return row


def mistakes(desk, *steps):
    """What is wrong with steps at load."""
    with pytest.raises((InputError, AssertionError)) as caught:
        desk.load({"sop": "s", "steps": list(steps)})
    found = caught.value.args[0]
    return (
        " / ".join(problem.what for problem in found if isinstance(problem, Problem))
        if isinstance(found, list)
        else str(found)
    )


def test_command_gives_each_template_to_one_argument(desk):
    """What a label says arrives as it is, in an argument and in a variable, and runs nowhere."""
    code = "import json, os, sys; json.dump([sys.argv[1:], os.environ['NOTE']], open('seen.json', 'w'))"
    script = desk.folder / "note.py"
    script.write_text(code)
    row = run(
        desk,
        {"command": {"run": [sys.executable, "note.py", "--to={{ alert.labels.note }}", "{{ incident }}"],
                     "env": {"NOTE": "{{ alert.labels.note }}"}}},
        note=HOSTILE,
    )  # fmt: skip
    assert row.outcome == "done", row.detail
    arguments, variable = json.loads((desk.folder / "seen.json").read_text())
    assert arguments == [f"--to={HOSTILE}", row.incident]
    assert variable == HOSTILE
    assert not list(desk.folder.glob("pwned*"))


@pytest.mark.parametrize(
    ("step", "leads"),
    [
        ({"run": ["./touch.sh", "{{ alert.labels.place }}"]}, False),
        ({"run": ["touch", "ran"], "env": {"TARGET": "{{ alert.labels.place }}"}}, False),
        ({"run": ["touch", "ran"], "env": {"DB_HOST": "{{ alert.labels.host }}"}}, False),
        ({"run": ["touch", "ran"], "env": {"TARGET": "{{ orders.url }}", "NOTE": "{{ alert.labels.host }}"}}, True),
    ],
)
def test_command_is_not_given_what_leads_beyond(desk, step, leads):
    """As a URL, or as a host by the variable's name; the service's own address it may have."""
    desk.context.url = "http://127.0.0.1:9"
    script = desk.folder / "touch.sh"
    script.write_text("#!/bin/sh\ntouch ran\n")
    script.chmod(0o755)
    row = run(desk, {"command": step}, place="http://far.example.com/x", host="far.example.com")
    assert (desk.folder / "ran").exists() is leads
    assert (row.outcome == "done") is leads
    assert leads or " was not run: far.example.com is neither on loopback" in row.detail


def test_command_in_a_shell_takes_values_from_variables_alone(desk):
    """A shell that the file itself names runs the file's own words; a template in them is refused at load."""
    row = run(
        desk,
        {"command": {"run": ["sh", "-c", 'printf %s "$NOTE" > seen'], "env": {"NOTE": "{{ alert.labels.note }}"}}},
        note=HOSTILE,
    )
    assert row.outcome == "done", row.detail
    assert (desk.folder / "seen").read_text() == HOSTILE
    assert not list(desk.folder.glob("pwned*"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        *(
            ([*words, "{{ alert.name }}"], "a program of your own only")
            for words in (
                ["sh", "-c"],
                ["/usr/bin/../bin/sh", "-c"],
                ["env", "sh", "-c"],
                ["busybox", "sh", "-c"],
                ["env", "-S"],
                ["python3", "-c"],
                ["python3"],
                ["python3", "-m"],
                ["perl", "-E"],
                ["perl", "-ne"],
                ["node", "-p"],
                ["awk"],
                ["find", ".", "-exec"],
                ["timeout", "5"],
                ["ssh", "host"],
                ["xargs"],
                ["sort"],
                ["./../sh", "-c"],
                ["/bin/mend.sh"],
                ["node", "--require", "x.js", "-p"],
                ["sh", "-x", "mend.sh"],
                ["sh", "+c"],
                ["ksh", "+s"],
                ["python", ""],
                ["python", "."],
                ["python", " -c"],
                ["perl", "./-e"],
                ["tar", "xf", "a.tar"],
            )
        ),
        (["tar", "--to-command={{ alert.name }}"], "a program of your own only"),
        (["python3", "-c{{ alert.name }}"], "a program of your own only"),
        (["sh", "-c", "echo {{ incident }}"], "a program of your own only"),
        (["sh", "-c", "{% set a = alert %}{{ a.name }}"], "a program of your own only"),
        (["{{ alert.labels.program }}"], "the program itself is no template"),
        (["echo", "{{ alert.__class__ }}"], "may not be reached"),
        ([], "at least 1 item"),
        ("echo hello; rm x", "list"),
    ],
)
def test_command_that_could_run_what_an_alert_says_is_refused_at_load(desk, words, why):
    """With the reason, before anything runs."""
    assert why in mistakes(desk, {"command": {"run": words}})


def test_command_gives_no_alert_to_a_link_that_leads_out(desk):
    """A shell under another name: known when it is about to run, and not run."""
    (desk.folder / "mend").symlink_to("/bin/sh")
    row = run(desk, {"command": {"run": ["./mend", "-c", "{{ alert.labels.note }}"]}}, note="touch pwned")
    assert row.outcome == "failed"
    assert "mend: it leads out of" in row.detail
    assert not (desk.folder / "pwned").exists()


def test_command_gives_no_alert_to_a_file_that_is_not_there(desk):
    """A program that finds none might take the word for something else."""
    row = run(desk, {"command": {"run": ["node", "inspect", "{{ alert.labels.note }}"]}}, note="touch pwned")
    assert row.outcome == "failed"
    assert "inspect: there is no such file in" in row.detail


STEERING = """
    PATH LD_PRELOAD BASH_ENV PYTHONSTARTUP GIT_SSH_COMMAND NODE_OPTIONS GCONV_PATH RSYNC_RSH SUDO_ASKPASS RUSTC_WRAPPER
    CC VIMINIT EXINIT CURL_HOME HGRCPATH ANSIBLE_CONFIG KUBECONFIG CFLAGS HOME
"""


@pytest.mark.parametrize("name", STEERING.split())
def test_command_gives_no_alert_to_a_variable_that_steers(desk, name):
    """It would say what runs; a fixed text, or an address of a service, may."""
    told = mistakes(desk, {"command": {"run": ["true"], "env": {name: "{{ alert.name }}"}}})
    assert f"{name}: what an alert says is not given" in told
    desk.load({"sop": "s", "steps": [{"command": {"run": ["true"], "env": {name: "{{ orders.url }}"}}}]})


def test_command_gives_addresses_to_any_program(desk):
    """What the scenario itself says is no alert's text."""
    desk.load({"sop": "s", "steps": [{"command": {"run": ["curl", "-f", "{{ orders.url }}/mend", "{{ sop }}"]}}]})


def test_command_that_fails_or_takes_too_long_is_a_failed_step(desk):
    """Its last words are told, masked; what it has started ends with it."""
    row = run(desk, {"command": {"run": ["sh", "-c", "echo password=hunter2 >&2; exit 3"]}})
    assert row.outcome == "failed"
    assert "exit status 3: password=***" in row.detail


def test_command_ends_with_its_time(desk):
    """So do its children."""
    marker = f"7{id(desk) % 10**6}.25"
    row = run(desk, {"command": {"run": ["sh", "-c", f"sleep {marker} & sleep {marker}"], "timeout": "300ms"}})
    assert "not ended within 0.3 s" in row.detail
    if shutil.which("pgrep"):
        assert subprocess.run(["pgrep", "-f", f"sleep {marker}"], capture_output=True).returncode == 1


def test_command_refuses_a_nul(desk):
    """No program can be given one: a clear failure, no traceback."""
    row = run(desk, {"command": {"run": ["true"], "env": {"NOTE": "{{ alert.labels.note }}"}}}, note="a\0b")
    assert "NUL" in row.detail


def test_http_sends_values_and_follows_no_redirect(desk):
    """The body holds what the alert says; an answer that leads elsewhere is a failure, and is not followed."""
    seen = []

    def answer(method, path, headers, body):
        seen.append((method, path, headers["x-incident"], json.loads(body or b"null")))
        return (302, {}, {"location": "/elsewhere"}) if path == "/moved" else (201, {})

    with http_server(answer) as url:
        desk.context.url = url
        step = {"request": "POST {{ orders.url }}/tickets", "headers": {"x-incident": "{{ incident }}"},
                "json": {"note": "{{ alert.labels.note }}", "list": ["{{ sop }}", 1]}}  # fmt: skip
        row = run(desk, {"http": step}, {"http": {**step, "request": "POST {{ orders.url }}/moved"}}, note=HOSTILE)
    assert seen[0] == ("POST", "/tickets", row.incident, {"note": HOSTILE, "list": ["inline-1", 1]})
    assert [path for _, path, *_ in seen] == ["/tickets", "/moved"]
    assert row.outcome == "failed"
    assert "302" in row.detail


@pytest.mark.parametrize(
    "place",
    [
        "http://example.com/",
        "http://127.0.0.1.example.com/",
        "http://user@127.0.0.1/",
        "file:///etc/passwd",
        "http://[::1",
        "",
    ],
)
def test_http_goes_nowhere_that_an_alert_could_lead_it(desk, place):
    """A label that becomes a URL is judged when it is known; nothing is sent."""
    row = run(desk, {"http": {"request": "GET {{ alert.labels.place }}"}}, place=place)
    assert row.outcome == "failed"
    assert "neither on loopback" in row.detail or "is no URL" in row.detail


def test_http_refuses_a_header_that_an_alert_broke(desk):
    """A line end in a label makes no second header."""
    with http_server(lambda *_: (200, {})) as url:
        desk.context.url = url
        step = {"request": "GET {{ orders.url }}/", "headers": {"x-note": "{{ alert.labels.note }}"}}
        row = run(desk, {"http": step}, note="a\r\nx-admin: yes")
    assert row.outcome == "failed"
    assert "no answer" in row.detail


def test_switch_is_journaled_first_and_put_back(desk):
    """What was read before is what comes back, whatever it was; by the journal too, when we are gone."""
    state = {"/admin/features/extra": {"enabled": True, "share": 0.5}}
    entries = []

    def answer(method, path, headers, body):
        if method == "PUT":
            entries.append([kind for kind, _ in desk.context.journal.open_entries()])
            state[path] = json.loads(body)
        return 200, state[path]

    with http_server(answer) as url:
        desk.context.url = url
        row = run(desk, {"switch": {"service": "orders", "feature": "extra"}})
        assert row.outcome == "done", row.detail
        assert (row.action_type, row.target_service) == ("switch", "orders")
        assert state["/admin/features/extra"] == {"enabled": False}
        assert entries == [["switch"]]
        desk.context.held.pop()()
        assert state["/admin/features/extra"] == {"enabled": True, "share": 0.5}
        assert desk.context.journal.open_entries() == []


def test_switch_of_a_service_that_is_gone_needs_no_undoing(desk):
    """It has forgotten the switch with its life."""
    with http_server(lambda *_: (200, {"enabled": True})) as url:
        desk.context.url = url
        run(desk, {"switch": {"service": "orders", "feature": "extra"}})
    desk.context.held.pop()()
    assert desk.context.journal.open_entries() == []


def test_switch_that_is_refused_fails_and_undoes(desk):
    """An unknown feature: the step fails with the answer."""
    with http_server(lambda *_: (404, {"error": "unknown_feature"})) as url:
        desk.context.url = url
        row = run(desk, {"switch": {"service": "orders", "feature": "nope"}})
    assert row.outcome == "failed"
    assert "404" in row.detail


def test_notify_posts_or_is_only_told(desk):
    """With a URL a document is posted; without one it stands in the row."""
    seen = []
    with http_server(lambda method, path, headers, body: (seen.append(json.loads(body)), (200, {}))[1]) as url:
        desk.context.url = url
        row = run(
            desk,
            {"notify": {"to": "team", "message": "see {{ alert.labels.note }}", "url": "{{ orders.url }}/page"}},
            {"notify": {"to": "lead"}},
            note=HOSTILE,
        )
    assert row.outcome == "done", row.detail
    assert (seen[0]["to"], seen[0]["message"], seen[0]["alert"]) == ("team", f"see {HOSTILE}", "OrdersPanics")
    assert row.action_type == "notify"
    assert row.detail == "told lead"


def test_scale_and_restart_reach_the_stage(desk):
    """With rendered settings, as text."""
    run(
        desk,
        {"scale": {"service": "payments", "env": {"POOL": 20, "FAST": True, "BY": "{{ alert.name }}"}}},
        {"restart": {"service": "orders"}},
    )
    assert desk.context.done[0] == ("scale", "payments", {"POOL": "20", "FAST": "true", "BY": "OrdersPanics"})
    assert desk.context.done[1][:2] == ("restart", "orders")


def test_a_label_that_is_missing_fails_the_step(desk):
    """With the template that asked for it."""
    row = run(desk, {"notify": {"to": "team", "message": "{{ alert.labels.nope }}"}})
    assert row.outcome == "failed"
    assert "nope" in row.detail
