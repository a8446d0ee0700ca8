"""docs/reference/json.md has exactly the fields that the commands print."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from blocks import PASSPHRASE, PORTRAITS, ROOT
from camera_tools import Driver, Fake

from facesdk.camera import v4l2
from facesdk.cli import main

PAGE = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
# Beneath these every name is the reader's own: a user, a package, a number of frames.
NAMED_BY_OTHERS = {"users", "moving_to", "fnmr", "packages", "models", "runtimes"}


def fields_of(value: Any, before: str = "") -> set[str]:
    """The fields of a result, `a.b` for one within another, `a[].b` within a list, `a.NAME.b` under names of others."""
    found = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            name = "NAME" if before.removesuffix(".").split(".")[-1] in NAMED_BY_OTHERS else key
            found |= {f"{before}{name}"} | fields_of(inner, f"{before}{name}.")
    elif isinstance(value, list):
        for inner in value:
            found |= fields_of(inner, f"{before.removesuffix('.')}[].")
    return found


def documented(section: str) -> set[str]:
    """The fields in the table under this heading."""
    text = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    (part,) = [p for p in text if p.startswith(f"{section}\n")]
    rows = re.findall(r"^\| (`.+?`) \|", part, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each command prints, in the life of one template. The key lies in the kernel's keyring."""
    from facesdk import _core

    try:
        _core.keyring_put("facesdk-test-docs", b"x", 1)
    except OSError as error:
        pytest.skip(f"the kernel's keyring cannot be used here: {error.strerror}")
    _core.keyring_forget("facesdk-test-docs")
    folder = tmp_path_factory.mktemp("json")
    secret = folder / "secret"
    secret.write_text(PASSPHRASE + "\n")
    secret.chmod(0o600)
    me, stranger = (str(PORTRAITS / f"{name}.jpg") for name in ("obama_2012", "sunak"))
    photos = [str(PORTRAITS / f"obama_{year}.jpg") for year in (2005, 2009, 2012)]
    vault, words = ["--vault", str(folder / "vault")], ["--passphrase-file", str(secret)]
    recovery = ["--recovery-passphrase-file", str(secret)]
    results: dict[str, list[Any]] = {}

    def run(*command: str) -> None:
        out, sys.stdout = sys.stdout, io.StringIO()
        try:
            main([command[0], "--json", *command[1:]])
            results.setdefault(command[0], []).append(json.loads(sys.stdout.getvalue()))
        finally:
            out, sys.stdout = sys.stdout, out

    run("enroll", *vault, *words, "--yes", *photos)
    run("unlock", *vault, *words)
    run("verify", *vault, me)
    run("verify", *vault, stranger)
    run("status", *vault)
    run("list", *vault)
    run("renew", *vault, *words)
    run("unlearn", *vault, *words)
    run("rekey", *vault, *words, "--new-passphrase-file", str(secret))
    run("export", *vault, *words, *recovery, str(folder / "exported"))
    run("import", "--vault", str(folder / "other"), *words, *recovery, str(folder / "exported"))
    run("lock", *vault)
    run("status", *vault)
    run("panic", *vault)
    run("audit", *vault)
    run("show", *vault, *words)
    run("remove", *vault, "--yes")
    run("completion", "bash")
    run("models")
    redteam(folder, results, photos[2])
    with pytest.MonkeyPatch.context() as patch:
        cameras = Fake(folder / "machine")
        cameras.plug(Driver(0))
        patch.setattr(v4l2, "HERE", cameras.machine)
        run("cameras")
    results["errors"] = []
    out, sys.stdout = sys.stdout, io.StringIO()
    try:
        main(["verify", "--json", *vault, me])
        results["errors"].append(json.loads(sys.stdout.getvalue()))
    finally:
        sys.stdout = out
    return results


def redteam(folder: Path, results: dict[str, list[Any]], photo: str) -> None:
    """A test of a camera that sees one picture: at the tier that says nothing of life, it passes as everything."""
    frames, test, vault, key = (str(folder / name) for name in ("frames", "test", "redteam", "key"))
    Path(frames).mkdir()
    for number in range(10):
        shutil.copy(photo, Path(frames) / f"{number}.jpg")
    record = ["record", test, "--yes", "--camera", frames, "--view", "text", "--species"]
    user = ["--user", "owner", "--vault", vault, "--key-file", key]
    pictures = [str(PORTRAITS / f"obama_{year}.jpg") for year in (2005, 2009, 2012)]
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["enroll", "--vault", vault, "--key-file", key, "--yes", *pictures]) == 0
    for words in ([*record, "live"], [*record, "print"], ["run", test, "--liveness", "none", *user], ["report", test]):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert main(["redteam", *words, "--json"]) == 0
        results.setdefault(f"redteam {words[0]}", []).append(json.loads(said.getvalue()))


COMMANDS = [
    "enroll", "unlock", "verify", "status", "list", "renew", "unlearn", "rekey", "export", "import", "lock", "panic",
    "audit", "show", "remove", "completion", "models", "cameras",
    "redteam record", "redteam run", "redteam report", "errors",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_has_the_fields_that_the_command_prints(command: str, printed: dict[str, list[Any]]) -> None:
    section = "Errors" if command == "errors" else f"facesdk {command}"
    real = set().union(*(fields_of(result) for result in printed[command]))
    assert all(result["schema"] == 1 for result in printed[command])
    assert documented(section) | {"schema"} == real


def test_fields() -> None:
    assert fields_of({"a": {"b": 1}, "c": [{"d": 2}, {"e": 3}]}) == {"a", "a.b", "c", "c[].d", "c[].e"}
    assert fields_of({"users": {"anna": {"state": 1}}}) == {"users", "users.NAME", "users.NAME.state"}


def test_the_page_is_about_every_command() -> None:
    assert not [c for c in COMMANDS[:-1] if f"## facesdk {c}\n" not in PAGE]
    assert Path(ROOT / "docs" / "reference" / "json.md").exists()
