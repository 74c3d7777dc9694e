"""Docker: the daemon, the tool for Compose files, and the images that environments name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from chaoskit.base.errors import ChaosError
from chaoskit.cli._doctor.parts import NotThere, Part, share, told
from chaoskit.language.service import ServiceSpec
from chaoskit.services.create import PROVIDERS
from chaoskit.services.docker.daemon import connect

DEFAULT_IMAGES = (
    "postgres:16",
    "redis:7",
    "python:3.11-slim",
    "ghcr.io/shopify/toxiproxy:2.12.0",
    "prom/prometheus:latest",
    "prom/alertmanager:latest",
)


def _client() -> Any:
    try:
        return connect(share())
    except ChaosError as error:
        raise NotThere(str(error)) from None


def _daemon() -> str:
    client = _client()
    try:
        info, version = client.info(), client.version()
    finally:
        client.close()
    return (
        f"{version['Version']}, API {version['ApiVersion']}, cgroup v{info.get('CgroupVersion', '1')}, "
        f"{info['Driver']}, {info['NCPU']} cores"
    )


def _compose() -> str:
    if shutil.which("docker") and (version := told("docker", "compose", "version", "--short")):
        return f"v2: {version} (docker compose)"
    path = shutil.which("docker-compose")
    if path is None:
        raise NotThere("neither the plugin docker compose nor docker-compose")
    return f"v1: {told(path, 'version', '--short') or 'version not told'} ({path})"


def _images() -> str:
    wanted = sorted({*DEFAULT_IMAGES, *_named()})
    client = _client()
    try:
        there = {tag for image in client.images.list() for tag in image.tags}
    finally:
        client.close()
    missing = [name for name in wanted if name not in there and f"{name}:latest" not in there]
    if missing:
        raise NotThere(f"not on this machine: {', '.join(missing)}")
    return ", ".join(wanted)


def _named() -> list[str]:
    """The images that the environments of the project in this folder name."""
    from chaoskit.language.environments import load_environment

    names = []
    for file in sorted(Path("scenarios/environments").glob("*.yaml")):
        try:
            environment = load_environment(file)
        except ChaosError:
            continue  # `chaoskit validate` says what is wrong with it
        names += [image for spec in environment.services.values() if (image := _image_of(spec))]
    return names


def _image_of(spec: ServiceSpec) -> str:
    """What a service runs in; empty for one that is built, or only has a command."""
    if spec.image or spec.build or spec.provider is None:
        return spec.image or ""
    return PROVIDERS.get(spec.provider).image_of(spec)


_GROUP = "Containers"

PARTS = (
    Part(
        _GROUP,
        "Docker daemon",
        _daemon,
        "--chaos-runtime=docker, image:, build:, compose:, container faults",
        "apt install docker.io, or https://docs.docker.com/engine/install/",
    ),
    Part(
        _GROUP,
        "Docker images",
        _images,
        "environments on Docker where no registry can be reached",
        "docker pull IMAGE; without a registry: .ci/images in chaoskit's repository",
    ),
    Part(
        _GROUP,
        "Docker Compose",
        _compose,
        "compose: in an environment",
        "apt install docker-compose-plugin (v2, Docker's packages) or docker-compose (v1, Debian's)",
    ),
)
