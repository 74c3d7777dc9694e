"""``executor.json``: which build of which CI system made the results. Trends of Allure 2 are labelled by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def executor(env: Mapping[str, str]) -> dict[str, Any]:
    """From the variables of GitHub Actions, GitLab CI, Jenkins, or any system that sets ``CI``; empty elsewhere."""
    if env.get("GITHUB_ACTIONS") == "true":
        server, repository = env.get("GITHUB_SERVER_URL", ""), env.get("GITHUB_REPOSITORY", "")
        url = f"{server}/{repository}/actions/runs/{env.get('GITHUB_RUN_ID', '')}"
        return _told("GitHub Actions", "github", env.get("GITHUB_WORKFLOW", ""), env.get("GITHUB_RUN_NUMBER", ""), url)
    if env.get("GITLAB_CI"):
        number, url = env.get("CI_PIPELINE_IID", ""), env.get("CI_JOB_URL") or env.get("CI_PIPELINE_URL", "")
        return _told("GitLab CI", "gitlab", env.get("CI_PROJECT_PATH", ""), number, url)
    if env.get("JENKINS_URL"):
        return _told(
            "Jenkins", "jenkins", env.get("JOB_NAME", ""), env.get("BUILD_NUMBER", ""), env.get("BUILD_URL", "")
        )
    if env.get("CI", "").lower() not in ("", "0", "false"):
        return _told(
            env.get("CI_NAME", "CI"),
            "ci",
            env.get("CI_JOB_NAME", ""),
            env.get("CI_BUILD_NUMBER") or env.get("BUILD_NUMBER", ""),
            env.get("CI_BUILD_URL") or env.get("BUILD_URL", ""),
        )
    return {}


def _told(name: str, kind: str, job: str, number: str, url: str) -> dict[str, Any]:
    """What is known of it. Only web addresses become links."""
    build = f"{job} #{number}" if number else job
    data: dict[str, Any] = {"name": name, "type": kind, "buildName": build.strip() or name}
    if number.isdigit():
        data["buildOrder"] = int(number)
    if url.startswith(("https://", "http://")):
        data["buildUrl"] = url
    return data
