"""The blast radius of a server in a container: the networks that the container is on, which are the run's own."""

from __future__ import annotations

import sys

from chaoskit.base.blast_radius import BlastRadius, number_of

ON_LINK = "on-link"
"""What ``-upstreams`` says for it."""


class OnLink(BlastRadius):
    """Loopback, and whoever is reached without a router.

    Any name may be looked up, as it may be that of a container. Docker passes on the name of one that is gone to this
    machine's own name servers, so what matters is where it leads.
    """

    def names(self, host: str) -> bool:  # noqa: ARG002  # see above
        """Whatever it is."""
        return True

    def holds(self, number: str) -> bool:
        """Whether an address is loopback, or on one of the networks (asked anew: there may be more by now)."""
        return super().holds(number) or _on_link(number)


def _on_link(number: str) -> bool:
    ip = number_of(number)
    if ip is None:
        return False
    value, bits = int(ip), ip.max_prefixlen
    return any(length and value >> (bits - length) == net >> (bits - length) for net, length in _networks(bits))


def _networks(bits: int) -> list[tuple[int, int]]:
    """Address and length of each network that a route without a gateway leads to."""
    found = []
    if bits == 32:
        for line in _lines("/proc/net/route")[1:]:
            fields = line.split()
            if int(fields[2], 16) == 0:
                mask = int(fields[7], 16)  # in the byte order of the machine, which does not matter for a count
                found.append((int.from_bytes(int(fields[1], 16).to_bytes(4, sys.byteorder), "big"), mask.bit_count()))
        return found
    for line in _lines("/proc/net/ipv6_route"):
        fields = line.split()
        if int(fields[4], 16) == 0 and fields[-1] != "lo":
            found.append((int(fields[0], 16), int(fields[1], 16)))
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib costs start-up time
            return file.read().splitlines()
    except OSError:
        return []
