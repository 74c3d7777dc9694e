"""What was seen: the rows of a history.

Every ``at``, ``started``, ``ended`` ... is a time of the monotonic clock in seconds (see :mod:`chaoskit.base.clock`);
sizes are bytes, shares are ratios. A row is written once and never changed. The run folder holds one
JSON-lines file per kind of row, named after :data:`KINDS`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Moment = Annotated[float, msgspec.Meta(ge=-1e10, le=1e10)]
"""Seconds. Bounds hold where rows are read back: anybody may have written them, and they come into calculations.
No clock of a machine shows more than 300 years."""

Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""Processors, shares, or bytes a second."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]
"""How long something took: a hundred days at most."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all rows."""


class Phase(Row, frozen=True, kw_only=True):
    """A phase of the timeline that has ended: ``steady``, ``faults``, ``recovery`` or ``after``."""

    name: str
    started: Moment
    ended: Moment


class Request(Row, frozen=True, kw_only=True):
    """One request that the traffic generator meant to send.

    ``intended`` is when the open-loop schedule wanted it sent; latency is ``ended - intended``, so a
    generator or a service that stalls cannot hide the wait (no coordinated omission). ``error`` is None for
    any HTTP answer, else ``timeout``, ``refused``, ``reset``, ``closed``, ``unsent: text`` or
    ``other: text``. An ``unsent`` one was due when too many were in flight; ``sent`` is when it was given up, and it
    ends when its timeout would have been over. ``id`` is the value of the operation's correlation header,
    ``traceparent`` that of the header of W3C's trace context, ``idempotency_key`` that of the header
    ``idempotency-key``, empty where none was sent. ``copy`` counts simultaneous copies of one request from 0.
    ``body`` is the beginning of the answer's; ``unread`` says why the rest is not there, empty where there is no rest,
    None in histories that do not know. ``noted`` holds, by dotted path, those values of the whole answer's JSON that an
    expectation needs; where the body is not all there, ``absent`` lists those that it needs and that are in no part.
    """

    op: str
    seq: int
    stream: str
    intended: Moment
    sent: Moment
    ended: Moment
    status: int | None
    error: str | None
    ok: bool
    fallback: bool
    id: str
    traceparent: str = ""
    idempotency_key: str = ""
    copy: int = 0
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = {}
    body: str = ""
    unread: str | None = None
    size: int = 0
    noted: dict[str, Any] = {}
    absent: list[str] = []


class Connection(Row, frozen=True, kw_only=True):
    """One TCP connection through a proxy, written when it has ended, or at the end of the run.

    ``end`` says who ended it: ``client``, ``upstream``, ``toxic``, ``disabled`` (the proxy went down),
    ``unreachable`` (upstream could not be connected), ``open`` (nobody yet: ``ended`` is when the run did).
    ``reset`` is true when the client saw a RST.
    """

    proxy: str
    conn: int
    client: str
    opened: Moment
    ended: Moment
    sent: int
    received: int
    end: str
    reset: bool = False


class Exchange(Row, frozen=True, kw_only=True):
    """One HTTP request seen at a proxy, and its answer if one came: one attempt of a client.

    ``started``: first byte of the request. ``sent``: last byte of the request (None if it never came).
    ``answered``: first byte of the answer, ``ended``: last byte of it, or when the connection ended or the client gave
    up.
    ``end``: ``complete``, ``closed`` (connection ended before the answer was whole) or ``reset``.
    ``headers`` holds the request headers that the tap was told to note, names in lower case.
    """

    proxy: str
    conn: int
    method: str
    path: str
    id: str
    started: Moment
    sent: Moment | None
    answered: Moment | None
    ended: Moment
    status: int | None
    end: str
    headers: dict[str, str] = {}


ENGINE = "the engine"
"""Who is to blame where no fault is: the error of a :class:`Fault` that begins so, and what is told of lateness."""


