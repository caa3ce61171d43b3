"""The package that `sam build` makes: what is in it, that Lambda can load it, and that it starts fast."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from tests.template.document import API_FUNCTION, ROOT

pytestmark = [pytest.mark.sam, pytest.mark.slow]

MEGABYTE = 1_000_000
# What the C and C++ libraries of Amazon Linux 2023, on which Lambda's python3.13 runs, define at most.
AMAZON_LINUX_2023 = {"GLIBC": (2, 34), "GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13)}
SYMBOL_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI)_([0-9.]+)")
DISTRIBUTIONS = ("ai-edge-litert", "aws-lambda-powertools", "jmespath", "numpy", "pillow", "typing-extensions")
# sys.path holds the package and nothing else but the standard library.
IMPORT_HANDLER = """
import sys
sys.path[:0] = [sys.argv[1]]
sys.dont_write_bytecode = True
import classifier.api, classifier.app, numpy, PIL._imaging
from importlib.metadata import version
from ai_edge_litert.interpreter import Interpreter
for module in (classifier.api, classifier.app, numpy, PIL._imaging, sys.modules["ai_edge_litert.interpreter"]):
    assert module.__file__.startswith(sys.argv[1]), module
assert callable(classifier.app.handler) and callable(classifier.api.handler)
print(version("ai-edge-litert"))
"""


def shared_objects(package: Path) -> list[Path]:
    return [path for path in package.rglob("*.so*") if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"]


def needed_versions(path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The versions of C and C++ symbols that a shared object asks of the system, such as ``("GLIBC", (2, 27))``."""
    with path.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if isinstance(section, GNUVerNeedSection):
                for _, versions in section.iter_versions():
                    for version in versions:
                        if found := SYMBOL_VERSION.fullmatch(version.name):
                            yield found[1], tuple(map(int, found[2].split(".")))


@pytest.fixture(scope="module")
def python313() -> str:
    """A Python 3.13 that runs; pyenv's shims do not all."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, shutil.which("python3.13"), *map(str, sorted(pyenv.glob("3.13*/bin/python3.13")))]
    for candidate in filter(None, candidates):
        check = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
        if subprocess.run([candidate, "-c", check], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip("no working Python 3.13 on this machine")


def test_it_is_small(package: Path) -> None:
    size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    assert size < 150 * MEGABYTE, f"{size / MEGABYTE:.0f} MB"


def test_it_holds_the_function_and_no_more_than_it_needs(package: Path) -> None:
    for module in (ROOT / "functions" / "classifier").glob("*.py"):
        assert (package / "classifier" / module.name).read_bytes() == module.read_bytes()
    for file in (ROOT / "functions" / "classifier" / "static").iterdir():
        assert (package / "classifier" / "static" / file.name).read_bytes() == file.read_bytes()
    top = {path.name.split("-")[0].split(".")[0].lower() for path in package.iterdir()}
    assert top == {
        *("classifier", "ai_edge_litert", "aws_lambda_powertools", "jmespath", "numpy", "pil", "pillow"),
        *("typing_extensions", "__pycache__"),
    }
    for unwanted in ("tensorflow", "keras", "boto3", "botocore"):
        assert not list(package.rglob(f"{unwanted}*")), unwanted
    assert not list(package.rglob("libLiteRtWebGpuAccelerator*"))
    assert not [path for path in package.rglob("tests") if path.is_dir()]


def test_the_api_is_the_same_package(package: Path) -> None:
    """So that it is uploaded once, and one build is what was tested."""
    api = package.with_name(API_FUNCTION)
    files = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    assert files == {path.relative_to(api) for path in api.rglob("*") if path.is_file()}
    for path in files:
        assert (api / path).read_bytes() == (package / path).read_bytes(), path


def test_versions_can_be_asked_for(package: Path) -> None:
    names = {
        path.name.split("-")[0].replace("_", "-")
        for path in package.glob("*.dist-info")
        if (path / "METADATA").is_file()
    }
    assert names == set(DISTRIBUTIONS)


def test_every_shared_object_loads_on_amazon_linux_2023(package: Path) -> None:
    objects = shared_objects(package)
    assert len(objects) > 20
    too_new = [
        f"{path.relative_to(package)} needs {library}_{'.'.join(map(str, version))}"
        for path in objects
        for library, version in needed_versions(path)
        if version > AMAZON_LINUX_2023[library]
    ]
    assert not too_new


def test_symbol_versions_are_really_read(package: Path) -> None:
    """LiteRT is C++ on glibc: finding no version of either would mean that nothing was read."""
    needed = {library for path in (package / "ai_edge_litert").glob("*.so") for library, _ in needed_versions(path)}
    assert needed == {"GLIBC", "GLIBCXX", "CXXABI"}


def test_every_shared_object_is_for_x86_64(package: Path) -> None:
    for path in shared_objects(package):
        with path.open("rb") as file:
            assert ELFFile(file)["e_machine"] == "EM_X86_64", path


def test_every_module_is_compiled_for_python_3_13(package: Path, python313: str) -> None:
    magic = subprocess.run(
        [python313, "-c", "import importlib.util as u, sys; sys.stdout.buffer.write(u.MAGIC_NUMBER)"],
        capture_output=True,
        check=True,
    ).stdout
    modules = list(package.rglob("*.py"))
    assert modules
    for module in modules:
        compiled = Path(importlib.util.cache_from_source(str(module))).with_name(f"{module.stem}.cpython-313.pyc")
        header = compiled.read_bytes()[:8]
        # Flags 1: checked by hash, and not checked at all (PEP 552): no look at the source's time stamp.
        assert header == magic + b"\x01\x00\x00\x00", compiled
    assert b"/var/task/classifier/app.py" in (package / "classifier/__pycache__/app.cpython-313.pyc").read_bytes()


def test_the_handler_imports_with_the_package_alone(package: Path, python313: str) -> None:
    environment = {"PATH": "/usr/bin:/bin"}
    # Without settings the handler says so in its log and tries again with the first event.
    done = subprocess.run(
        [python313, "-I", "-S", "-c", IMPORT_HANDLER, str(package)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2.3.0"


def test_without_python_3_13_the_build_warns_and_goes_on(sam_environment: Mapping[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "--makefile", str(ROOT / "functions" / "Makefile"), "compile", "PYTHON313=", "--assume-old=prune"],
        cwd=ROOT / "functions",
        env={**sam_environment, "ARTIFACTS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # stdout is what sam build shows of a build that succeeds.
    assert "WARNING: no working python3.13" in done.stdout
