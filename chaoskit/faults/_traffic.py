"""What the kernel counts in a process's network namespace. It can be read by anybody who sees the process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED = "01"


@dataclass(frozen=True)
class Counts:
    """``connections`` that are established with others than itself; ``unroutable`` packets since it was born."""

    connections: int
    unroutable: int


def counts(pid: int) -> Counts | None:
    """What is counted now, or None once the process is gone."""
    net = Path(f"/proc/{pid}/net")
    try:
        rows = [line.split() for name in ("tcp", "tcp6") for line in _lines(net / name)[1:]]
        ip_names, ip_values, *_ = (line.split() for line in _lines(net / "snmp") if line.startswith("Ip:"))
    except (FileNotFoundError, ProcessLookupError, ValueError, OSError):
        return None
    established = sum(row[3] == _ESTABLISHED and _host(row[1]) != _host(row[2]) for row in rows)
    return Counts(established, int(dict(zip(ip_names, ip_values, strict=True))["OutNoRoutes"]))


def _host(address: str) -> str:
    return address.partition(":")[0]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []
