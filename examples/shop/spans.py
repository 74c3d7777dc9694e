"""Spans of this process, exported over OTLP/HTTP when ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set; else none are made.

The exporter is imported only then: with it a process takes 0.15 to 0.25 s longer to start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from shop.settings import Settings
from shop.trace import Trace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_EVERY_MS = 200
_BATCH = 64
_LIMIT_S = 2.0

_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_nested = False


def configure(settings: Settings) -> None:
    """Export from now on, in small batches and from a thread of its own, if it is said whereto."""
    global _provider, _tracer, _nested
    if not settings.otel_exporter_otlp_endpoint:
        return
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    session = requests.Session()
    session.trust_env = False  # no proxy between processes of one machine, whatever the environment says
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_LIMIT_S, session=session)
    # Not Resource.create: its detectors, which look for clouds, take longer than all the rest.
    _provider = TracerProvider(resource=Resource({"service.name": settings.service}), shutdown_on_exit=False)
    _provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=_EVERY_MS, max_export_batch_size=_BATCH)
    )
    _tracer = _provider.get_tracer("shop")
    _nested = settings.retry_spans == "nested"


def close() -> None:
    """Export what is left. Blocks for as long as that takes, a few seconds at most."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        provider.shutdown()


@contextmanager
def unit(here: Trace, name: str, kind: Literal["server", "consumer"]) -> Iterator[dict[str, Any]]:
    """The span of a unit of work; within, ``here`` carries its ids. What is put into the dict becomes attributes."""
    attributes: dict[str, Any] = {}
    if _tracer is None:
        yield attributes
        return
    from opentelemetry.trace import SpanKind

    span = _tracer.start_span(name, context=_below(here.trace_id, here.parent_id), kind=SpanKind[kind.upper()])
    context = span.get_span_context()
    here.trace_id, here.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    with _ending(span):
        yield attributes
        span.set_attributes(attributes)
        if attributes.get("http.response.status_code", 0) >= 500:
            _failed(span)


@contextmanager
def call(here: Trace, name: str) -> Iterator[str]:
    """The span of one attempt at a call; gives the ``traceparent`` to send with it.

    All attempts are siblings below the unit of work, or (``RETRY_SPANS=nested``) each stands below the one before.
    """
    if _tracer is None:
        yield here.traceparent
        return
    from opentelemetry.trace import SpanKind

    span = _tracer.start_span(
        name,
        context=_below(here.trace_id, (_nested and here.last_call) or here.span_id),
        kind=SpanKind.CLIENT,
        attributes={"http.request.resend_count": here.retry_count},
    )
    here.last_call = f"{span.get_span_context().span_id:016x}"
    with _ending(span):
        yield f"00-{here.trace_id}-{here.last_call}-01"


@contextmanager
def _ending(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # a cancelled request is one that failed, too
        span.record_exception(error)
        _failed(span)
        raise
    finally:
        span.end()


def _failed(span: Span) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR)


def _below(trace_id: str, span_id: str) -> Context:
    """The context of a child of this span; of a root, when there is none."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if not span_id:
        return Context()
    parent = SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
