"""The embedded Toxiproxy: ``python -m chaoskit.toxiproxy.server``, a drop-in written in Python.

It runs as a process of its own and imports nothing but the standard library, so that it is up in well under
100 ms. One thread, one :class:`~chaoskit.toxiproxy.server.reactor.Reactor`, which serves the HTTP API and all
proxied connections::

    client ──Endpoint── Flow (upstream):   stage → stage → sink ──Endpoint── upstream
           ──Endpoint── Flow (downstream): sink ← stage ← stage ──Endpoint──

A :class:`~chaoskit.toxiproxy.server.link.Link` is one client connection with its two flows. A flow without an
active toxic moves bytes inside the poll step, through one shared buffer; with one, it takes the slow path:
chunks that walk through a chain of stages, each of which runs one toxic (a generator, see
:mod:`~chaoskit.toxiproxy.server.toxics`).
"""
