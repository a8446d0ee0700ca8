"""Every Python and shell block of the README and the guides runs, in the order of its page, with photos of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from blocks import PAGES, ROOT, Block, Place, blocks_of, check_output, commands_of, pattern_of

RUN = {"python", "sh", "bash", "console"}
SKIPPED = [block for page in PAGES for block in blocks_of(page) if block.language in RUN and block.why_not]


def run(block: Block, place: Place, before: str) -> None:
    """Runs one block; AssertionError with what it said where it ends otherwise than the page says."""
    codes = [int(code) for code in " ".join(block.told("exit codes")).split()]
    if block.language == "console":
        commands = commands_of(block.tested)
        for (command, shown), expected in zip(commands, codes or [0] * len(commands), strict=True):
            code, said = place.shell(command)
            assert code == expected, f"{block.where}: {command}: exit code {code}\n{said}"
            check_output(shown, said)
        return
    code, said = place.python(before + block.tested) if block.language == "python" else place.shell(block.tested)
    assert code == (codes or [0])[0], f"{block.where}: exit code {code}\n{said}"
    for line in block.told("says"):
        check_output([line, "..."], said)


@pytest.mark.usefixtures("keyring")
@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    if not any(block.language in RUN and not block.why_not for block in blocks):
        return
    place, before = Place(tmp_path), ""
    try:
        for block in blocks:
            for name in block.told("saved as"):
                (place.work / name).parent.mkdir(parents=True, exist_ok=True)
                (place.work / name).write_text(block.tested, encoding="utf-8")
            for command in block.told("then"):
                code, said = place.shell(command)
                assert code == 0, f"{block.where}: {command}: exit code {code}\n{said}"
            if block.language not in RUN or block.why_not or block.told("saved as"):
                continue
            run(block, place, before if "continues" in block.notes else "")
            if block.language == "python":
                before = (before if "continues" in block.notes else "") + block.tested + "\n"
    finally:
        place.shell("facesdk panic >/dev/null 2>&1 || true")


@pytest.mark.parametrize("block", SKIPPED, ids=lambda block: block.where)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert len(block.why_not or "") > 10
    pytest.skip(f"{block.where}: {block.why_not}")


def test_a_block_that_breaks_is_noticed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for language, code in (
        ("python", "from facesdk import Nobody"),
        ("sh", "facesdk nonsense\ntrue"),
        ("console", "$ false"),
    ):
        with pytest.raises(AssertionError):
            run(Block("page", 1, language, code, ()), place, "")
    for language, code in (
        ("python", "from facesdk import FaceVerifier"),
        ("sh", "true"),
        ("console", "$ echo a 1\na 2"),
    ):
        run(Block("page", 1, language, code, ()), place, "")
    with pytest.raises(AssertionError):
        run(Block("page", 1, "console", "$ echo b\na", ()), place, "")


def test_numbers_may_differ_and_words_may_not() -> None:
    assert pattern_of("match (152 ms)") != pattern_of("non_match (152 ms)")
    check_output(["match: it is (152 ms)", "..."], "match: it is (9.5 ms)\nmore\n")
    with pytest.raises(AssertionError):
        check_output(["match: it is (152 ms)"], "match: it is (9.5 ms)\nmore\n")
