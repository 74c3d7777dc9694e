# ruff: noqa: T201 - a command prints
"""Makes the images that the project's environments name, where no registry can be reached.

    python3 .ci/images.py [IMAGE ...]

Each image carries the hash of what it was made from as the label ``chaoskit.image``: one with the same hash is
skipped, and one without that label (pulled from a registry, or a user's own) is never replaced. Needs Debian with
apt, a Docker daemon, and for Toxiproxy a Go compiler.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rootfs import Debian, ImageError, Rootfs, library_folder, output_of

ROOT = Path(__file__).resolve().parent.parent
LABEL = "chaoskit.image"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
POSTGRES_WHEEL = "pgserver==0.1.4"  # PostgreSQL 16.2
TOXIPROXY = "2.12.0"
SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SITE_PACKAGES = f"/usr/local/lib/python{PYTHON}/site-packages"


@dataclass(frozen=True)
class Image:
    """``inputs`` is what the image depends on; ``fill`` puts the files in; ``config`` is the rest of its Dockerfile."""

    tag: str
    inputs: Callable[[], Iterable[str]]
    fill: Callable[[Rootfs, Path], None]
    config: tuple[str, ...]
    onto: str = ""  # the image of ours whose files it adds to


def _clock(root: Rootfs) -> None:
    """libfaketime, where Debian's package has it."""
    root.debian.fetch("libfaketime")
    for name in ("libfaketime.so.1", "libfaketimeMT.so.1"):
        path = f"/usr{library_folder()}/faketime/{name}"
        root.file(path, root.debian.path(path))


def _python(root: Rootfs, _work: Path) -> None:
    root.base()
    home = Path(sys.base_prefix)
    library = home / f"lib/python{PYTHON}"
    unneeded = {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
    copied = root.tree(
        f"/usr/local/lib/python{PYTHON}",
        library,
        lambda path: path.name in unneeded or path.name.startswith("config-") or ".opt-" in path.name,
    )
    interpreter = home / f"bin/python{PYTHON}"
    root.programs(interpreter, into="/usr/local/bin")
    root.libraries([path for path in copied if path.suffix == ".so"])
    for name in ("python3", "python"):
        root.link(f"/usr/local/bin/{name}", interpreter.name)
    root.folder(SITE_PACKAGES)
    _clock(root)


def _postgres(root: Rootfs, work: Path) -> None:
    root.base(("postgres", 999, "/var/lib/postgresql"))
    output_of(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(work), POSTGRES_WHEEL)
    with zipfile.ZipFile(next(work.glob("pgserver*.whl"))) as wheel:
        wheel.extractall(work)
    installed = work / "pgserver/pginstall"
    for program in (installed / "bin").iterdir():
        program.chmod(0o755)
    home = "/usr/lib/postgresql/16"
    copied = root.tree(home, installed, lambda path: path.name in {"include", "pkgconfig"} or path.suffix == ".a")
    binaries = [path for path in copied if path.parent.name == "bin" or ".so" in path.name]
    root.libraries(binaries)
    for program in sorted((installed / "bin").iterdir()):
        root.link(f"/usr/bin/{program.name}", f"{home}/bin/{program.name}".removeprefix("/usr/bin/"))
    root.programs(Path("/usr/bin/setpriv"))
    for folder in ("/var/lib/postgresql", "/var/lib/postgresql/data", "/var/run/postgresql"):
        root.folder(folder, mode=0o777 if "run" in folder else 0o700 if "data" in folder else 0o755, uid=999)
    _entrypoint(root, "postgres")
    _clock(root)


def _redis(root: Rootfs, _work: Path) -> None:
    root.base(("redis", 999, "/data"))
    root.debian.fetch("redis-server", "redis-tools")
    root.programs(*(root.debian.path(f"/usr/bin/redis-{name}") for name in ("server", "cli")), Path("/usr/bin/setpriv"))
    root.folder("/data", uid=999)
    _entrypoint(root, "redis")


def _entrypoint(root: Rootfs, name: str) -> None:
    script = (ROOT / f".ci/entrypoint-{name}").read_text(encoding="utf-8")
    root.text("/usr/local/bin/docker-entrypoint.sh", script, mode=0o755)


def _toxiproxy(root: Rootfs, work: Path) -> None:
    if shutil.which("go") is None:
        raise ImageError("making the Toxiproxy image needs Go (https://go.dev/dl/)")
    module = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY}"
    flags = f"-X github.com/Shopify/toxiproxy/v2.Version={TOXIPROXY}"
    output_of("go", "install", "-ldflags", flags, module, CGO_ENABLED="0", GOBIN=str(work))
    root.file("/toxiproxy", work / "server")


def _prometheus(root: Rootfs, _work: Path) -> None:
    _alerting_server(root, "prometheus", "prometheus", "/prometheus")


def _alertmanager(root: Rootfs, _work: Path) -> None:
    _alerting_server(root, "prometheus-alertmanager", "alertmanager", "/alertmanager")
    for name in ("default", "email"):  # it does not start without
        template = f"/usr/share/prometheus/alertmanager/{name}.tmpl"
        root.file(template, root.debian.path(template))


def _alerting_server(root: Rootfs, package: str, name: str, data: str) -> None:
    """A Debian program under the name, and with the folders, of the project's own image."""
    root.base()
    root.debian.fetch(package)
    program = root.debian.path(f"/usr/bin/{package}")
    root.file(f"/usr/bin/{name}", program)
    root.libraries([program])
    root.folder(f"/etc/{name}")
    root.folder(data, mode=0o777)


def _shop_packages(root: Rootfs, work: Path) -> None:
    install = (sys.executable, "-m", "pip", "install", "-q", "--target", str(work / "site"), "--no-warn-conflicts")
    output_of(*install, *_requirements())
    copied = root.tree(SITE_PACKAGES, work / "site", lambda path: path.name in {"bin", "include", "tests"})
    own = {path.name for path in copied}
    for found in root.debian.libraries(path for path in copied if ".so" in path.name and "pginstall" not in str(path)):
        if found.name not in own and not found.is_relative_to(work):
            root.libraries([found])


def _shop(root: Rootfs, _work: Path) -> None:
    root.tree(f"{SITE_PACKAGES}/chaoskit", ROOT / "chaoskit", lambda path: path.name == "__pycache__")
    root.tree("/app/shop", ROOT / "examples/shop", lambda path: path.name == "__pycache__")


def _requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["demo"]]


def _sources(*places: str) -> list[str]:
    """The content of the project's files below ``places``."""
    files = (path for place in places for path in sorted((ROOT / place).rglob("*.py")))
    return [f"{path.relative_to(ROOT)}\n{path.read_text(encoding='utf-8')}" for path in files]


