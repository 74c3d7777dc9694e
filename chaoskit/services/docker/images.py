"""Images: those that are there are used, others are built or pulled, and who waits is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chaoskit.base.errors import BrokenError
from chaoskit.services.docker.daemon import MissingError, ask, asking, client
from chaoskit.services.runtime import ContainerPlan

Note = Callable[[str], None]
"""Called with a line of text when there is progress to show."""

_getting = threading.Lock()

EVERY = 1.0
"""Seconds between two notes about one pull."""


def ensure(plan: ContainerPlan, note: Note) -> str:
    """Have the plan's image on the daemon; gives its id. Raises BrokenError that says what is missing."""
    found = None if plan.rebuild else _find(plan.image)
    if found is not None:
        return found
    with _getting:  # several services may share an image that is not there
        found = None if plan.rebuild else _find(plan.image)
        if found is None and plan.build is not None:
            _build(plan, note)
        elif found is None:
            _pull(plan.image, note)
        found = found or _find(plan.image)
    if found is None:
        raise BrokenError(f"Docker got the image {plan.image}, but does not find it")
    return found


def _find(image: str) -> str | None:
    try:
        return str(ask(f"look for the image {image}", lambda: client().api.inspect_image(image))["Id"])
    except MissingError:
        return None


def _pull(image: str, note: Note) -> None:
    name, separator, tag = image.rpartition(":")
    if not separator or "/" in tag:
        name, tag = image, "latest"
    note(f"pulling {image}")
    try:
        with asking(f"pull {image}"):
            stream = client().api.pull(name, tag=tag, stream=True, decode=True)
            _follow(stream, f"pulling {image}", note)
    except BrokenError as error:
        raise BrokenError(
            f"the image {image} is not on this machine, and could not be pulled: {error}\n"
            f"  Get it with `docker pull {image}` where a registry can be reached (carry it over with `docker save` "
            f"and `docker load`), build it (`docker build -t {image} ...`), or say build: in the environment"
        ) from error


def _build(plan: ContainerPlan, note: Note) -> None:
    assert plan.build is not None
    context = Path(plan.build.context)
    if not (context / plan.build.dockerfile).is_file():
        raise BrokenError(f"the image {plan.image} cannot be built: there is no {context / plan.build.dockerfile}")
    note(f"building {plan.image}")
    try:
        with asking(f"build {plan.image}"):
            stream = client().api.build(
                path=str(context),
                dockerfile=plan.build.dockerfile,
                tag=plan.image,
                buildargs={name: str(value) for name, value in plan.build.args.items()},
                rm=True,
                forcerm=True,
                decode=True,
            )
            _follow(stream, f"building {plan.image}", note)
    except BrokenError as error:
        raise BrokenError(f"the image {plan.image} could not be built from {context}: {error}") from error


def _follow(stream: Iterator[dict[str, Any]], what: str, note: Note) -> None:
    """Tell about the progress now and then. Raises BrokenError with the reason when it ends badly."""
    layers: dict[str, tuple[int, int]] = {}
    last: list[str] = []
    told = time.monotonic()
    for event in stream:
        if "error" in event:
            raise BrokenError(" / ".join([*last[-10:], str(event["error"]).strip()]))
        text = str(event.get("stream", "")).strip()
        if text:
            last.append(text)
        detail = event.get("progressDetail") or {}
        if "total" in detail:
            layers[str(event.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
        if time.monotonic() - told >= EVERY:
            told = time.monotonic()
            done, total = (sum(sizes) for sizes in zip(*layers.values(), strict=True)) if layers else (0, 0)
            shown = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else text or str(event.get("status", ""))
            note(f"{what}: {shown}")
