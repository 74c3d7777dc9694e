"""Templates: the sandbox, the seed, native types, and checking without rendering."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from chaoskit.traffic.templates import TemplateError, Templates, render

VARIABLES: dict[str, Any] = {"skus": ["a", "b", "c"], "orders": {"url": "http://shop"}, "n": 7}


def once(source: Any, *, seed: int = 1, seq: int = 0) -> Any:
    """``source`` rendered as a JSON value."""
    templates = Templates(VARIABLES)
    renderer = templates.value(source)
    templates.seed(seed, "op", "stream", seq)
    return renderer(templates.names(op="place-order", seq=seq))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ n }}", 7),
        ("{{ n | string }}", "7"),
        ("{{ n > 3 }}", True),
        ("{{ none }}", None),
        ("{{ skus }}", ["a", "b", "c"]),
        ("{{ n }} ", "7 "),
        ("{{ n }}{{ n }}", "77"),
        ("item {{ n }}", "item 7"),
        ("{%- if n %}{{ n }}{% endif %}", "7"),
        ("{{ op }}/{{ seq }}", "place-order/0"),
        ("no template", "no template"),
        (3.5, 3.5),
        ({"a": [{"b": "{{ n }}"}, None, True]}, {"a": [{"b": 7}, None, True]}),
        ({"key-{{ n }}": 1}, {"key-7": 1}),
    ],
)
def test_types_are_kept(source: Any, value: Any) -> None:
    """A string of exactly one expression keeps the expression's type; anything else is text."""
    result = once(source)
    assert result == value
    assert type(result) is type(value)


def test_same_seed_same_data() -> None:
    """All data functions repeat for the same seed and differ for another seed or number."""
    source = {
        "id": "{{ uuid() }}",
        "user": "{{ faker.user_name() }}",
        "sku": "{{ pick(skus, skew=1.2) }}",
        "quantity": "{{ randint(1, 1000000) }}",
        "random": "{{ range(1000) | list | random }}",
    }
    assert once(source) == once(source)
    assert once(source, seed=2)["id"] != once(source)["id"]
    assert once(source, seq=1)["quantity"] != once(source)["quantity"]


def test_draws_do_not_depend_on_earlier_requests() -> None:
    """Request 5 has the same data whether or not requests 0 to 4 were rendered before."""
    templates = Templates(VARIABLES)
    renderer = templates.value(["{{ uuid() }}", "{{ faker.email() }}"])
    for seq in range(6):
        templates.seed(1, "op", "stream", seq)
        last = renderer(templates.names(op="", seq=seq))
    assert last == once(["{{ uuid() }}", "{{ faker.email() }}"], seq=5)


def test_pick_is_skewed() -> None:
    """``skew`` favours the front of the list by 1/(rank+1)^skew; without it all are alike."""
    templates = Templates(VARIABLES)
    skewed, even = templates.text("{{ pick(skus, skew=2) }}"), templates.text("{{ pick(skus) }}")
    templates.seed(1)
    names = templates.names()
    counts = Counter(skewed(names) for _ in range(3000))
    # Weights 1, 1/4 and 1/9 of 49/36.
    assert counts["a"] / 3000 == pytest.approx(36 / 49, abs=0.05)
    assert counts["b"] / 3000 == pytest.approx(9 / 49, abs=0.05)
    assert min(Counter(even(names) for _ in range(3000)).values()) > 850


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ skus | attr('__class__') }}",
        "{{ uuid.__globals__ }}",
        "{{ pick.__closure__[0].cell_contents }}",
        "{{ faker._FakeData__functions }}",
        "{{ faker.name.__self__.generator }}",
        "{{ faker.seed_instance(1) }}",
        "{{ faker.factories }}",
        "{{ skus.append('d') }}",
        "{{ orders.update({'url': 'x'}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self.__init__ }}",
    ],
)
def test_sandbox_holds(escape: str) -> None:
    """Neither Python's insides nor the caller's data can be reached or changed, as text or as a value."""
    templates = Templates(VARIABLES)
    for renderer in (templates.text(escape), templates.value(escape)):
        with pytest.raises(TemplateError, match="template"):
            renderer(templates.names(op="", seq=0))
    assert VARIABLES["skus"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ orders.port }}", "no attribute 'port'"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ pick([]) }}", "empty list"),
        ("{{ faker.usr_name() }}", "did you mean"),
        ("{{ n", "end of print statement"),
        ("{{ n | nofilter }}", "nofilter"),
    ],
)
def test_errors_name_template_and_reason(source: str, reason: str) -> None:
    """Every mistake is a TemplateError that shows the template, without a traceback of Jinja2's."""
    with pytest.raises(TemplateError) as caught:
        once(source)
    assert repr(source) in str(caught.value)
    assert reason in str(caught.value)
    assert caught.value.__cause__ is None


def test_variables_may_not_hide_functions() -> None:
    """A data list named ``pick`` is refused rather than breaking templates later."""
    with pytest.raises(TemplateError, match="'pick'"):
        Templates({"pick": [1]})


def test_render() -> None:
    """The one-off form gives text, repeats for a seed, and takes ``seq`` and ``op`` from the caller."""
    text = "{{ orders.url }}/{{ seq }}?id={{ uuid() }}"
    assert render(text, {**VARIABLES, "seq": 4}).startswith("http://shop/4?id=")
    assert render(text, VARIABLES, seed=3) == render(text, VARIABLES, seed=3)
    assert render(text, VARIABLES, seed=3) != render(text, VARIABLES, seed=4)


def test_heavy_imports_wait_for_a_template() -> None:
    """Importing the module and rendering plain text load neither Jinja2 nor Faker."""
    code = (
        "import sys; from chaoskit.traffic import generator, spec, templates as t;"
        "t.render('plain', {}); assert not {'jinja2', 'faker', 'aiohttp'} & set(sys.modules);"
        "t.render('{{ 1 }}', {}); assert 'jinja2' in sys.modules and 'faker' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
