"""The pages: links and names lead somewhere, every public name is documented, what a script writes is fresh."""

from __future__ import annotations

import enum
import importlib
import importlib.util
import inspect
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from blocks import ROOT
from test_imports import ROWS

import facesdk

sys.path.insert(0, str(ROOT / "tools"))
import check_links
import draw_architecture
import reference_pages
import site_pages

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = check_links.pages()
PATH = re.compile(r"(?<![\w/.-])((?:facesdk|tests|tools|benchmarks|native|models|examples|packaging)/[\w./*-]*\w\*?)")
DOTTED = re.compile(r"\b(facesdk(?:\.[A-Za-z]\w*)+)")
# What begins like a name of the package and is none: files, units of systemd, a kind of wheel.
NO_NAME = re.compile(r"\.(py|md|toml|service|cdx|json|so)$")
# The packages whose public names the reference shows one by one.
SHOWN = ("facesdk", "facesdk.vault", "facesdk.camera", "facesdk.engine", "facesdk.evaluation")
DIRECTIVE = re.compile(r"^::: ([\w.]+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert check_links.problems_of(page) == []


def test_pages_that_code_names_are_there() -> None:
    assert check_links.named_in_code() == []


def test_a_dead_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_links, "ROOT", tmp_path)
    (tmp_path / "there.md").write_text("# A heading\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md) [b](there.md#a-heading) [c](https://elsewhere.example) `[d](code.md)`\n")
    assert check_links.problems_of(page) == []
    page.write_text("[a](gone.md)\n[b](there.md#no-heading)\n[c](/there.md)\n[d](#here)\n")
    assert [line.split(":")[1] for line in check_links.problems_of(page)] == ["1", "2", "3", "4"]


@cache
def is_there(name: str) -> bool:
    """Whether a dotted name can be imported, or is an attribute of what can."""
    parts = name.split(".")
    found: object = facesdk
    for number, part in enumerate(parts[1:], 2):
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(".".join(parts[:number]))
            except ImportError:
                return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_paths_in_the_pages_are_there(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return  # it names what is gone
    text = page.read_text(encoding="utf-8")
    names = {name for name in DOTTED.findall(text) if not NO_NAME.search(name)}
    assert [name for name in sorted(names) if not is_there(name)] == []
    paths = set() if page.name == "CREDITS.md" else set(PATH.findall(text))  # those are paths in other projects
    gone = [path for path in sorted(paths) if not list(ROOT.glob(f"{path}*"))]
    assert gone == []
    assert not re.search(r"\.\./shared|/work/", text)


def public() -> list[str]:
    """The public names of the packages that are shown, without the packages' own prefixes twice."""
    names = []
    for package in SHOWN:
        module = importlib.import_module(package)
        own = getattr(module, "__all__", None) or [
            name for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == package
        ]  # fmt: skip
        names += [f"{package}.{name}" for name in own if name != "__version__"]
    return names


def test_every_public_name_is_documented() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "reference").glob("*.md")))
    shown = set(DIRECTIVE.findall(text))
    missing = []
    for name in public():
        package, _, last = name.rpartition(".")
        same = getattr(importlib.import_module(package), last)
        anywhere = [s for s in shown if s.split(".")[-1] == last and _get(s) is same]
        if not anywhere and f"`{name}`" not in text and f"| `{last}` |" not in text:
            missing.append(name)
    assert missing == []
    assert [name for name in sorted(shown) if not is_there(name)] == []


def _get(name: str) -> object:
    found: object = facesdk
    for number, part in enumerate(name.split(".")[1:], 2):
        found = getattr(found, part, None) or importlib.import_module(".".join(name.split(".")[:number]))
    return found


def test_what_the_reference_says_of_the_command_and_of_errors_is_fresh() -> None:
    assert reference_pages.stale(write=False) == [], "run python tools/reference_pages.py"


def test_the_drawing_is_fresh_and_has_the_rooms_as_the_imports_have_them() -> None:
    assert draw_architecture.OUT.read_text(encoding="utf-8") == draw_architecture.drawing()
    floors = [{name for name, _ in rooms} - {"examples"} for _, _, rooms in draw_architecture.FLOORS]
    there = {
        path.relative_to(ROOT / "facesdk").parts[0].removesuffix(".py") for path in (ROOT / "facesdk").rglob("*.py")
    }
    rows = [row & there - {"__main__", "portraits"} for row in ROWS]
    assert floors == [row for row in rows if row]