_PYTHON_CONFIG = (f"ENV {SEARCH_PATH}", "ENV LANG=C.UTF-8", 'CMD ["python3"]')
_SHOP_CONFIG = (*_PYTHON_CONFIG[:2], "ENV PYTHONPATH=/app", "WORKDIR /app", 'CMD ["python", "-m", "shop.orders"]')
IMAGES = (
    Image(f"python:{PYTHON}-slim", lambda: [sys.version, sys.base_prefix], _python, _PYTHON_CONFIG),
    Image(
        "postgres:16",
        lambda: [POSTGRES_WHEEL],
        _postgres,
        (
            f"ENV {SEARCH_PATH}",
            "ENV LANG=C.UTF-8",
            "ENV PGDATA=/var/lib/postgresql/data",
            "VOLUME /var/lib/postgresql/data",
            "EXPOSE 5432",
            "STOPSIGNAL SIGINT",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            'CMD ["postgres"]',
        ),
    ),
    Image(
        "redis:7",
        lambda: [output_of("apt-cache", "show", "--no-all-versions", "redis-server")],
        _redis,
        (
            f"ENV {SEARCH_PATH}",
            "VOLUME /data",
            "WORKDIR /data",
            "EXPOSE 6379",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            'CMD ["redis-server"]',
        ),
    ),
    Image(
        f"ghcr.io/shopify/toxiproxy:{TOXIPROXY}",
        lambda: [TOXIPROXY],
        _toxiproxy,
        ("EXPOSE 8474", 'ENTRYPOINT ["/toxiproxy"]', 'CMD ["-host=0.0.0.0"]'),
    ),
    Image(
        "prom/prometheus:latest",
        lambda: [output_of("apt-cache", "show", "--no-all-versions", "prometheus")],
        _prometheus,
        (f"ENV {SEARCH_PATH}", "WORKDIR /prometheus", "EXPOSE 9090", 'ENTRYPOINT ["/bin/prometheus"]'),
    ),
    Image(
        "prom/alertmanager:latest",
        lambda: [output_of("apt-cache", "show", "--no-all-versions", "prometheus-alertmanager")],
        _alertmanager,
        (f"ENV {SEARCH_PATH}", "WORKDIR /alertmanager", "EXPOSE 9093", 'ENTRYPOINT ["/bin/alertmanager"]'),
    ),
    Image("chaoskit-shop:packages", _requirements, _shop_packages, _SHOP_CONFIG, onto=f"python:{PYTHON}-slim"),
    Image(
        "chaoskit-shop:latest",
        lambda: _sources("chaoskit", "examples/shop"),
        _shop,
        _SHOP_CONFIG,
        onto="chaoskit-shop:packages",
    ),
)


def _label(tag: str) -> str | None:
    """The hash that an image carries, empty when it carries none, None when there is no such image."""
    told = subprocess.run(
        [
            "docker",
            "image",
            "inspect",
            "--format",
            f'{{{{with .Config}}}}{{{{index .Labels "{LABEL}"}}}}{{{{end}}}}',
            tag,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip().replace("<no value>", "") if told.returncode == 0 else None


def _hash(image: Image) -> str:
    here = Path(__file__).parent
    makers = [here / "images.py", here / "rootfs.py", *sorted(here.glob("entrypoint-*"))]
    made_by = (path.read_text(encoding="utf-8") for path in makers)
    below = (_label(image.onto) or "") if image.onto else ""
    return hashlib.sha256("\0".join([*made_by, below, image.tag, *image.inputs()]).encode()).hexdigest()[:16]


def make(image: Image) -> str:
    """Make it unless it is there, and say what was done. Raises ImageError."""
    there, wanted = _label(image.tag), _hash(image)
    if there == wanted:
        return "is there"
    if there == "":
        return "is there, and not made by this script: left as it is"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaoskit-image-") as work, tempfile.TemporaryDirectory() as context:
        root = Rootfs(Debian(Path(work)), bare=bool(image.onto))
        image.fill(root, Path(work))
        with Path(context, "files.tar").open("wb") as archive:
            root.write(archive)
        dockerfile = [f"FROM {image.onto or 'scratch'}", "ADD files.tar /", *image.config, f"LABEL {LABEL}={wanted}"]
        Path(context, "Dockerfile").write_text("\n".join(dockerfile), encoding="utf-8")
        # Debian's client has no buildx, the only other builder.
        output_of("docker", "build", "--quiet", "--force-rm", "--tag", image.tag, context, DOCKER_BUILDKIT="0")
    if there:  # the one that lost its name
        output_of("docker", "image", "prune", "--force", "--filter", f"label={LABEL}={there}")
    return f"made in {time.monotonic() - began:.1f} s"


def main(names: list[str]) -> int:
    """Make the images ``names``, or all. An image that stands on another has that made first."""
    tags = [image.tag for image in IMAGES]
    if unknown := [name for name in names if name not in tags]:
        print(f"unknown image {', '.join(unknown)}; there are {', '.join(tags)}", file=sys.stderr)
        return 2
    wanted = set(names or tags)
    for image in reversed(IMAGES):
        if image.tag in wanted and image.onto:
            wanted.add(image.onto)
    for image in IMAGES:
        if image.tag not in wanted:
            continue
        try:
            print(f"{image.tag} {make(image)}", flush=True)
        except ImageError as error:
            print(f"{image.tag}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
