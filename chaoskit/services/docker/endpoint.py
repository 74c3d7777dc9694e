"""Where the Docker daemon is asked: found once, as Docker's own client finds it, and on this machine only.

Docker's client looks at ``DOCKER_HOST``, then at the context that ``DOCKER_CONTEXT`` or ``docker context use`` names;
its SDK for Python knows the first only. Both are told what is found here, so that they ask the same daemon.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.base.mask import mask
from chaoskit.base.plain_files import read_text

USUAL = "unix:///var/run/docker.sock"
"""Where it is asked when nothing is said."""

UNIX = "unix://"


def endpoint() -> str:
    """``unix://PATH`` of the daemon, the same from the first call on, whatever becomes of Docker's settings meanwhile.

    Raises BrokenError for a daemon of another machine, and for a context that cannot be read.
    """
    settings = os.environ.get("DOCKER_CONFIG") or str(Path("~/.docker").expanduser())
    return _found(os.environ.get("DOCKER_HOST", ""), os.environ.get("DOCKER_CONTEXT", ""), settings)


def here(place: str, said: str, cure: str = "") -> str:
    """``place`` if it is a socket of this machine; BrokenError otherwise. ``said`` is who says so."""
    if place.startswith(UNIX):
        return place
    raise BrokenError(
        f"{said}: only a Docker daemon at a Unix socket of this machine can be used, as a rehearsal touches nothing "
        f"else, the clocks must be the same, and its networks within reach{cure and '; '}{cure}"
    )


def for_tools() -> dict[str, str]:
    """Variables that lead Docker's command-line tools to the same daemon."""
    return {"DOCKER_HOST": endpoint(), "DOCKER_CONTEXT": ""}


@functools.lru_cache(maxsize=8)
def _found(host: str, context: str, settings: str) -> str:
    if host:
        return here(host, f"DOCKER_HOST={mask(host)}", "unset DOCKER_HOST")
    config = Path(settings, "config.json")
    name = context or str((_read(config) or {}).get("currentContext") or "")
    if not name or name == "default":
        return USUAL
    who = f"the Docker context {name!r} ({'DOCKER_CONTEXT' if context else f'currentContext in {config}'})"
    cure = "set DOCKER_CONTEXT=default" if context else "`docker context use default`, or set DOCKER_CONTEXT=default"
    file = Path(settings, "contexts", "meta", hashlib.sha256(name.encode()).hexdigest(), "meta.json")
    meta = _read(file)
    if meta is None:
        raise BrokenError(f"{who} does not exist: there is no {file}; {cure}")
    said = meta.get("Endpoints")
    docker = said.get("docker") if isinstance(said, dict) else None
    place = str((docker.get("Host") if isinstance(docker, dict) else "") or USUAL)
    return here(place, f"{who} leads to {mask(place)}", cure)


def _read(file: Path) -> dict[str, Any] | None:
    """What a file of Docker's says; None where there is none."""
    try:
        data = json.loads(read_text(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenError(f"{file} cannot be read, so it is not known which Docker daemon is meant: {error}") from None
    return data if isinstance(data, dict) else {}
