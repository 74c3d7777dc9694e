"""Environments that are a Compose file: what is read of it at load, and mistakes with file and line."""

from __future__ import annotations

import contextlib
import json
import os

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language.compose import COPY, ComposedSpec, copies, unseen
from chaoskit.language.environments import changed, load_environment
from chaoskit.language.model import ServiceChange
from chaoskit.language.named_hosts import outside_of
from chaoskit.language.refusals import runtime_of

COMPOSE = """\
services:
  postgres:
    image: postgres:16
    restart: on-failure:3
  payment_api:
    build: .
    restart: unless-stopped
    ports: !override ["80:80"]
  debugger:
    image: x
    profiles: [debug]
"""

ENVIRONMENT = """\
environment: team
compose: docker-compose.yml
proxy: [postgres]
services:
  payment_api: {ready: {http: /healthz}, restart: never, env: {DB: "{{ postgres.host }}"}}
data:
  skus: [a, b]
"""


@pytest.fixture
def write(tmp_path):
    """A function that writes the environment and gives its file."""
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)

    def write(old: str = "", new: str = "", compose: str = COMPOSE):
        assert old in ENVIRONMENT
        (tmp_path / "docker-compose.yml").write_text(compose)
        file = tmp_path / "team.yaml"
        file.write_text(ENVIRONMENT.replace(old, new) if old else ENVIRONMENT)
        return file

    return write


def test_its_services(write, tmp_path):
    """Those of the file without a profile, its restart policies unless the environment says otherwise."""
    environment = load_environment(write())
    assert list(environment.services) == ["postgres", "payment_api"]
    postgres, api = environment.services.values()
    assert isinstance(postgres, ComposedSpec)
    assert (postgres.proxy, postgres.restart, postgres.ready.within) == (True, "on-failure", 60.0)
    assert (api.proxy, api.restart, api.ready.http) == (False, "never", "/healthz")
    assert environment.compose == (tmp_path / "docker-compose.yml",)


def test_several_files_and_included_ones(write, tmp_path):
    """All their services, each once."""
    (tmp_path / "more.yml").write_text("include: [{path: [base.yml]}]\nservices: {redis: {image: redis}}\n")
    (tmp_path / "base.yml").write_text("include: [more.yml]\nservices: {mail: {image: mail}}\n")
    file = write("compose: docker-compose.yml", "compose: [docker-compose.yml, more.yml]")
    assert list(load_environment(file).services) == ["postgres", "payment_api", "mail", "redis"]


def test_it_runs_on_docker_alone(write):
    """``auto`` is ``docker``; ``process`` is refused with the reason and the line."""
    environment = load_environment(write())
    assert runtime_of(environment, "auto") == runtime_of(environment, "docker") == "docker"
    with pytest.raises(InputError, match=r"team.yaml:2: compose: .* --chaos-runtime=process is not for it"):
        runtime_of(environment, "process")


def test_a_change_of_a_service_keeps_the_rest(write):
    """As a control does it."""
    environment = load_environment(write())
    other = changed(environment, {"postgres": ServiceChange(env={"A": "b"})})
    assert other.services["postgres"].env == {"A": "b"}
    assert isinstance(other.services["postgres"], ComposedSpec)
    assert other.compose == environment.compose


def test_what_a_recorded_run_keeps(write, tmp_path):
    """Enough to load the environment again where the Compose file is not."""
    environment = load_environment(write())
    folder = tmp_path / "run"
    folder.mkdir()
    for name, text in copies(environment).items():
        (folder / name).write_text(text)
    again = load_environment(folder / "environment.yaml")
    assert again.services == environment.services
    assert again.compose == (folder / COPY,)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[postgres]", "[postgers]", r":3: the Compose file starts no service 'postgers'.*did you mean 'postgres'\?"),
        ("[postgres]", "[debugger]", r":3: the Compose file starts no service 'debugger' \(those with profiles:"),
        ("payment_api: {", "payments_api: {", r":5: the Compose file starts no service 'payments_api'.*'payment_api'"),
        (
            "ready: {http: /healthz}",
            "image: x",
            r":5: payment_api: image: the Compose file says that; legal: .*failpoints",
        ),
        ("restart: never", "proxy: true", ":5: payment_api: proxy: the list proxy: of the environment says that"),
        ("restart: never", "redy: 1", r":5: unknown key 'redy'; .*did you mean 'ready'\?"),
        ("{{ postgres.host }}", "{{ postgress.host }}", r":5: .*unknown name 'postgress'.*did you mean 'postgres'\?"),
        (
            "docker-compose.yml",
            "docker-compos.yml",
            r":2: .*no file docker-compos.yml.*did you mean 'docker-compose.yml",
        ),
        ("[postgres]", "[[postgres]]", ":3: .*text is expected, found"),
        ("[postgres]", "[{postgres: 1}]", ":3: .*text is expected, found"),
        ("proxy: [postgres]", "proxi: [postgres]", r":3: unknown key 'proxi'; .*did you mean 'proxy'\?"),
        ("data:", "production: true\ndata:", ":6: production: team is marked as production"),
    ],
)
def test_a_mistake_in_the_environment(write, old, new, says):
    """File and line, what is legal, and the nearest spelling."""
    with pytest.raises(InputError, match=says):
        load_environment(write(old, new))


