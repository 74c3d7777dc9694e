"""Mistakes in environment files, and in environments written in place, are told with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.base.errors import InputError
from chaoskit.language import source
from chaoskit.language.check import Check
from chaoskit.language.environments import environment_of, mistakes_in_files
from chaoskit.language.loader import load_environment

TABLE = [
    (6, "provider: redis", "provider: redsi", "unknown provider 'redsi'; legal: ", "did you mean 'redis'?"),
    (
        10,
        "    ready: {http",
        "    reday: {http",
        "unknown key 'reday'; legal: args,",
        "did you mean 'ready'?",
    ),
    (10, "within: 20s", "within: 20", "within: 20 is not a duration", "legal: us, µs, ms, s"),
    (
        11,
        "restart: always",
        "restart: allways",
        "restart: 'allways' is not allowed",
        "did you mean 'always'?",
    ),
    (13, "{{ db.url }}", "{{ dbb.url }}", "unknown name 'dbb'; legal: db, faker,", "did you mean 'db'?"),
    (13, "{{ db.url }}", "{{ db.user }}", "the service db has no 'user'; legal: direct_url,", "port, url"),
    (13, "{{ db.url }}", "{{ db.url", "template '{{ db.url': unexpected end of template", ""),
    (7, "    command: python -m shop.orders\n", "", "it is not said what to run", "legal: command, provider"),
    (
        5,
        "provider: redis",
        "provider: redis\n    command: x",
        "a service has either a command or a provider",
        "",
    ),
    (7, "provider: redis", "provider: redis\n    args: {x: 1}", "unknown key 'x'", ""),
    (
        7,
        "provider: redis",
        "provider: redis\n    port: x",
        "port: 'x' is not allowed",
        "legal: auto, a whole number",
    ),
    (
        11,
        "restart: always",
        "tmpfs: {spool: 16MB}",
        "'spool' is no folder that a container can be given",
        "legal: /var",
    ),
    (10, "http: /healthz", "http: http://far.example.com/", "'http://far.example.com/' is no path", "legal: /healthz"),
    (10, "http: /healthz", "http: healthz", "'healthz' is no path of the service, which begins with /", ""),
    (11, "restart: always", "metrics: '@far.example.com/'", "'@far.example.com/' is no path", "legal: /healthz"),
    (11, "restart: always", "metrics: http://far.example.com/metrics", "is no path of the service", ""),
    (11, "restart: always", "reset: ['POST http://far/x']", "'http://far/x' is no path", "legal: /healthz"),
    (11, "restart: always", "reset: [/x]", "'/x' is no request: a method, then a path", "legal: POST /reset"),
    (11, "restart: always", "tmpfs: {/spool: 16}", "16 is not a size", "legal: B, KB"),
    (11, "restart: always", "tmpfs: {/spool: 0B}", "a tmpfs without room holds nothing", ""),
    (7, "restart: always", "tmpfs: {/spool: 16MB}", "tmpfs belongs to a container: say image or build", ""),
    (7, "protocol: http", "args: {x: 1}", "orders: args belong to a provider", ""),
    (5, "  db:\n", "  DB:\n", "the service name 'DB' must consist of a-z, 0-9 and -", "legal: db"),
    (5, "  db:\n", "  faker:\n", "the name 'faker' is taken: templates use it for something else", ""),
    (3, "regions: [north, south]", "op: [north]", "the name 'op' is taken", ""),
    (2, "data:\n", "production: true\ndata:\n", "production: shop is marked as production", ""),
    (
        2,
        "environment: shop\n",
        "environment: shop\nenvironment: x\n",
        "'environment' stands here again",
        "line 1",
    ),
    (5, "    provider: redis\n", "    - redis\n", "db: a mapping is expected, found ['redis']", ""),
    (1, "environment: shop\n", "", "'environment' is missing", ""),
]


@pytest.mark.parametrize(("line", "old", "new", "says", "hint"), TABLE, ids=[row[2].strip() for row in TABLE])
def test_a_mistake_in_an_environment_file(desk: Any, line: int, old: str, new: str, says: str, hint: str) -> None:
    """The file's own name and line, what is wrong and what is legal; a scenario that uses it tells the same."""
    # What uses the name of a renamed service is not what this test is about.
    valid = desk.environment.replace("{{ db.url }}", "x") if old == "  db:\n" else desk.environment
    desk.environment_file.write_text(desk.edit(old, new, valid), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_environment(desk.environment_file)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"environments/shop.yaml:{line}: ")
    assert says in str(problem)
    assert hint in str(problem)
    assert [str(other) for other in desk.problems() if "shop.yaml" in str(other)] == [str(problem)]


