"""What builds and guards the package: compiling what changed, the SBOM, the audit, files that must not be committed."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "setup.py").is_file())
sys.path.insert(0, str(ROOT / "tools"))
check_files = pytest.importorskip("check_files")
import incremental  # noqa: E402
import sbom  # noqa: E402


class Compiler:
    """Stands in for a compiler: its object is the source, and it writes what it read into the dependency file."""

    def __init__(self, folder, headers):
        self.folder, self.headers, self.compiled = folder, headers, 0

    def __call__(self, obj, src, ext, cc_args, postargs, pp_opts):
        self.compiled += 1
        Path(obj).write_bytes(Path(src).read_bytes())
        names = " \\\n ".join(str(name).replace(" ", "\\ ") for name in (src, *self.headers))
        Path(postargs[-1]).write_text(f"{obj}: {names}\n")


@pytest.fixture
def build(tmp_path):
    """Compiles tmp_path/a.cpp, which reads a header in a folder with a blank; returns how often it was compiled."""
    (tmp_path / "with blank").mkdir()
    header = tmp_path / "with blank" / "a.h"
    for path in (tmp_path / "a.cpp", header):
        path.write_text("1")
        os.utime(path, (1, 1))
    compiler = Compiler(tmp_path, [header])

    def run(*flags, version="g++ 12", folder="/include"):
        incremental.digest.cache_clear()
        only = incremental.ChangedOnly(compiler, compiler=version, folders={folder: "{pybind11}"})
        only(str(tmp_path / "a.o"), str(tmp_path / "a.cpp"), ".cpp", [f"-I{folder}", "-c"], list(flags), [])
        return compiler.compiled

    run.header, run.source, run.object = header, tmp_path / "a.cpp", tmp_path / "a.o"
    return run


def test_compiles_once_and_not_again(build):
    assert build() == 1
    os.utime(build.header)
    assert build() == 1


@pytest.mark.parametrize("what", ["header", "source"])
def test_compiles_again_when_a_file_that_it_read_changes(build, what):
    build()
    path = getattr(build, what)
    path.write_text("2")
    os.utime(path, (1, 1))
    assert build() == 2


@pytest.mark.parametrize("what", ["header", "object"])
def test_compiles_again_when_a_file_is_gone(build, what):
    build()
    getattr(build, what).unlink()
    if what == "header":
        with pytest.raises(FileNotFoundError):
            build()
    else:
        assert build() == 2


def test_compiles_again_when_flags_or_the_compiler_change(build, monkeypatch):
    assert [build("-O2"), build("-O3"), build("-O3"), build("-O3", version="g++ 13")] == [1, 2, 2, 3]
    monkeypatch.setenv("CPATH", "/elsewhere")
    assert build("-O3", version="g++ 13") == 4


def test_another_place_of_the_same_headers_is_no_change(build):
    assert [build(), build(folder="/elsewhere/pip-build-env-x/include")] == [1, 1]


def test_a_file_written_while_it_was_compiled_is_compiled_again(build):
    os.utime(build.header, (time.time() + 60, time.time() + 60))
    assert [build(), build()] == [1, 2]


@pytest.mark.parametrize(
    ("says", "is_"),
    [
        ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc@12.2.0"),
        ("g++ (GCC) 14.2.1 20240912 (Red Hat 14.2.1-3)", "gcc@14.2.1"),
        ("Debian clang version 14.0.6", "clang@14.0.6"),
        ("cc", "gcc@unknown"),
    ],
)
def test_the_sbom_names_the_compiler(says, is_):
    assert sbom.compiler_component(says)["bom-ref"] == is_


@pytest.fixture
def dist_info(tmp_path):
    """A wheel about to be packed, with one model and one portrait."""
    models, portraits, folder = tmp_path / sbom.MODELS, tmp_path / sbom.PORTRAITS, tmp_path / "x-1.dist-info"
    for made in (models, portraits, folder):
        made.mkdir(parents=True)
    (models / "a.tflite").write_bytes(b"model")
    digest = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"
    (models / "manifest.toml").write_text(
        f'[models.a]\nfile = "a.tflite"\nsize = 5\nsha256 = "{digest}"\nversion = "1"\ndescription = "d"\n'
        'licence = "MIT"\norigin = "o"\norigin_sha256 = "00"\n'
    )
    (portraits / "p.jpg").write_bytes(b"portrait")
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: x\nVersion: 1\nSummary: s\nLicense-Expression: MIT\nRequires-Python: >=3.10\n"
        'Requires-Dist: numpy>=1\nRequires-Dist: rich; extra == "eval"\n'
    )
    return folder


def test_the_sbom_is_the_same_bytes_and_lists_what_is_in_the_wheel(dist_info, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    documents = [sbom.make_sbom(dist_info, compiler="g++ 12.2.0", pybind11="3.0") for _ in range(2)]
    assert json.dumps(documents[0]) == json.dumps(documents[1])
    assert "timestamp" not in documents[0]["metadata"]
    names = {component["name"]: component.get("scope") for component in documents[0]["components"]}
    assert names == {"pybind11": None, "gcc": None, "a": None, "p.jpg": None, "numpy": "required", "rich": "optional"}


@pytest.mark.parametrize("change", [{"a.tflite": b"other"}, {"b.tflite": b"unlisted"}])
def test_no_sbom_where_a_model_is_not_the_manifests(dist_info, change):
    for name, data in change.items():
        (dist_info.parent / sbom.MODELS / name).write_bytes(data)
    with pytest.raises(ValueError, match="manifest"):
        sbom.write(dist_info, compiler="g++ 12.2.0", pybind11="3.0")


@pytest.mark.parametrize("kind", ["OPENSSH ", "RSA ", "EC ", ""])
def test_a_private_key_is_found(tmp_path, kind, capsys):
    key = tmp_path / "key"
    key.write_text(f"-----BEGIN {kind}PRIVATE " + "KEY-----\n")
    assert check_files.main([str(key)]) == 1
    key.write_text(f"-----BEGIN {kind}PUBLIC KEY-----\n")
    assert check_files.main([str(key)]) == 0


def test_the_repository_has_no_keys_and_no_large_files(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert check_files.main([]) == 0
