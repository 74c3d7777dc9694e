"""The toxics of one direction of a connection: how they come, change and go while data is under way."""

from __future__ import annotations

from chaoskit.toxiproxy.server.flow import Flow
from chaoskit.toxiproxy.server.installed import Installed
from chaoskit.toxiproxy.server.stage import Stage


def install(flow: Flow, installed: Installed) -> None:
    """Put a toxic at the end of the chain."""
    if installed.toxic.WATCHES_ANSWERS:
        flow.link.watch_answers()
    stage = Stage(flow, installed)
    stages = flow.stages
    if stages:
        stages[-1].next = stage
    stages.append(stage)
    if flow.over and len(stages) == 1:
        stage.stop()  # the stream has passed already
    if len(stages) > 1:
        stages[-2].roll_again()
    flow.refresh()


def update(flow: Flow, installed: Installed) -> None:
    """The attributes of a toxic have changed."""
    for stage in flow.stages:
        if stage.installed is installed:
            stage.restart()
    flow.refresh()


def remove(flow: Flow, installed: Installed) -> None:
    """Take a toxic out of the chain; what it held goes on at once."""
    stage = next((stage for stage in flow.stages if stage.installed is installed), None)
    if stage is None:
        return
    if installed.toxic.CLOSES_WHEN_REMOVED and not stage.closed:
        stage.cut()
        return
    stage.empty()
    index = flow.stages.index(stage)
    del flow.stages[index]
    if index:
        before = flow.stages[index - 1]
        before.next = stage.next
        before.roll_again()
        before.advance()
    flow.refresh()