@pytest.mark.parametrize("fault", ["latency: {on: db, delay: 1s}", "down: {on: db}", "refuse: {on: db}"])
def test_a_fault_on_a_proxy_that_is_not_there(desk: Any, fault: str) -> None:
    """Said at load, and not when everything has been started; a fault that needs no proxy is none of it."""
    desk.environment_file.write_text(
        desk.edit("    provider: redis\n", "    provider: redis\n    proxy: false\n", desk.environment),
        encoding="utf-8",
    )
    text = desk.edit("latency: {on: db, delay: 800ms, jitter: 100ms}", fault)
    (problem,) = desk.problems(text)
    kind = fault.partition(":")[0]
    assert f"{kind} is set on a proxy, and none stands in front of db; legal: " in str(problem)
    assert desk.load(desk.edit("latency: {on: db, delay: 800ms, jitter: 100ms}", "pause: {service: db}"))


def test_an_environment_that_is_wrong_hides_no_other_mistakes(desk: Any) -> None:
    """The scenario's own mistakes come together with those of its environment; names of services are not guessed."""
    desk.environment_file.write_text("environment: shop\nservices: {db: {provider: redsi}}\n", encoding="utf-8")
    texts = [str(problem) for problem in desk.problems(desk.edit("rate: 40/s", "rate: 40"))]
    assert len(texts) == 2
    assert texts[0].startswith("environments/shop.yaml:2: unknown provider")
    assert texts[1].startswith("orders.chaos.yaml:21: rate: 40 is not a rate")


def test_a_mistake_in_an_environment_in_place(desk: Any) -> None:
    """An environment in the scenario's own file is checked the same, with this file's lines."""
    text = "environment:\n  services:\n    db: {provider: redis}\n    orders:\n      command: x\n      reday: {}\n"
    (problem,) = desk.problems(desk.edit("environment: shop\n", text).replace("{{ pick(regions) }}", "x"))
    assert str(problem).startswith("orders.chaos.yaml:11: unknown key 'reday'")


def test_an_environment_in_place_of_no_services(desk: Any) -> None:
    """An environment without services is a mistake."""
    texts = [str(p) for p in desk.problems(desk.edit("environment: shop\n", "environment: {services: {}}\n"))]
    assert "orders.chaos.yaml:6: services: dictionary should have at least 1 item, not 0, found {}" in texts


def test_the_nearest_environment_is_taken(desk: Any) -> None:
    """Environments are looked for beside the file, then in the folders above, up to the project's root."""
    near = desk.folder / "deep" / "deeper"
    (near / "environments").mkdir(parents=True)
    text = desk.environment.replace("restart: always", "restart: never")
    (near / "environments" / "shop.yaml").write_text(text, encoding="utf-8")
    scenarios = {}
    for folder in (near.parent, near):
        desk.file = folder / "orders.chaos.yaml"
        (scenarios[folder],) = desk.load()
    assert scenarios[near.parent].environment.services["orders"].restart == "always"
    assert scenarios[near].environment.services["orders"].restart == "never"
    assert scenarios[near].environment.folder == near / "environments"


def test_an_environment_above_the_projects_root_is_not_found(desk: Any) -> None:
    """The search ends at the folder with pyproject.toml: files of other projects are not taken."""
    inner = desk.folder / "other"
    inner.mkdir()
    (inner / "pyproject.toml").touch()
    desk.file = inner / "orders.chaos.yaml"
    (told,) = [str(problem) for problem in desk.problems() if "unknown environment 'shop'" in str(problem)]
    assert told.endswith(f": there is no environments/*.yaml beside this file or in a folder above it, up to {inner}")


