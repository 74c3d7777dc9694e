"""The command line, as Go's ``flag`` package reads it: one dash or two, ``-name value`` or ``-name=value``."""

from __future__ import annotations

USAGE = """\
Usage of chaoskit's Toxiproxy server:
  -config string
    \tJSON file containing proxies to create on startup
  -exit-with-parent
    \tend when the process that started this one ends (=PID: when that process ends)
  -host string
    \tHost for toxiproxy's API to listen on (default "localhost")
  -port string
    \tPort for toxiproxy's API to listen on; 0 takes a free one (default "8474")
  -proxy-metrics
    \tenable toxiproxy-specific prometheus metrics (default "false")
  -runtime-metrics
    \tenable runtime-related prometheus metrics (default "false")
  -seed int
    \tSeed for randomizing toxics with
  -upstreams string
    \tHosts beside loopback that proxies may lead to, separated by commas; on-link: whoever is on this machine's own
    \tnetworks (default: anybody)
  -version
    \tprint the version (default "false")
"""

_SWITCHES = ("exit-with-parent", "proxy-metrics", "runtime-metrics", "version")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class FlagError(Exception):
    """The command line cannot be read. An empty text: help was asked for."""


class Flags:
    """The flags with their defaults."""

    def __init__(self) -> None:
        self.host = "localhost"
        self.port = 8474
        self.config = ""
        self.seed: int | None = None
        self.proxy_metrics = False
        self.runtime_metrics = False
        self.version = False
        self.upstreams: str | None = None
        """Where proxies may lead; None is anywhere."""
        self.parent: int | None = None
        """End with this process; 0 is the one that started this one."""


def parse(arguments: list[str]) -> Flags:
    """Raises FlagError."""
    flags = Flags()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            break  # like Go: what follows the first argument that is no flag is left alone
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name in ("h", "help"):
            raise FlagError("")
        if name in _SWITCHES:
            value = value if equals else "true"
        elif name not in ("config", "host", "port", "seed", "upstreams"):
            raise FlagError(f"flag provided but not defined: -{name}")
        elif not equals:
            if not rest:
                raise FlagError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        _set(flags, name, value)
    return flags


def _set(flags: Flags, name: str, value: str) -> None:
    if name in ("host", "config", "upstreams"):
        setattr(flags, name, value)
    elif name in ("port", "seed"):
        setattr(flags, name, _number(name, value))
    elif name == "exit-with-parent" and value.isdigit() and value not in (*_TRUE, *_FALSE):
        flags.parent = int(value)
    elif value in _TRUE:
        if name == "exit-with-parent":
            flags.parent = 0
        else:
            setattr(flags, name.replace("-", "_"), True)
    elif value not in _FALSE:
        raise FlagError(f'invalid boolean value "{value}" for -{name}: parse error')


def _number(name: str, value: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise FlagError(f'invalid value "{value}" for flag -{name}: parse error') from None
    if name == "port" and not 0 <= number <= 65535:
        raise FlagError(f'invalid value "{value}" for flag -port: must be 0 to 65535')
    return number
