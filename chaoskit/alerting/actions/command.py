"""A program of this machine."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Annotated

from pydantic import AfterValidator, Field

from chaoskit.base.blast_radius import beyond
from chaoskit.base.clock import now
from chaoskit.base.errors import BrokenError, ChaosError
from chaoskit.language.action import Action, Job
from chaoskit.language.named_hosts import beyond_in
from chaoskit.language.template import constants_and_names
from chaoskit.language.types import Duration, ServiceName, problem
from chaoskit.system.processes import start_process

INTERPRETERS = {"bash", "dash", "ksh", "node", "perl", "php", "python", "ruby", "sh", "zsh"}
"""Programs that run the file named in their first argument, and give it all others as they are."""

_STEERING = re.compile(
    r"ENV|IFS|PS[0-4]|SHELLOPTS|BASHOPTS|EDITOR|VISUAL|PAGER|BROWSER|LESS(OPEN|CLOSE)|CC|CXX|CPP|AR|"
    r"(LD|DYLD|BASH|GIT|SSH|PYTHON|PERL5?|RUBY|NODE|NPM|PHP|LUA|JAVA|_JAVA|JDK|MAKE|AWK)_?.*|"
    r".*(PATH|_OPTIONS|_OPTS|_COMMAND|RSH|_SHELL|ASKPASS|_WRAPPER|FLAGS|VIMINIT|EXINIT|HOME|RC|CONFIG(_FILE)?)",
    re.IGNORECASE,
)
"""Variables by which a program is told what to run."""
_POLL = 0.02


def _is_template(word: str) -> bool:
    return "{{" in word or "{%" in word


def _tells_alert(word: str) -> bool:
    """Whether a template can hold what an alert says."""
    return _is_template(word) and not constants_and_names(word)[1].isdisjoint({"alert", "incident"})


def _own_file(words: list[str]) -> int | None:
    """Which word is the file beside the SOP's that gets all others, if it is clear that nobody else reads them."""
    if "/" in words[0] and _is_beside(words[0]):
        return 0
    if PurePath(words[0]).name.rstrip("0123456789.") in INTERPRETERS and len(words) > 1 and _is_beside(words[1]):
        return 1
    return None


def _is_beside(word: str) -> bool:
    """Whether it can be nothing but a file beside the SOP's: an option may begin with ``-`` or ``+``, or be empty."""
    place = PurePath(word)
    plain = re.match(r"(\./)*[A-Za-z0-9]", word) and re.match("[A-Za-z0-9]", place.name)
    return bool(plain) and not (_is_template(word) or place.is_absolute() or ".." in place.parts)


def _safe(words: list[str]) -> list[str]:
    """What an alert says must never be read as a program."""
    if _is_template(words[0]):
        raise problem("the program itself is no template: what runs stands in this file")
    told = next((word for word in words if _tells_alert(word)), None)
    if told is not None and _own_file(words) is None:
        raise problem(
            f"{told!r}: what an alert says is an argument of a program of your own only, which lies beside this file: "
            "./mend.sh ARGUMENT, or python mend.py ARGUMENT; any other program might take it for code or an option. "
            'Hand it over in env: and let the program read it, a shell as "$NAME"'
        )
    return words


def _safe_names(env: dict[str, str]) -> dict[str, str]:
    for name, value in env.items():
        if _is_template(name):
            raise problem(f"{name!r}: the name of a variable is no template")
        if _tells_alert(value) and _STEERING.fullmatch(name):
            raise problem(f"{name}: what an alert says is not given to a variable that tells programs what to run")
    return env


class Command(Action):
    """Runs a program to its end, without a shell: each word is one argument, whatever a template puts into it.

    What an alert says (``alert``, ``incident``) may stand in ``env`` for any program. It may stand in an argument only
    where that goes to a program of your own: ``run`` begins with a file beside the SOP's (``./mend.sh``), or with an
    interpreter and such a file (``python mend.py``). That file must be there, its name begins with a letter or digit,
    and no link may lead to another place.

    It is not run when a URL in an argument, or a variable whose name ends in HOST, leads to beyond the blast radius.
    What it connects to by itself is not seen.

    It runs in the folder of the SOP's file, with our environment and ``env``. A status other than 0 is a failure, and
    so is a program that has not ended within ``timeout``: it is ended then, with all it has started.

    Arguments:

    - ``run``: the program and its arguments, a list. Arguments may be templates, the program may not.
    - ``env``: environment variables. Values may be templates; not of an alert where the name is known to steer programs
      (``PATH``, ``LD_PRELOAD``, ``BASH_ENV``, ``PYTHONSTARTUP``).
    - ``timeout``: 30s unless given.
    - ``service``: which one it is for, where that is to be told.
    """

    run: Annotated[list[str], Field(min_length=1), AfterValidator(_safe)]
    env: Annotated[dict[str, str], AfterValidator(_safe_names)] = {}
    timeout: Duration = 30.0
    service: ServiceName | None = None

    def execute(self, job: Job) -> str:
        """Run it to its end, or to that of its time."""
        argv = [self.run[0], *(job.text(word) for word in self.run[1:])]
        if any(map(_tells_alert, self.run)) and (own := _own_file(self.run)) is not None:
            argv[own] = _of_ones_own(job.folder, self.run[own])
        env = {name: job.text(value) for name, value in self.env.items()}
        if any("\0" in text for text in (*argv, *env.values())):
            raise BrokenError(f"{self.run[0]}: an argument holds a NUL, which no program can be given")
        for host in beyond_in(argv, env, job.context.radius):
            raise ChaosError(f"{self.run[0]} was not run: {beyond(host)}")
        pidfile = job.context.folder / f"sop-{job.number}.pid"
        process = start_process(
            argv, name=f"command {PurePath(self.run[0]).name}", journal=job.context.journal, pidfile=pidfile,
            on_line=lambda *_: None, env=env, cwd=job.folder,
        )  # fmt: skip
        try:
            deadline = now() + self.timeout
            while process.poll() is None and now() < deadline and not job.cancelled.wait(_POLL):
                pass
            in_time = process.poll() is not None
        finally:
            status = process.terminate(grace=1.0)
            pidfile.unlink(missing_ok=True)
        told = " / ".join(list(process.last_lines)[-3:])
        if not in_time:
            why = "the scenario has ended" if job.cancelled.is_set() else f"not ended within {self.timeout:g} s"
            raise ChaosError(f"{self.run[0]}: {why}: {told}")
        if status != 0:
            raise ChaosError(f"{self.run[0]}: exit status {status}: {told}")
        return f"{self.run[0]}: {told}" if told else f"{self.run[0]}: done"


def _of_ones_own(folder: Path, word: str) -> str:
    """The file beside the SOP's as no program takes it for an option. Raises ChaosError where there is none.

    One that is a link to an interpreter is no program of one's own.
    """
    file = (folder / word).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise ChaosError(f"{word}: it leads out of {folder}, so it is given nothing that an alert says")
    if not file.is_file():
        raise ChaosError(f"{word}: there is no such file in {folder}, so it is given nothing that an alert says")
    return f"./{PurePath(word)}"
