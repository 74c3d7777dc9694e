"""What reports of 40 scenarios cost beyond Allure's own time: python benchmarks/report_time.py RUN [--count 40]

RUN is the folder of a recorded run; its scenarios are taken again and again until there are enough. Each is loaded,
judged, drawn and written as an Allure result, as pytest does at the end of a scenario; then the HTML page is written
and Allure builds its report, if it is here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chaoskit.engine.run_folder import rejudge
from chaoskit.engine.session import Result
from chaoskit.history.store import load
from chaoskit.report.allure.build import build
from chaoskit.report.allure.commandline import Allure, find
from chaoskit.report.allure.identity import identify
from chaoskit.report.allure.result import attach
from chaoskit.report.allure.run_files import write_run_files
from chaoskit.report.html import write_page
from chaoskit.report.runs import read


class Watched(Allure):
    """Allure, and the seconds that it took itself."""

    seconds = 0.0

    def run(self, arguments: Any, folder: Path) -> None:
        """As ever, with a watch."""
        began = time.perf_counter()
        super().run(arguments, folder)
        Watched.seconds = time.perf_counter() - began


def write_result(folder: Path, number: int) -> tuple[float, float]:
    """One Allure result. Returns seconds and processor seconds, without those of loading and judging."""
    from allure_commons import plugin_manager
    from allure_commons.model2 import Status, TestResult
    from allure_commons.reporter import AllureReporter

    scenario, verdict, control = rejudge(folder)
    meta = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    result = Result(scenario, folder, load(folder), verdict, control, meta["wall"], meta["seed"])
    began, used = time.perf_counter(), time.process_time()
    logger = AllureReporter()
    test = TestResult(uuid=str(number), name="", status=Status.PASSED, start=1, stop=2)
    logger.schedule_test(test.uuid, test)
    listener = SimpleNamespace(allure_logger=logger)
    hooks = Hooks(logger)
    plugin_manager.register(hooks)
    attach(result, listener)
    identify(test, scenario, meta["control"], {})
    test.fullName += f"-{number}"
    test.historyId = test.fullName
    logger.close_test(test.uuid)
    plugin_manager.unregister(hooks)
    return time.perf_counter() - began, time.process_time() - used


class Hooks:
    """Hands attachments on to the reporter, as allure-pytest's listener does."""

    def __init__(self, logger: Any) -> None:
        from allure_commons import hookimpl
        from allure_commons.utils import uuid4

        def attach_data(body: Any, name: str, attachment_type: Any, extension: Any) -> None:
            logger.attach_data(uuid4(), body, name=name, attachment_type=attachment_type, extension=extension)

        def attach_file(source: str, name: str, attachment_type: Any, extension: Any) -> None:
            logger.attach_file(uuid4(), source, name=name, attachment_type=attachment_type, extension=extension)

        self.attach_data = hookimpl(attach_data)
        self.attach_file = hookimpl(attach_file)


def main() -> None:
    """Measure and print."""
    from allure_commons import plugin_manager
    from allure_commons.logger import AllureFileLogger

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--count", type=int, default=40)
    arguments = parser.parse_args()
    found = sorted(file.parent for file in arguments.run.glob("*/run.json"))
    folders = list(itertools.islice(itertools.cycle(found), arguments.count))
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        plugin_manager.register(AllureFileLogger(str(work / "results")))
        each = [write_result(folder, number) for number, folder in enumerate(folders)]
        wall, used = (sum(seconds) for seconds in zip(*each, strict=True))
        print(f"while the scenarios run: results, figures, attachments {wall:6.2f} s, processor {used:.2f} s")
        began = time.perf_counter()
        write_run_files(work / "results", found)
        write_page([read(folder) for folder in folders], work / "page.html", reports=work)
        print(f"HTML page and files of the run     {time.perf_counter() - began:6.2f} s")
        for major in (2, 3):
            allure = find(major, Path.cwd())
            if allure is None:
                print(f"Allure {major} is not here")
                continue
            began = time.perf_counter()
            build(Watched(allure.program, allure.version), work / "results", work / f"out{major}", work / "history")
            whole = time.perf_counter() - began
            own = Watched.seconds
            print(f"Allure {allure.version}: its own time {own:.2f} s, chaoskit's part {whole - own:.2f} s")


if __name__ == "__main__":
    main()
