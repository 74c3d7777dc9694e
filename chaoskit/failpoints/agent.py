"""Run a program with its functions as failpoints by name, without touching its code.

``python -m chaoskit.failpoints.agent script.py ARGS...`` and ``... agent -m module ARGS...`` do what
``python script.py ARGS...`` and ``python -m module ARGS...`` do. The environment names the API's address and the
failpoints to begin with, as :mod:`chaoskit.failpoints` says.

One process is one API: children that the program starts are not reached. Functions of the program's own file are
``__main__:function``; they exist only once their ``def`` has run, so they cannot be named at start-up.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from chaoskit.failpoints.environment import start
from chaoskit.failpoints.errors import FailpointsError

USAGE = "usage: python -m chaoskit.failpoints.agent [-m module | script.py] [arguments...]"


def main() -> None:
    """Run what ``sys.argv`` names. Raises SystemExit for wrong usage, and whatever the program raises."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["-m"] or (arguments[0].startswith("-") and arguments[0] != "-m"):
        sys.stderr.write(USAGE + "\n")
        raise SystemExit(2)
    if arguments[0] == "-m":
        _start()  # first: finding a module in a package runs the package
        module, code = _module(arguments[1:])
    else:
        module, code = _script(arguments)
        _start()  # last: it looks for modules in the script's folder
    # The program must find itself as __main__: pickle, multiprocessing and logging look there.
    sys.modules["__main__"] = module
    exec(code, vars(module))  # noqa: S102  # running it is the point


def _start() -> None:
    try:
        start(by_name=True)
    except FailpointsError as error:
        raise SystemExit(f"chaoskit.failpoints: {error}") from None


def _module(arguments: list[str]) -> tuple[ModuleType, CodeType]:
    name = arguments[0]
    spec = _find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:  # a package runs its __main__
        spec = _find_spec(f"{name}.__main__")
    get_code = getattr(spec.loader, "get_code", None) if spec is not None else None
    code = get_code(spec.name) if spec is not None and get_code is not None else None
    if spec is None or code is None:
        raise SystemExit(f"{sys.executable}: there is no module {name} that can be run")
    module = ModuleType("__main__")
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    module.__file__ = spec.origin
    sys.argv[:] = [str(spec.origin), *arguments[1:]]
    return module, code


def _find_spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise  # the package was found, but importing it failed


def _script(arguments: list[str]) -> tuple[ModuleType, CodeType]:
    path = Path(arguments[0]).absolute()
    try:
        with io.open_code(str(path)) as file:
            code = compile(file.read(), str(path), "exec", dont_inherit=True)
    except OSError as error:
        raise SystemExit(f"{sys.executable}: can't open {str(path)!r}: {error.strerror}") from None
    module = ModuleType("__main__")
    module.__file__ = str(path)
    if not sys.flags.safe_path:
        sys.path[0] = str(path.resolve().parent)
    sys.argv[:] = arguments
    return module, code


if __name__ == "__main__":
    main()