@pytest.mark.parametrize(
    ("compose", "says"),
    [
        ("services: [", r":2: compose: .*docker-compose.yml:1: not YAML: .* did not find"),
        ("- a\n", ":2: compose: .*docker-compose.yml:1: a mapping is expected at the top"),
        ("services: [a]\n", ":2: compose: docker-compose.yml is no Compose file"),
        ("include: [gone.yml]\nservices: {}\n", ":2: compose: .*gone.yml:1: cannot be read: No such file"),
        ("volumes: {}\n", ":2: compose: docker-compose.yml describes no services"),
        ("services: {postgres: {}, postgres-direct: {}, payment_api: {}}\n", ":3: the name postgres-direct is taken"),
        ("services: {postgres: {}, payment_api: {}, faker: {}}\n", "the name 'faker' is taken"),
    ],
)
def test_a_mistake_in_the_compose_file(write, compose, says):
    """It is told at the line that names the file."""
    with pytest.raises(InputError, match=says):
        load_environment(write(compose=compose))


BOMB = "x: &a0 [l, l, l, l, l, l, l, l, l, l]\n" + "".join(
    f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
ODD = [
    "5",
    "-1.5",
    "text",
    "[x]",
    "[[x]]",
    "[{x: [y]}]",
    "{x: y}",
    "{x: [y]}",
    "{x: {aliases: z}}",
    "2001-13-45",
    "true",
]
KEYS = [
    "restart", "networks", "extra_hosts", "links", "environment", "env_file", "command", "entrypoint", "container_name",
    "hostname", "network_mode", "profiles", "image", "labels",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_what_else_may_stand_in_a_service(write, key):
    """Compose tells its mistakes; here nothing is assumed of their types."""
    for odd in ODD:
        file = write(compose=f"services: {{postgres: {{image: x}}, payment_api: {{{key}: {odd}}}}}\n")
        with contextlib.suppress(InputError):
            environment = load_environment(file)
            list(outside_of(environment))
            list(unseen(environment.compose))


@pytest.mark.parametrize(
    ("compose", "says"),
    [
        (f"{BOMB}services: {{postgres: {{restart: *a8}}}}\n", "more than 100000 values"),
        ("services: {postgres: {labels: &l [*l]}}\n", "an alias that contains itself"),
        (f"services: {{postgres: {{image: {'9' * 5000}}}}}\n", "is not usable as a value"),
        ("services: {postgres: {image: !!int x}}\n", "is not usable as a value"),
        ("services: {postgres: {image: !!timestamp x, build: !reset null}}\n", "payment_api"),
        ('include: ["\\0"]\nservices: {}\n', "cannot be read: no name of a file"),
        (f"include: [{'a' * 300}]\nservices: {{}}\n", "cannot be read: File name too long"),
        ("include: [pipe]\nservices: {}\n", "pipe:1: cannot be read: not a regular file"),
        ("include: [9.yml, 9.yml]\nservices: {}\n", "describes no services"),
    ],
)
def test_what_is_planted_in_a_compose_file(write, tmp_path, compose, says):
    """One mistake with its line, at once; ``.env`` may be a pipe, too."""
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / ".env")
    for number in range(10):  # each twice the one before: a thousand files, if they were read every time
        other = f"include: [{number - 1}.yml, {number - 1}.yml]\n" if number else ""
        (tmp_path / f"{number}.yml").write_text(other + "services: {}\n")
    with pytest.raises(InputError) as refused:
        load_environment(write(compose=compose))
    assert says in str(refused.value.problems[0])


@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000, "a\0b", "."])
def test_what_can_be_no_compose_file(write, name):
    """It is told like any file that is not there."""
    with pytest.raises(InputError, match="compose: there is no file"):
        load_environment(write("compose: docker-compose.yml", f"compose: {json.dumps(name)}"))


