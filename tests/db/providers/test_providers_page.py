"""docs/providers.md has every provider, as the code lists them. `pytest --write-pages` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from db.environment_plans import PROVIDER_NAMES
from db.providers.table import PROVIDERS, Fact, Provider


def linked(fact: Fact | None) -> str:
    return f"{fact.text} ([source]({fact.source}))" if fact else "unknown"


def part(name: str, provider: Provider) -> Iterator[str]:
    yield from (f"## {provider.title} (`{name}`)", "", "| | |", "|---|---|")
    yield f"| a restore goes | {linked(provider.restore)} |"
    yield f"| point in time | {linked(provider.pitr)} |"
    yield f"| recovery point | {linked(provider.recovery_point)} |"
    yield f"| retention | {linked(provider.retention)} |"
    yield f"| checked | {provider.checked} |"
    yield f"| read it yourself | {provider.how_to_know.replace('{instance}', 'INSTANCE')} |"
    yield f"| our own dump outside it | {f'required: {provider.own_dump}' if provider.own_dump else 'advised'} |"
    yield f"| not found on a page of the vendor's | {'; '.join(provider.unknown)} |"
    yield f"| not run | {provider.not_run} |"
    yield ""


def test_the_page_has_every_provider(pytestconfig: pytest.Config) -> None:
    path = pytestconfig.rootpath / "docs" / "providers.md"
    table = "\n".join(line for name, provider in PROVIDERS.items() for line in part(name, provider))
    page = path.read_text("utf-8")
    between = re.compile(r"(<!-- providers -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    if pytestconfig.getoption("--write-pages"):
        path.write_text(between.sub(lambda match: f"{match[1]}{table}\n{match[3]}", page), "utf-8")
        return
    match = between.search(page)
    assert match
    assert match[2] == f"{table}\n", "write it: pytest tests/db/providers/test_providers_page.py --write-pages"


def test_each_name_of_the_configuration_has_a_provider_and_each_fact_a_page() -> None:
    assert tuple(PROVIDERS) == PROVIDER_NAMES
    for provider in PROVIDERS.values():
        for fact in (provider.restore, provider.pitr, provider.recovery_point, provider.retention):
            assert fact is None or re.fullmatch(r"https://\S+", fact.source)
        assert provider.unknown
        assert provider.not_run