@pytest.mark.parametrize("place", ["scenarios", "tests/chaos"])
@pytest.mark.parametrize("others", [False, True])
def test_an_environment_that_lies_elsewhere_is_pointed_at(desk: Any, place: str, others: bool) -> None:
    """One of that name in the project, where this scenario does not look for it: where it lies, and what to do."""
    project = desk.folder / "other"
    for folder in ("mine", f"{place}/environments", "deep/deeper/deepest/environments"):
        (project / folder).mkdir(parents=True)
    (project / "pyproject.toml").touch()
    desk.file = project / "mine" / "orders.chaos.yaml"
    (project / "deep/deeper/deepest/environments/shop.yaml").write_text(desk.environment, encoding="utf-8")
    if others:
        (project / "environments").mkdir()
        (project / "environments" / "desk.yaml").write_text(desk.environment, encoding="utf-8")
    (told,) = [str(problem) for problem in desk.problems() if "unknown environment 'shop'" in str(problem)]
    assert "has that name" not in told, "three folders down is too far"
    (project / place / "environments" / "shop.yaml").write_text(desk.environment, encoding="utf-8")
    (told,) = [str(problem) for problem in desk.problems() if "unknown environment 'shop'" in str(problem)]
    assert f"{place}/environments/shop.yaml has that name: put this scenario below " in told
    assert f"{place}/, or copy that file into a folder environments/ beside the scenario" in told
    assert ("; legal: desk" in told) == others


@pytest.mark.parametrize("written", ["shpo", "shop.yaml", "environments/shop.yaml", "../shop.yml"])
def test_an_environment_is_meant_by_its_name(desk: Any, written: str) -> None:
    """The names there are, and which was meant, also where a path stands."""
    told = [str(problem) for problem in desk.problems(desk.edit("environment: shop", f"environment: {written}"))]
    assert f"orders.chaos.yaml:6: unknown environment '{written}'; legal: shop; did you mean 'shop'?" in told


def checked(file: Path) -> tuple[source.Source, Check]:
    """A file that is about to be checked."""
    page = source.read(file)
    return page, Check(page)


@pytest.mark.parametrize("inline", [False, True])
def test_a_rule_file_that_is_not_there(desk: Any, inline: bool) -> None:
    """Told where the environment names it, with the files there are."""
    folder = desk.folder if inline else desk.environment_file.parent
    (folder / "shop.rules.yml").write_text("groups: []\n", encoding="utf-8")
    rules = "    prometheus:\n      provider: prometheus\n      args:\n        rules:\n          - shop.rule.yml\n"
    if inline:
        text = desk.edit("environment: shop\n", f"environment:\n  services:\n    stub: {{provider: noop}}\n{rules}")
        place = "orders.chaos.yaml:13"
    else:
        desk.environment_file.write_text(f"environment: shop\nservices:\n{rules}", encoding="utf-8")
        text, place = desk.scenario, "environments/shop.yaml:7"
    desk.file.write_text(text, encoding="utf-8")
    environment = load_environment(desk.environment_file) if not inline else environment_of(*checked(desk.file), None)
    told = [str(problem) for problem in mistakes_in_files(environment)]
    missing = "shop.rule.yml" if inline else "environments/shop.rule.yml"
    assert len(told) == 1
    assert told[0].startswith(f"{place}: prometheus: {missing}: there is no such rule file; legal: ")
    assert told[0].endswith("did you mean 'shop.rules.yml'?")


def test_changed_arguments_of_a_provider(desk: Any) -> None:
    """They are checked on top of those of the environment, where the scenario or its control changes them."""
    text = desk.edit("  orders: {env: {LOG: debug}}\n", "  orders: {env: {LOG: debug}}\n  db: {args: {x: 1}}\n")
    (problem,) = desk.problems(text)
    assert "unknown key 'x'" in str(problem)
    assert text.splitlines()[problem.line - 1] == "  db: {args: {x: 1}}"
    desk.environment_file.write_text(
        desk.environment + "  prometheus: {provider: prometheus, args: {rules: [x.yml]}}\n", encoding="utf-8"
    )
    (desk.environment_file.parent / "x.yml").write_text("groups: []\n")
    changed = "    orders: {env: {POOL: none}}\n"
    (problem,) = desk.problems(desk.edit(changed, f"{changed}    prometheus: {{args: {{rules: text}}}}\n"))
    assert "rules: a list is expected, found 'text'" in str(problem)


def test_an_environment_that_changes_is_read_again(desk: Any) -> None:
    """Environments are kept between scenario files, but not past a change of the file."""
    desk.load()
    desk.environment_file.write_text(desk.environment.replace("regions", "areas"), encoding="utf-8")
    (problem,) = desk.problems()
    assert "unknown name 'regions'" in str(problem)


def test_an_environment_file_that_is_missing(tmp_path: Path) -> None:
    """It is told like any other mistake."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_environment(tmp_path / "nosuch.yaml")
