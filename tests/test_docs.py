"""The documentation is part of the product: what it says must be so."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app
from service.log import metadata
from service.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]}


def test_every_setting_stands_in_the_table_with_its_default_and_meaning():
    rows = dict(re.findall(r"^\| `(PRICEBANDIT_\w+)` \| (.*) \|$", README, re.M))
    fields = {f"PRICEBANDIT_{name.upper()}": f for name, f in Settings.model_fields.items()}
    assert rows.keys() == fields.keys()
    for name, field in fields.items():
        default = field.default
        value = f"{default:g}" if isinstance(default, float) else str(default)
        # not as code: whoever sets it to that has set it, an API key among them
        shown = "unset" if default in (None, ()) else f"`{value}`"
        assert rows[name] == f"{shown} | {field.description}", name


def test_every_command_is_in_the_readme_or_its_docs():
    pages = "\n".join(PAGES.values())
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"pricebandit {name}" in pages, name


def test_commands_in_the_documentation_exist():
    known = {c.name or c.callback.__name__ for c in app.registered_commands}
    shown = set(re.findall(r"^(?:\.venv/bin/)?pricebandit (\w+)", "\n".join(PAGES.values()), re.M))
    assert shown
    assert shown <= known
    for name in shown:
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_make_targets_in_the_readme_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    shown = re.findall(r"^make (\w+)", README, re.M)
    assert {"demo", "test", "serve"} <= set(shown)
    assert set(shown) <= set(targets)


def test_every_table_of_the_log_is_described():
    page = PAGES[ROOT / "docs" / "http.md"]
    for table in metadata.tables:
        assert f"`{table}`" in page, table


def test_every_call_has_a_description(tmp_path):
    paths = create_app(Settings(home=tmp_path)).openapi()["paths"]
    assert len(paths) >= 9
    for path, calls in paths.items():
        for method, call in calls.items():
            assert call["description"], f"{method} {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", PAGES[page])
    for link in links:
        assert (page.parent / link).exists(), link
