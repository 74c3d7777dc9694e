"""The house has floors: imports point down, plug-ins of a room do not know each other, and each has its tests."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "chaoskit"

# Who may import whom, from the ground to the two doors: a room takes from rooms above it in this table only.
MAY_IMPORT = {
    "base": set(),
    "failpoints": set(),
    "system": {"base"},
    "history": {"base", "system"},
    "language": {"base", "system", "history"},
    "rules": {"base", "language"},
    "toxiproxy": {"base", "system", "history"},
    "traffic": {"base", "system", "history"},
    "observers": {"base", "system", "history"},
    "services": {"base", "system", "history", "language", "rules"},
    "alerting": {"base", "system", "history", "language", "rules"},
    "faults": {"base", "system", "history", "language", "failpoints", "toxiproxy", "traffic", "services"},
    "expectations": {"base", "system", "history", "language", "rules", "alerting"},
    "judge": {"base", "history", "language", "expectations"},
    "api": {"base", "system", "history", "language", "toxiproxy", "services", "faults"},
    "engine": {
        *("base", "system", "history", "language", "failpoints", "toxiproxy", "traffic", "observers", "services"),
        *("alerting", "expectations", "judge"),
    },
    "report": {"base", "system", "history", "language", "alerting", "expectations", "judge", "engine"},
    "trend": {"base", "history", "language", "judge", "report"},
    "pytest_plugin": {
        *("base", "system", "history", "language", "services", "expectations", "judge", "engine", "report", "trend"),
    },
    "cli": {
        *("base", "system", "history", "language", "services", "alerting", "faults", "engine", "report", "trend"),
    },
}  # fmt: skip

# What a fault is given is typed by the rooms that it acts on, which stand above what a fault is.
UP_FOR_TYPES_ONLY = {("language", room) for room in ("alerting", "failpoints", "services", "toxiproxy", "traffic")}

# Rooms of plug-ins, each a file; what several of them share stands in files with an underscore.
ROOMS = [
    "faults",
    "expectations",
    "services/providers",
    "alerting/actions",
    "toxiproxy/server/toxics",
    "observers",
    "report",
    "cli",
]
SHARED = {"base", "installed"}
PLAIN_TOOLS = {
    # The short facts of a result, a recorded run and its score are used by every reporter.
    "report": {"summary", "runs", "score"},
}


@dataclass(frozen=True)
class Import:
    """One import, with the place where it stands."""

    module: str
    target: str
    line: int
    types_only: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules() -> dict[str, Path]:
    """All modules of the house by name."""
    found = {}
    for file in sorted(HOUSE.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = file
    return found


MODULES = modules()


def imports(module: str) -> Iterator[Import]:
    """Every import of a module, wherever it stands, with the submodules that ``from x import y`` means."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: imports are absolute here"
            whole = [f"{node.module}.{name.name}" for name in node.names]
            targets = [name if name in MODULES else str(node.module) for name in whole]
        else:
            continue
        for target in targets:
            yield Import(module, target, node.lineno, id(node) in typing)