def test_hosts_beyond_the_blast_radius(write):
    """What a variable of the Compose file leads to is refused unless it is a service, loopback, or allowed by name."""
    compose = """
services:
  postgres: {container_name: db, networks: {back: {aliases: [store]}}}
  payment_api:
    environment:
      - A=http://db:1/x,http://store:2
      - DB_HOST=postgres
      - HOST=0.0.0.0
      - FROM_SHELL
      - B=http://${ELSEWHERE}/x
      - C=https://u:${P:-w}@api.example.com/x
"""
    environment = load_environment(write(compose=compose))
    (found,) = outside_of(environment)
    assert found.host == "api.example.com"
    assert "C of payment_api in the Compose file leads to api.example.com" in str(found.problem)
    assert list(outside_of(environment, {"api.example.com"})) == []


@pytest.mark.parametrize(
    ("its", "files", "host"),
    [
        ("env_file: a.env", {"a.env": "# real\nexport A='postgres://a:b@far.example.com/x'"}, "far.example.com"),
        ("env_file: [{path: a.env}]", {"a.env": 'A="postgres://far.example.com/x"'}, "far.example.com"),
        ("env_file: a.env, environment: {A: postgres://postgres/x}", {"a.env": "A=postgres://far/x"}, None),
        ("environment: {A: '${X:-http://far.example.com}'}", {}, "far.example.com"),
        ("environment: {A: '${X-http://${Y:-far.example.com}/}'}", {}, "far.example.com"),
        ("environment: {A: '${X:-http://localhost}'}", {}, None),
        ("environment: {A: '${SAID:-http://far.example.com}'}", {".env": "SAID=http://postgres:1 # ours"}, None),
        ("environment: {A: '${SAID}'}", {".env": "SAID=http://far.example.com"}, "far.example.com"),
        ("environment: {A: '${SAID:+http://far.example.com}'}", {".env": "SAID=1"}, "far.example.com"),
        ("environment: {A: 'http://$$far.example.com'}", {}, None),
        ("environment: {MAIL_HOST: }", {}, None),
        ("environment: {SAID_HOST: }", {".env": "SAID_HOST=far.example.com"}, "far.example.com"),
        ("environment: [SAID_HOST]", {".env": "SAID_HOST=far.example.com"}, "far.example.com"),
        ("environment: {LIST: 'http://postgres:1,http://store:2'}", {}, None),
        ("environment: {LIST: 'http://postgres:1,http://other:2'}", {}, "other"),
        ("command: run --db=redis://far.example.com/0", {}, "far.example.com"),
        ("command: [run, '--db=redis://${X:-far.example.com}/0']", {}, "far.example.com"),
        ("entrypoint: [run, 'http://far.example.com']", {}, "far.example.com"),
        ("extra_hosts: ['db:192.0.2.7']", {}, "192.0.2.7"),
        ("extra_hosts: {db: 192.0.2.7}", {}, "192.0.2.7"),
        ("extra_hosts: ['db:host-gateway', 'own:127.0.0.1'], environment: {DB_HOST: db}", {}, None),
        ("links: ['postgres:database'], environment: {DB_HOST: database}", {}, None),
    ],
)  # fmt: skip
def test_what_compose_makes_of_it(write, tmp_path, monkeypatch, its, files, host):
    """Variables, ``env_file``, defaults and commands are looked at as Compose reads them."""
    for name in ("X", "Y", "SAID", "SAID_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    service = "postgres: {image: x, networks: {back: {aliases: [store]}}}"
    compose = f"services:\n  {service}\n  payment_api: {{image: x, {its}}}\n"
    found = [each.host for each in outside_of(load_environment(write(compose=compose)))]
    assert found == ([host] if host else [])


def test_what_is_not_known_before_compose_is_asked(write):
    """Is told as such."""
    compose = "services:\n  postgres: {extends: {file: b.yml, service: x}}\n  payment_api: {env_file: gone.env}\n"
    told = list(unseen(load_environment(write(compose=compose)).compose))
    assert told == [
        "what postgres extends in the Compose file",
        "the env_file gone.env of payment_api, which is not there",
    ]


@pytest.mark.parametrize("mode", ["host", "${MODE:-host}"])
def test_this_machines_network(write, mode):
    """Is not for a service, which is told at load."""
    with pytest.raises(InputError, match="payment_api says network_mode: host: it would listen on this machine"):
        load_environment(write(compose=f"services: {{postgres: {{}}, payment_api: {{network_mode: '{mode}'}}}}"))


def test_not_in_a_scenario(tmp_path, write):
    """A run keeps a copy of the environment, which must be a file of its own."""
    from chaoskit.language.loader import load

    write()
    file = tmp_path / "x.chaos.yaml"
    file.write_text("scenario: x\nenvironment: {compose: docker-compose.yml}\n")
    with pytest.raises(InputError, match=r"x.chaos.yaml:2: compose: needs an environment with a file of its own"):
        load(file)
