"""Functions as failpoints by name, in modules that are imported later, just now, or again."""

from __future__ import annotations

import importlib
import sys
import threading
import types
from pathlib import Path

import pytest

from chaoskit.failpoints import Panic, disable, enable
from chaoskit.failpoints.client import FailpointClient, FailpointError


def test_a_module_that_is_imported_later(folder: Path, by_name: None, api: FailpointClient) -> None:
    """The failpoint waits for the import, which itself is unchanged; the watch ends with it."""
    (folder / "fp_later").mkdir()
    (folder / "fp_later" / "__init__.py").write_text("")
    (folder / "fp_later" / "inner.py").write_text("def f(): return 1\nassert __loader__ is __spec__.loader\n")
    finders = list(sys.meta_path)
    api.put("fp_later.inner:f", "panic")
    assert api.count("fp_later.inner:f") == 0
    inner = importlib.import_module("fp_later.inner")
    assert type(inner.__loader__).__name__ == "SourceFileLoader"
    assert sys.meta_path == finders
    with pytest.raises(Panic):
        inner.f()
    assert api.count("fp_later.inner:f") == 1
    api.delete("fp_later.inner:f")
    assert inner.f() == 1


def test_lifted_before_the_import(folder: Path, by_name: None) -> None:
    """Nothing is watched any more, and the function is left alone."""
    (folder / "fp_lifted.py").write_text("def f(): return 1\n")
    finders = list(sys.meta_path)
    enable("fp_lifted:f", "panic")
    assert sys.meta_path != finders
    disable("fp_lifted:f")
    assert sys.meta_path == finders
    assert importlib.import_module("fp_lifted").f() == 1


def test_missing_once_imported(
    folder: Path, by_name: None, api: FailpointClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """What turns out to be missing is said on standard error and by the API."""
    (folder / "fp_without.py").write_text("def f(): return 1\n")
    api.put("fp_without:g", "panic")
    importlib.import_module("fp_without")
    assert "fp_without has no attribute 'g'" in capsys.readouterr().err
    for ask in (api.get, api.count):
        with pytest.raises(FailpointError, match=r"404 .*fp_without has no attribute 'g'"):
            ask("fp_without:g")
    api.delete("fp_without:g")


def test_an_import_that_fails_and_is_tried_again(folder: Path, by_name: None) -> None:
    """The failpoint goes on waiting."""
    (folder / "fp_flaky.py").write_text("import os\nif 'FP_FLAKY' not in os.environ: 1 / 0\ndef f(): return 1\n")
    enable("fp_flaky:f", "return(2)")
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("fp_flaky")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FP_FLAKY", "1")
        assert importlib.import_module("fp_flaky").f() == 2


def test_a_module_that_is_just_being_imported(folder: Path, by_name: None) -> None:
    """Setting a function waits until the other thread's import has defined it."""
    (folder / "fp_slow.py").write_text("import fp_gate\nfp_gate.inside.set()\nfp_gate.go.wait(10)\ndef f(): return 1\n")
    gate = types.ModuleType("fp_gate")
    inside, go = threading.Event(), threading.Event()
    vars(gate).update(inside=inside, go=go, __file__=str(folder / "fp_gate.py"))
    sys.modules["fp_gate"] = gate
    importing = threading.Thread(target=importlib.import_module, args=("fp_slow",))
    importing.start()
    assert inside.wait(10)
    setting = threading.Thread(target=enable, args=("fp_slow:f", "return(2)"))
    setting.start()
    go.set()
    importing.join(10)
    setting.join(10)
    assert sys.modules["fp_slow"].f() == 2


def test_a_reloaded_module(shop: types.ModuleType, folder: Path) -> None:
    """Set again after a reload, the failpoint meets the new function, and the old one is itself again."""
    old = shop.charge
    code = old.__code__
    enable("fp_shop:charge", "return(1)")
    importlib.reload(shop)
    assert shop.charge is not old
    enable("fp_shop:charge", "return(2)")
    assert shop.charge(0) == 2
    assert old.__code__ is code
