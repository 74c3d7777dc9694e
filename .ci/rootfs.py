"""The root file system of a container image, put together from programs installed on this machine.

A program needs its own file and the shared libraries that ``ldd`` names. Those, a static busybox for the shell and
its tools, and the few files a C library looks for in /etc make an image in a second, without any registry.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

_MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr, as on Debian
_FOUND = re.compile(r"(?:^|=> )(/\S+) \(0x")
# Loaded by name at run time, or asked for by wheels built on an older C library: `ldd` does not see them.
_BY_NAME = ("libc", "libm", "libpthread", "libdl", "librt", "libutil", "libresolv", "libgcc_s", "libstdc++")
_NAME_SERVICES = ("libnss_files", "libnss_dns")


class ImageError(Exception):
    """An image cannot be made; the text says why and what to do."""


def output_of(*command: str, **environ: str) -> str:
    """What a command printed. Raises ImageError with its error output when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environ})
    except FileNotFoundError:
        raise ImageError(f"there is no program {command[0]!r} on this machine") from None
    except subprocess.CalledProcessError as error:
        raise ImageError(f"{' '.join(command)} failed:\n{error.stderr or error.stdout}") from None
    return done.stdout


class Debian:
    """Files of Debian packages, from the system where installed, else downloaded and unpacked into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, *packages: str) -> None:
        """Unpack the packages, and what they depend on, as far as they are not installed."""
        plan = output_of("apt-get", "install", "--simulate", "--no-install-recommends", *packages)
        missing = re.findall(r"^Inst (\S+)", plan, re.MULTILINE)
        if not missing:
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as archives:
            subprocess.run(["apt-get", "download", "-qq", *missing], cwd=archives, check=True, stderr=subprocess.PIPE)
            for archive in Path(archives).glob("*.deb"):
                output_of("dpkg", "-x", str(archive), str(self._folder))

    def path(self, path: str) -> Path:
        """Where the file is that a package installs as ``path``."""
        for found in (self._folder / path.lstrip("/"), Path(path)):
            if found.exists():
                return found
        raise ImageError(f"{path} is neither installed nor in the packages fetched")

    def libraries(self, programs: Iterable[Path]) -> list[Path]:
        """The shared libraries that the programs load."""
        places = ":".join(str(self._folder / place) for place in (f"usr{library_folder()}", library_folder()[1:]))
        told = output_of("ldd", *map(str, programs), LD_LIBRARY_PATH=places)
        if missing := re.findall(r"(\S+) => not found", told):
            raise ImageError(f"shared libraries are missing: {', '.join(sorted(set(missing)))}")
        return [Path(match) for line in told.splitlines() for match in _FOUND.findall(line.strip())]


class Rootfs:
    """The files of an image, by their path in it. ``debian`` finds libraries; ``bare`` adds to another image."""

    def __init__(self, debian: Debian, *, bare: bool = False) -> None:
        self.debian = debian
        self._entries: dict[str, tuple[tarfile.TarInfo, Path | bytes | None]] = {}
        if bare:
            return
        for place in ("etc", "usr", "var", "root", "proc", "sys", "dev", "run", *(f"usr/{x}" for x in _MERGED)):
            self.folder(f"/{place}")
        for place in _MERGED:
            self.link(f"/{place}", f"usr/{place}")
        for place in ("/tmp", "/var/tmp"):  # noqa: S108 - paths inside the image
            self.folder(place, mode=0o1777)

    def folder(self, path: str, mode: int = 0o755, uid: int = 0) -> None:
        """A folder."""
        self._add(path, tarfile.DIRTYPE, None, mode, uid)

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        """A file with ``content``."""
        self._add(path, tarfile.REGTYPE, content.encode(), mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link. Has no effect where there is something already."""
        if _merged(path) not in self._entries:
            self._add(path, tarfile.SYMTYPE, None, 0o777).linkname = target

    def file(self, path: str, source: Path) -> None:
        """A copy of ``source``."""
        source = source.resolve()
        mode = source.stat().st_mode & 0o777
        info = self._add(path, tarfile.REGTYPE, source, mode)
        info.size, info.mtime = source.stat().st_size, int(source.stat().st_mtime)

    def tree(self, path: str, source: Path, skip: Callable[[Path], bool] = lambda _: False) -> list[Path]:
        """Everything below ``source`` but what ``skip`` refuses; gives the files copied."""
        copied = []
        for place, folders, names in os.walk(source):
            folders[:] = sorted(name for name in folders if not skip(Path(place, name)))
            inside = f"{path}/{Path(place).relative_to(source)}"
            self.folder(inside)
            for name in sorted(names):
                if not skip(found := Path(place, name)) and found.exists():
                    self.file(f"{inside}/{name}", found)
                    copied.append(found)
        return copied

    def programs(self, *sources: Path, into: str = "/usr/bin") -> None:
        """Programs with the libraries they need."""
        for source in sources:
            self.file(f"{into}/{source.name}", source)
        self.libraries(sources)

    def libraries(self, programs: Iterable[Path]) -> None:
        """The shared libraries of ``programs``, all in the folder where the loader looks first."""
        for found in self.debian.libraries(programs):
            loader = found.name.startswith("ld-linux")
            self.file(str(found) if loader else f"{library_folder()}/{found.name}", found)

    def base(self, *users: tuple[str, int, str]) -> None:
        """Shell, tools, C library, and the users root, nobody and ``users`` (name, number, home)."""
        self.debian.fetch("busybox-static")
        busybox = self.debian.path("/bin/busybox")
        self.file("/usr/bin/busybox", busybox)
        for name in output_of(str(busybox), "--list").split():
            self.link(f"/usr/bin/{name}", "busybox")
        for name in (*_BY_NAME, *_NAME_SERVICES):
            for found in sorted(Path(library_folder()).glob(f"{name}.so.*")):
                self.programs(found, into=library_folder())
        self.tree("/usr/lib/locale/C.utf8", Path("/usr/lib/locale/C.utf8"))
        everyone = (("root", 0, "/root"), *users, ("nobody", 65534, "/nonexistent"))
        self.text("/etc/passwd", "".join(f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n" for name, uid, home in everyone))
        self.text("/etc/group", "".join(f"{name}:x:{uid}:\n" for name, uid, _ in everyone))
        self.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")

    def write(self, stream: IO[bytes]) -> None:
        """The files as a tar archive, parents first."""
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path in sorted(self._entries):
                info, content = self._entries[path]
                if isinstance(content, Path):
                    with content.open("rb") as handle:
                        archive.addfile(info, handle)
                else:
                    archive.addfile(info, io.BytesIO(content) if content else None)

    def _add(self, path: str, kind: bytes, content: Path | bytes | None, mode: int, uid: int = 0) -> tarfile.TarInfo:
        info = tarfile.TarInfo(_merged(path))
        info.type, info.mode, info.uid, info.gid = kind, mode, uid, uid
        info.size = len(content) if isinstance(content, bytes) else 0
        self._entries[info.name] = (info, content)
        return info


def _merged(path: str) -> str:
    """The path in the archive: without the leading slash, and in /usr where the first folder is a link there."""
    plain = os.path.normpath(path).lstrip("/")
    first, slash, _ = plain.partition("/")
    return f"usr/{plain}" if slash and first in _MERGED else plain


def library_folder() -> str:
    """Debian's folder of this architecture, which the loader searches without being told."""
    folders = [str(found.parent) for found in Path("/lib").glob("*-linux-gnu/libc.so.6")]
    if not folders:
        raise ImageError(
            "this builds images from Debian's files, and this machine has none (/lib/*-linux-gnu/libc.so.6)"
        )
    return folders[0]