class Fault(Row, frozen=True, kw_only=True):
    """A fault's window with its evidence. ``touched`` counts what it acted on; fewer than ``needed`` prove
    nothing.

    ``started`` is when injecting began, ``injected`` when it was done, ``ended`` when the cure was done. ``over`` is
    when it acted for the last time, where that is before the end of its window.
    """

    name: str
    kind: str
    target: str
    planned_start: Moment
    planned_end: Moment
    started: Moment
    injected: Moment
    ended: Moment
    touched: int
    unit: str
    needed: int = 1
    over: Moment | None = None
    evidence: dict[str, Any] = {}
    error: str | None = None

    @property
    def proved(self) -> bool:
        """Whether it acted on as much as was asked for."""
        return self.touched >= self.needed


class Sample(Row, frozen=True, kw_only=True):
    """One value of a metric: a service's own (Prometheus name with labels, ``db_pool_in_use{pool="x"}``), or
    a figure of its processes: ``process.open_files``, ``process.threads``, ``process.memory`` (bytes), ``process.cpu``
    (seconds used), ``process.pid``. A ``value`` that is no finite number stands in the file as text: ``"inf"``; NaN
    says that the service does not know it.
    """

    service: str
    name: str
    at: Moment
    value: float


class Log(Row, frozen=True, kw_only=True):
    """A line that a service wrote. ``stream`` is ``stdout`` or ``stderr``."""

    service: str
    at: Moment
    line: str
    stream: str = "stdout"


ASKED = "as asked"
"""``detail`` of ``exited`` where the engine, a fault or an SOP had it end in an orderly way."""

TAKEN = "port taken"
"""What happened to a service at whose address somebody else listens; ``detail`` tells who."""


class Event(Row, frozen=True, kw_only=True):
    """Something that happened to a service: ``started``, ``ready``, ``exited``, ``killed``, ``paused``,
    ``continued``, ``restarted``, :data:`TAKEN` ...; ``pid`` and ``code`` (exit status, negative for a signal)
    where known."""

    service: str
    at: Moment
    what: str
    pid: int | None = None
    code: int | None = None
    detail: str = ""


class Read(Row, frozen=True, kw_only=True):
    """Data read back from outside for an expectation (a ledger's rows, for example).

    ``changing``: it was not the same for as long as it was to be when the time to read it was over.
    """

    name: str
    at: Moment
    rows: list[list[Any]]
    error: str | None = None
    changing: bool = False


class Schedule(Row, frozen=True, kw_only=True):
    """What the traffic generator did: requests planned and sent, and how late it sent them (seconds). ``unsent`` of
    those that count as sent were due when too many were in flight: refused by us on time."""

    at: Moment
    planned: int
    sent: int
    lag_p50: Moment
    lag_p99: Moment
    lag_max: Moment
    unsent: int = 0


class Alert(Row, frozen=True, kw_only=True):
    """One step in the life of an alert.

    ``state``: ``pending``, ``firing`` and ``inactive`` are what the rules say (``source`` ``rules``: asked of
    Prometheus or of the embedded evaluator); ``delivered`` and ``resolved`` are notifications that arrived at the
    alert sink (``source`` ``prometheus``, ``alertmanager`` or ``application``). ``fingerprint`` is the same for the
    same labels. ``starts_at`` and ``ends_at`` are what the notification says (RFC 3339). ``refused`` tells how the
    sink, told to fail, failed this delivery: then nothing was delivered.
    """

    name: str
    state: Literal["pending", "firing", "delivered", "resolved", "inactive"]
    at: Moment
    source: str
    fingerprint: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at: str = ""
    ends_at: str = ""
    receiver: str = ""
    refused: str = ""