def test_the_readme_is_short_and_its_commands_are_whole() -> None:
    assert len(README.splitlines()) <= 120
    for mark, begins in (("demo", ".venv/bin/facesdk demo"), ("test", ".venv-test/bin/python -m pytest")):
        block = re.findall(rf"<!-- {mark}-command -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert len(block) == 1
        (line,) = block[0].splitlines()
        assert "apt-get install -y g++ python3-dev python3-venv" in line
        assert line.endswith(begins)
    demo = re.findall(r"<!-- demo-command -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert demo[0] in (ROOT / "docs" / "start.md").read_text(encoding="utf-8")


def test_the_readmes_figures_are_those_of_the_tables() -> None:
    tables = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("measurements.md", "contract.md"))
    rows = README.split("## Measured")[1].split("|---|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    assert len(rows) == 4
    for row in rows:
        figure = row.split("|")[2]
        for number in re.findall(r"\d[\d.,]*\d|\d", figure):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", tables), f"{number} of{figure}is in no table"


def test_the_tables_of_measurements_have_their_markers() -> None:
    text = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    for name in ("lfw", "peers", "peers-accuracy", "vault", "protection", "bench", "tracking", "startup", "boards"):
        assert text.count(f"<!-- {name}:begin -->") == text.count(f"<!-- {name}:end -->") == 1
    assert ":begin -->" not in README


def test_every_extra_is_named() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = re.findall(r"^([\w-]+) = \[", listed, re.MULTILINE)
    page = (ROOT / "docs" / "reference" / "extras.md").read_text(encoding="utf-8")
    assert len(extras) > 8
    assert [extra for extra in extras if f"`{extra}`" not in page] == []


def test_every_page_is_in_the_sites_index() -> None:
    index = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
    named = set(re.findall(r"([\w/-]+\.md)", index))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert named == there | (set(site_pages.ELSEWHERE.values()) - {"index.md"})


def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings_handlers"))):
        pytest.skip("the site is built where the extra docs is installed: pip install -e '.[docs]'")
    import subprocess

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 35
    asked = re.compile(r"<(?:script|img|iframe|source)[^>]*src=\"(?:https?:)?//|<link[^>]*href=\"(?:https?:)?//")
    assert [page.name for page in pages if asked.search(page.read_text(encoding="utf-8"))] == []
    reference = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "reference").glob("*.html"))
    missing = [n for n in facesdk.__all__ if n != "__version__" and f'id="facesdk.{n}"' not in reference]
    assert [n for n in missing if f"<code>{n}</code>" not in reference] == []


def _explained(name: str, thing: object) -> list[str]:
    """What of a callable's parameters its docstring does not explain, where there are several."""
    parameters = [p for p in inspect.signature(thing).parameters if p not in ("self", "cls")]  # type: ignore[arg-type]
    text = inspect.getdoc(thing) or f"{name} has no docstring"
    if len(parameters) < 2 or "s in KeyProvider" in text:
        return [] if inspect.getdoc(thing) else [text]
    return [f"{name}({p})" for p in parameters if not re.search(rf"^\s+{p}: ", text, re.MULTILINE)]


def test_what_a_public_name_takes_is_explained() -> None:
    """Args or Attributes of classes and of methods with more than one parameter, as editors show them."""
    missing = []
    for name in facesdk.__all__:
        thing = getattr(facesdk, name)
        if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, (Exception, enum.Enum))):
            continue
        if getattr(thing, "_is_protocol", False):
            pass
        elif name != "Features":  # which an engine makes
            missing += _explained(name, thing)
        for method, function in vars(thing).items() if inspect.isclass(thing) else ():
            if not method.startswith("_") and inspect.isfunction(function):
                wraps = method in ("wrap", "unwrap") and not getattr(thing, "_is_protocol", False)
                missing += [] if wraps else _explained(f"{name}.{method}", function)
    assert missing == []