def room(module: str) -> str:
    """The room, or the module of the ground floor; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


ALL = [found for module in MODULES for found in imports(module)]
INSIDE = [found for found in ALL if found.target.split(".")[0] == "chaoskit"]


def test_every_room_has_its_place() -> None:
    """A new room must be given its place in the table, and a room may take from those above it in the table only."""
    assert {room(module) for module in MODULES} - {""} == set(MAY_IMPORT)
    order = list(MAY_IMPORT)
    assert [here for here in order if MAY_IMPORT[here] - set(order[: order.index(here)])] == []


def test_rooms_import_what_they_may() -> None:
    """No more than the table says, and no less: what nobody needs any more is taken out of it."""
    used: dict[str, set[str]] = {here: set() for here in MAY_IMPORT}
    wrong = []
    for found in INSIDE:
        here, there = room(found.module), room(found.target)
        if not here:
            wrong.append(str(found))  # importing chaoskit imports nothing
        elif there and here != there and not (found.types_only and (here, there) in UP_FOR_TYPES_ONLY):
            used[here].add(there)
            if there not in MAY_IMPORT[here]:
                wrong.append(str(found))
    assert wrong == []
    assert used == MAY_IMPORT


# The objects of one connection know each other: each names the others as types. None imports another at run time but
# in one direction.
OF_ONE_CONNECTION = {
    f"chaoskit.toxiproxy.server.{name}" for name in ("chain", "endpoint", "flow", "link", "proxy", "stage", "tap")
}


def test_no_modules_import_each_other() -> None:
    """Neither two, nor several in a circle; nor for types only."""
    edges: dict[str, set[str]] = {module: set() for module in MODULES}
    for found in INSIDE:
        both = {found.module, found.target} <= OF_ONE_CONNECTION
        if found.target != found.module and not (both and found.types_only):
            edges[found.module].add(found.target)
    while free := {module for module, targets in edges.items() if not targets & edges.keys()}:
        edges = {module: targets for module, targets in edges.items() if module not in free}
    assert sorted(edges) == []


@pytest.mark.parametrize("folder", ROOMS)
def test_plug_ins_of_a_room_do_not_import_each_other(folder: str) -> None:
    """Each can be read, copied and removed alone."""
    package = f"chaoskit.{folder.replace('/', '.')}"
    files = {file.stem for file in (HOUSE / folder).glob("[!_]*.py")} - SHARED - PLAIN_TOOLS.get(folder, set())
    assert files
    plug_ins = {f"{package}.{name}" for name in files}
    wrong = [str(f) for f in INSIDE if f.module in plug_ins and f.target in plug_ins - {f.module}]
    assert wrong == []


OPENS = re.compile(
    r"HTTPS?Connection\(|create_connection\(|sock_connect\(|\.connect(_ex)?\(\(?[a-z]|urlopen|build_opener\(|requests\.Session\("
    r"|open_connection\(|from_env\(|[dD]ocker[Cc]lient\("
)
TO_PLACES_OF_OUR_OWN = {
    "services": "a service is where its runtime has put it: on loopback, or in a container of the run",
    "faults": "they act on services and their proxies",
    "failpoints/client.py": "a service's own, and no redirect is followed",
    "alerting/evaluator": "scrapes and tells what the provider's own configuration says: services and receivers",
    "alerting/router/webhook.py": "tells the receiver: a team's channels are replaced",
    "toxiproxy": "the server that the interposer has checked; upstreams are checked by the server",
    "trend": "the history database, a file",
}
"""Who opens a connection without asking the blast radius, and why that is right."""


def test_whoever_opens_a_connection_asks_the_blast_radius() -> None:
    """Or is listed above, with the reason."""
    opening = [
        name
        for file in sorted(HOUSE.rglob("*.py"))
        if OPENS.search(text := file.read_text(encoding="utf-8"))
        and (name := str(file.relative_to(HOUSE)))
        and "base.blast_radius import" not in text
        and name != "base/blast_radius.py"
    ]
    unasked = [name for name in opening if not name.startswith(tuple(TO_PLACES_OF_OUR_OWN))]
    assert unasked == []
    assert [place for place in TO_PLACES_OF_OUR_OWN if not any(name.startswith(place) for name in opening)] == []


def test_failpoints_stand_alone() -> None:
    """A service imports them without anything else of chaoskit, and without third parties."""
    wrong = [
        str(found)
        for found in ALL
        if found.module.startswith("chaoskit.failpoints")
        and found.target.split(".")[0] not in sys.stdlib_module_names
        and not found.target.startswith("chaoskit.failpoints")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("folder", "tests"),
    [
        ("faults", "faults"),
        ("expectations", "expectations"),
        ("services/providers", "services"),
        ("alerting/actions", "alerting"),
    ],
)
def test_every_plug_in_has_a_test(folder: str, tests: str) -> None:
    """Each is named in the tests of its room, as a word of the language or as a class."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests" / tests).glob("*.py"))
    missing = []
    for file in sorted((HOUSE / folder).glob("[!_]*.py")):
        name = file.stem
        camel = "".join(part.capitalize() for part in name.split("_"))
        if name in SHARED | {"noop"}:
            continue
        if not re.search(rf"""["']{name}["']|\b{name}:|\b{camel}\b|import {name}\b""", text):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("folder", ["faults", "expectations", "services/providers", "observers"])
def test_a_noop_ships_in_each_room(folder: str) -> None:
    """The shortest example there is, where a guide can begin."""
    assert (HOUSE / folder / "noop.py").exists()


def test_every_module_says_what_it_is_for() -> None:
    """Its docstring is the first thing a reader sees."""
    texts = {name: file.read_text(encoding="utf-8") for name, file in MODULES.items()}
    assert [name for name, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []


# What is used of others although its name says that it may change: each with the test that tells when it did.
PRIVATE_PARTS = {
    ("chaoskit.services.docker.daemon", "_response"),  # any test of a container's end: the stream must close
    ("chaoskit.pytest_plugin.allure_results", "_cache"),  # tests/pytest_plugin/test_plugin_allure.py, on Ctrl-C
    ("chaoskit.failpoints.active", "_local"),  # the standard library's, without the price of threading's
    ("chaoskit.failpoints.actions", "_exit"),  # documented in os
    ("chaoskit.traffic.worker", "_exit"),
    ("chaoskit.engine.toxiproxy_server", "_replace"),  # documented in collections, of named tuples
}


def test_no_private_part_of_a_dependency_is_used() -> None:
    """A name with an underscore that nobody in the house defines is somebody else's, who may change it any day."""
    trees = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in MODULES.items()}
    nodes = [(module, node) for module, tree in trees.items() for node in ast.walk(tree)]
    own = {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.id for _, node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.attr for _, node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    own |= {module.rpartition(".")[2] for module in MODULES}
    used = {
        (module, node.attr)
        for module, node in nodes
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr) and node.attr not in own
    }
    used |= {
        (module, alias.name)
        for module, node in nodes
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("chaoskit")
        for alias in node.names
        if re.match(r"_[a-z]", alias.name)
    }
    assert used == PRIVATE_PARTS


def test_what_goes_into_a_container_imports_nothing_else_of_ours() -> None:
    """Only the named parts of the package lie there."""
    for module, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "own_code" and node.args):
                continue
            parts = [ast.literal_eval(each).removesuffix(".py").replace("/", ".") for each in node.args]
            there = {
                name
                for name in MODULES
                if any(
                    f"{name}.".startswith(f"chaoskit.{part}.") or f"chaoskit.{part}.".startswith(f"{name}.")
                    for part in parts
                )
            }
            assert there, module
            missing = [
                str(found)
                for found in INSIDE
                if found.module in there and not found.types_only and found.target not in there
            ]
            assert missing == [], f"{module}: own_code() lacks these"
