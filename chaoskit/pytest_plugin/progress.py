"""What is going on while a scenario runs: one line that changes, or plain lines where there is no terminal."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chaoskit.base.units import format_duration, format_ratio

if TYPE_CHECKING:
    import pytest

    from chaoskit.engine.run import Progress


class ProgressLine:
    """Shows :class:`~chaoskit.engine.run.Progress` through pytest's own terminal writer."""

    def __init__(self, config: pytest.Config, nodeid: str) -> None:
        self._nodeid = nodeid
        self._config = config
        self._reporter = _reporter(config)
        self._terminal = self._reporter is not None and self._reporter.isatty
        self._phase = ""
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reporter is not None and self._shown:
            with _uncaptured(self._config):
                if self._terminal:
                    self._reporter.rewrite("", erase=True)
                if self._reporter.showfspath:  # the line with the file's name is gone: begin it anew for the result
                    self._reporter.currentfspath = None
                    self._reporter.write_fspath_result(self._nodeid, "")

    def show(self, progress: Progress) -> None:
        """Called a few times a second by the engine, on the main thread."""
        if self._reporter is None or (not self._terminal and progress.phase == self._phase):
            return
        with _uncaptured(self._config):
            if self._terminal:
                self._reporter.rewrite(f"  {_text(progress)}", erase=True)
            else:
                self._reporter.ensure_newline()
                self._reporter.write_line(f"  {_text(progress)}")
        self._shown = True
        self._phase = progress.phase


def write_note(config: pytest.Config, text: str) -> None:
    """A line of its own, now; nowhere in xdist's workers and with ``-q``."""
    reporter = _reporter(config)
    if reporter is not None:
        with _uncaptured(config):
            reporter.ensure_newline()
            reporter.write_line(f"  {text}")


def _reporter(config: pytest.Config) -> Any:
    """pytest's own, where anything is to be shown; else None."""
    quiet = hasattr(config, "workerinput") or config.get_verbosity() < 0
    return None if quiet else config.pluginmanager.getplugin("terminalreporter")


def _uncaptured(config: pytest.Config) -> AbstractContextManager[None]:
    """What a test writes is captured; the progress is not a test's."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    return nullcontext() if capture is None else capture.global_and_fixture_disabled()


def _text(progress: Progress) -> str:
    parts = [f"{progress.phase:<8} {progress.left:>5.1f} s left"]
    if progress.success is not None and progress.p99 is not None:
        parts.append(f"success {format_ratio(progress.success)}")
        parts.append(f"p99 {format_duration(progress.p99)}")
        parts.append(f"{progress.requests}/s")
    return "   ".join(parts)
