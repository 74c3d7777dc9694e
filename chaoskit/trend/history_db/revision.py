"""Which commit a run was of: from what CI systems tell in the environment, else from the ``.git`` folder itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaoskit.base.plain_files import MOST, is_plain, read_text

# Commit, branch, and page of the job, as the systems name them.
_SYSTEMS = (
    ("GITHUB_SHA", "GITHUB_REF_NAME", ""),
    ("CI_COMMIT_SHA", "CI_COMMIT_REF_NAME", "CI_JOB_URL"),
    ("GIT_COMMIT", "GIT_BRANCH", "BUILD_URL"),
    ("CIRCLE_SHA1", "CIRCLE_BRANCH", "CIRCLE_BUILD_URL"),
    ("BUILDKITE_COMMIT", "BUILDKITE_BRANCH", "BUILDKITE_BUILD_URL"),
    ("BUILD_SOURCEVERSION", "BUILD_SOURCEBRANCHNAME", ""),
    ("BITBUCKET_COMMIT", "BITBUCKET_BRANCH", ""),
    ("DRONE_COMMIT_SHA", "DRONE_BRANCH", "DRONE_BUILD_LINK"),
)


@dataclass(frozen=True)
class Revision:
    """A commit (full hash), its branch, and the page of the CI job; each empty where it is not known."""

    commit: str = ""
    branch: str = ""
    url: str = ""


def find_revision(folder: Path, environ: Mapping[str, str] = os.environ) -> Revision:
    """The revision of the working copy that ``folder`` lies in. Starts no process, never raises."""
    for commit, branch, url in _SYSTEMS:
        if environ.get(commit):
            return Revision(environ[commit], environ.get(branch, ""), _url(environ, url))
    try:
        return _from_git(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return Revision()


def _url(environ: Mapping[str, str], name: str) -> str:
    if name:
        return environ.get(name, "")
    parts = [environ.get(each, "") for each in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return f"{parts[0]}/{parts[1]}/actions/runs/{parts[2]}" if all(parts) else ""


def _from_git(folder: Path) -> Revision:
    root = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    if root is None:
        return Revision()
    git = root / ".git"
    if is_plain(git):  # a worktree or a submodule: "gitdir: PATH"
        git = (root / read_text(git).partition("gitdir:")[2].strip()).resolve()
    head = read_text(git / "HEAD").strip()
    if not head.startswith("ref:"):
        return Revision(head)
    ref = head.partition(":")[2].strip()
    branch = ref.removeprefix("refs/heads/")
    shared = git / "commondir"
    common = (git / read_text(shared).strip()).resolve() if is_plain(shared) else git
    for place in (git, common):
        if is_plain(place / ref):
            return Revision(read_text(place / ref).strip(), branch)
    packed = common / "packed-refs"
    lines = read_text(packed, MOST).splitlines() if is_plain(packed) else []
    found = next((line.split()[0] for line in lines if line.endswith(f" {ref}")), "")
    return Revision(found, branch)
