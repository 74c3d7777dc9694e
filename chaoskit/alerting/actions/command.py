"""A program of this machine."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, Field

from chaoskit.alerting.actions.base import Action, Job
from chaoskit.clock import now
from chaoskit.errors import BrokenError, ChaosError
from chaoskit.processes import start_process
from chaoskit.scenario.types import Duration, ServiceName, problem

SHELLS = {
    "sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "busybox",
    "eval", "xargs", "parallel", "watch", "su", "ssh",
}  # fmt: skip
"""Programs that run a text as a program."""
_CODE = {"-c", "-e", "--eval", "--command", "-r"}
_POLL = 0.02


def _is_template(word: str) -> bool:
    return "{{" in word or "{%" in word


def _safe(words: list[str]) -> list[str]:
    """What an alert says must never be read as a program."""
    if _is_template(words[0]):
        raise problem("the program itself is no template: what runs stands in this file")
    templates = [word for word in words if _is_template(word)]
    if templates and any(PurePath(word).name in SHELLS for word in words):
        raise problem(
            f"{templates[0]!r}: a template is not given to a shell, which would run what an alert says; "
            'hand it over in env: and write "$NAME"'
        )
    for before, word in pairwise(words):
        if before in _CODE and _is_template(word):
            raise problem(f"{word!r}: a template does not stand where code does ({before}); hand it over in env:")
    return words


class Command(Action):
    """Runs a program to its end, without a shell: each word is one argument, whatever a template puts into it.

    It runs in the folder of the SOP's file, with our environment and ``env``. A status other than 0 is a failure, and
    so is a program that has not ended within ``timeout``: it is ended then, with all it has started.

    Arguments:

    - ``run``: the program and its arguments, a list. Arguments may be templates, the program may not.
    - ``env``: environment variables. Templates.
    - ``timeout``: 30s unless given.
    - ``service``: which one it is for, where that is to be told.
    """

    run: Annotated[list[str], Field(min_length=1), AfterValidator(_safe)]
    env: dict[str, str] = {}
    timeout: Duration = 30.0
    service: ServiceName | None = None

    def execute(self, job: Job) -> str:
        """Run it to its end, or to that of its time."""
        argv = [self.run[0], *(job.text(word) for word in self.run[1:])]
        env = {name: job.text(value) for name, value in self.env.items()}
        if any("\0" in text for text in (*argv, *env.values())):
            raise BrokenError(f"{self.run[0]}: an argument holds a NUL, which no program can be given")
        pidfile = job.stage.folder / f"sop-{job.number}.pid"
        process = start_process(
            argv, name=f"command {PurePath(self.run[0]).name}", journal=job.stage.journal, pidfile=pidfile,
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