class Rules(Row, frozen=True, kw_only=True):
    """A look at the alerting rules, about once a second: proof that they are evaluated, whether or not they fire.

    By the alert's name: ``evaluated`` is when its rules were evaluated last (monotonic seconds; not there before
    the first time), ``queries`` is what they ask, ``waits`` for how many seconds it must be so before they fire
    (``for``; the longest of several rules), ``failing`` why an evaluation failed. ``error`` tells why nobody could be
    asked at all.
    """

    at: Moment
    evaluated: dict[str, Moment] = {}
    queries: dict[str, str] = {}
    waits: dict[str, Moment] = {}
    failing: dict[str, str] = {}
    error: str = ""


class SopRun(Row, frozen=True, kw_only=True):
    """An SOP that an alert has started, written when it has ended or was decided against.

    ``incident`` names the life of the alert that it belongs to, ``queued`` is when its notification arrived.
    ``outcome``: ``done``, ``failed`` (each attempt of a step did; ``escalated`` tells to whom), ``skipped`` (``detail``
    says why: severity, cool-down, at most so often) or ``open`` (the history ended first). ``runner`` is ``chaoskit``
    or the URL of a team's own platform; ``called_back`` marks an action that this platform had us do. ``payload`` is
    what says all this to an SOP platform, ``steps`` what was done: ``action``, ``target``, ``outcome``, ``attempts``,
    ``started``, ``ended`` (monotonic seconds) and ``detail`` of each. ``report`` is the fault report's file, relative
    to the scenario's folder. Secrets are masked.
    """

    sop: str
    alert: str
    fingerprint: str
    incident: str
    severity: str
    action_type: str
    target_service: str
    priority: str
    queued: Moment
    started: Moment | None = None
    ended: Moment | None = None
    outcome: Literal["done", "failed", "skipped", "open"] = "open"
    attempts: int = 0
    escalated: str = ""
    detail: str = ""
    runner: str = "chaoskit"
    called_back: bool = False
    payload: dict[str, Any] = {}
    steps: list[dict[str, Any]] = []
    report: str = ""


class Span(Row, frozen=True, kw_only=True):
    """A span of a trace that a service exported (OTLP). Ids are lower-case hex, ``parent_id`` empty for a root.

    ``started`` and ``ended`` are the exporter's wall clock turned into monotonic seconds.
    """

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started: Moment
    ended: Moment
    kind: str = ""
    status: str = ""
    attributes: dict[str, Any] = {}


class Host(Row, frozen=True, kw_only=True):
    """The machine over the ``seconds`` that ended ``at``, as somebody beside us felt it.

    ``late`` is by how much a timer woke late at most. ``own``, ``foreign`` and ``stolen`` are processors (1.4 is one
    and nearly a half) used by what belongs to the run, used by everybody else, and taken by the hypervisor.
    ``waited`` is how many of our threads were ready and had no processor, on average, and ``busiest`` how many threads
    the busiest of our processes had running or ready; None where the kernel does not tell (``CONFIG_SCHED_INFO``). The
    engine is left out of both.
    ``cpu_pressure`` and ``io_pressure`` are shares of the time in which somebody on the machine waited
    (``/proc/pressure``; None where the kernel does not tell). ``own_disk`` and ``foreign_disk`` are bytes a second that
    the disk read and wrote; what we wrote is ours when it reaches the disk, whoever has it do so.
    """

    at: Moment
    seconds: Moment
    late: Moment
    cores: int
    own: Number
    foreign: Number
    stolen: Number = 0.0
    waited: Number | None = None
    busiest: Number | None = None
    cpu_pressure: Number | None = None
    io_pressure: Number | None = None
    own_disk: Number = 0.0
    foreign_disk: Number = 0.0


KINDS: dict[str, type[Row]] = {
    "phases": Phase,
    "requests": Request,
    "connections": Connection,
    "exchanges": Exchange,
    "faults": Fault,
    "samples": Sample,
    "logs": Log,
    "events": Event,
    "reads": Read,
    "schedules": Schedule,
    "alerts": Alert,
    "rules": Rules,
    "sop_runs": SopRun,
    "spans": Span,
    "host": Host,
}
