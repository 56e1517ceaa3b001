"""House rules on the repository: what it must hold, what it must never say, docs that keep up."""

import ast
import importlib
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from oncoseg import registry
from oncoseg.__main__ import parser

REPO = Path(__file__).parents[2]
COMMANDS = parser()[1]
TEXT = {
    ".py",
    ".md",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
    ".cff",
    ".cfg",
    ".json",
    ".html",
    ".css",
    "",
}


def tracked():
    """Text files of the repository: those git knows, or all in a copy without git."""
    found = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        check=False,
    )
    names = found.stdout.decode().split("\0") if found.returncode == 0 else []
    paths = [REPO / name for name in names if name]
    return [path for path in paths if path.suffix in TEXT and path.is_file()]


def test_no_path_of_one_machine_is_written_down():
    places = re.compile(r"(?<![\w.~-])/(?:work|opt|root|home/\w+|Users/\w+|mnt/\w+)/")
    for path in tracked():
        text = path.read_text(encoding="utf-8")
        found = [] if path == Path(__file__) else places.findall(text)
        assert not found, f"{path.relative_to(REPO)} names {found[0]}"


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"),
        *("Makefile", ".ci/run", ".pre-commit-config.yaml", "constraints.txt", "pyproject.toml"),
        *("src/oncoseg/py.typed", "docs/evidence.md", "docs/systems.md"),
    ],
)
def test_the_repository_holds(name):
    assert (REPO / name).exists()


@pytest.mark.parametrize("name", ["models/a.onco", "report/a.css", "recipes/a.toml", "demo/a.py"])
def test_wheels_leave_nothing_of_the_package_out(name):
    """The build takes every file of the package that git does not ignore."""
    words = ["git", "check-ignore", "--quiet", f"src/oncoseg/{name}"]
    if not (REPO / ".git").exists():
        pytest.skip("needs a git checkout")
    assert subprocess.run(words, cwd=REPO, check=False).returncode == 1


def test_both_commands_are_at_the_top_of_the_readme():
    head = "\n".join((REPO / "README.md").read_text(encoding="utf-8").splitlines()[:30])
    for words in ("make demo", "make test", "pip install", "esearch use only"):
        assert words in head


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_and_a_line_in_the_readme(command):
    page = REPO / "docs" / "path" / f"{command}.md"
    assert page.exists(), f"docs/path/{command}.md is missing"
    assert f"oncoseg {command}" in page.read_text(encoding="utf-8")
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert f"docs/path/{command}.md" in readme


def test_every_page_is_of_a_command_or_a_verb():
    verbs = {path.stem for path in (REPO / "docs" / "path").glob("*.md")}
    modules = {path.stem for path in registry.HERE.iterdir()}
    assert verbs <= set(COMMANDS) | modules


def test_links_between_pages_lead_somewhere():
    for path in [*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(REPO)} links to {target}"


def test_the_page_of_systems_is_up_to_date():
    script = REPO / "docs" / "systems.py"
    spec = importlib.util.spec_from_file_location("systems", script)
    systems = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(systems)
    page = systems.PAGE.read_text(encoding="utf-8")
    assert page == systems.page(), "run: make docs"


def test_the_version_is_one_everywhere():
    import oncoseg

    assert f"version: {oncoseg.__version__}" in (REPO / "CITATION.cff").read_text(encoding="utf-8")
    assert f"[{oncoseg.__version__}]" in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [path for folder in ("models", "benchmarks") for path in sorted((REPO / folder).rglob("*.py"))],
    ids=lambda path: path.stem,
)
def test_scripts_import_what_there_is(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("oncoseg"):
            continue
        module = importlib.import_module(node.module)
        for alias in node.names:
            there = hasattr(module, alias.name) or importlib.util.find_spec(
                f"{node.module}.{alias.name}"
            )
            assert there, f"{path.name} imports {alias.name} from {node.module}, which has none"
