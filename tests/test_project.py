"""Facts of the distribution: what pyproject.toml says, what the wheel carries, what ./dev needs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import canary_middleware

ROOT = Path(__file__).parents[1]
OPTIONAL = ("redis", "starlette", "flask", "fastapi", "opentelemetry.sdk", "google.protobuf")
BARE_IMPORT = f"""
import sys

def watch(event, arguments):
    assert event not in ("socket.__new__", "socket.connect", "_thread.start_new_thread"), event

sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
import canary_middleware
assert canary_middleware.__file__.startswith(sys.argv[1]), canary_middleware.__file__
print(sorted(sys.modules.keys() & {set(OPTIONAL)!r}))
"""
RUN_ON_WHEEL = """
import sys, canary_middleware, pytest
assert canary_middleware.__file__.startswith(sys.argv[1]), canary_middleware.__file__
sys.exit(pytest.main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be published."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, target, ROOT], check=True, capture_output=True)
    return next(target.glob("*.whl"))


def tracked() -> list[Path]:
    """Every file under version control, also where the clone belongs to somebody else."""
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    names = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).exists()]


def test_version_and_licence(project: dict[str, Any]) -> None:
    assert project["version"] == canary_middleware.__version__
    assert project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_the_base_is_small_and_shares_the_api_of_opentelemetry(project: dict[str, Any]) -> None:
    names = {re.split(r"[<>=!~;\[ ]", line)[0]: line for line in project["dependencies"]}
    assert names.keys() == {"click", "itsdangerous", "opentelemetry-api"}
    every = [line for extra in project["optional-dependencies"].values() for line in extra]
    assert not [line for line in [*names.values(), *every] if "==" in line.split(";")[0]]


def test_the_readme_is_published_and_names_every_extra(project: dict[str, Any]) -> None:
    readme = ROOT / "README.md"
    assert readme.exists() == ("readme" in project)
    text = readme.read_text() if readme.exists() else ""
    extras = project["optional-dependencies"] if text else ()
    assert [extra for extra in extras if f"`{extra}`" not in text] == []


def test_dev_says_to_an_old_python_what_it_needs() -> None:
    text = (ROOT / "dev").read_text()
    check, _, rest = text.partition("import hashlib")
    assert "sys.version_info < (3, 11)" in check
    assert "tomllib" in rest
    ast.parse(text, feature_version=(3, 7))


def test_dev_names_its_verbs_and_fails_without_one() -> None:
    dev = [sys.executable, "-W", "error", str(ROOT / "dev")]
    answer = subprocess.run(dev, check=False, capture_output=True, text=True)
    assert answer.returncode == 1
    assert "demo | test | lint | bench | faults" in answer.stderr
    assert os.access(ROOT / "dev", os.X_OK)


@pytest.mark.parametrize("place", [r"/(?:home|Users)/[a-z]\w*/", r"/root/", r"[A-Z]:\\Users"])
def test_no_file_knows_a_developers_machine(place: str) -> None:
    own = Path(__file__)
    found = [
        path.relative_to(ROOT)
        for path in tracked()
        if path != own and re.search(place.encode(), path.read_bytes())
    ]
    assert found == []


def test_the_wheel_carries_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"canary_middleware"}
    package = ROOT / "canary_middleware"
    data = {path for path in package.rglob("*") if path.suffix in (".py", ".lua", ".sql", ".typed")}
    assert {path.relative_to(ROOT).as_posix() for path in data} <= set(names)
    assert "canary_middleware/py.typed" in names


def test_the_bare_wheel_imports_without_extras_sockets_or_threads(
    wheel: Path, tmp_path: Path
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = [sys.executable, "-I", "-c", BARE_IMPORT, str(tmp_path)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (answer.stdout, answer.stderr) == ("[]\n", "")


def rooms() -> Iterator[Any]:
    """Folders of tests; the first takes the request path of both interfaces, all take minutes."""
    yield "tests/scenarios"
    tests = ROOT / "tests"
    for folder in sorted(path for path in tests.iterdir() if path.is_dir()):
        if folder.name not in ("scenarios", "faults") and any(folder.glob("test_*.py")):
            yield pytest.param(f"tests/{folder.name}", marks=pytest.mark.faults)


@pytest.mark.parametrize("tests", list(rooms()))
def test_the_tests_pass_on_the_wheel_without_the_source(
    wheel: Path, tmp_path: Path, tests: str
) -> None:
    site, clone = tmp_path / "site", tmp_path / "clone"
    zipfile.ZipFile(wheel).extractall(site)
    for path in tracked():
        name = path.relative_to(ROOT)
        if name.parts[0] != "canary_middleware":
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, clone / name)
    options = ["-q", "-m", "not faults", "-p", "no:cacheprovider", "--ignore=tests/test_project.py"]
    command = [sys.executable, "-c", RUN_ON_WHEEL, str(site), *options, tests]
    env = {**os.environ, "PYTHONPATH": str(site)}
    answer = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=clone, env=env
    )
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-2000:]
