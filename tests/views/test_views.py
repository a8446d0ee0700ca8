"""Views: what is said and when, and that none of them can hold up or end what they show."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import sys
import time
from dataclasses import replace

import pytest

from facesdk.errors import AcceleratorError, InputError
from facesdk.liveness.challenge import arrow, spot
from facesdk.liveness.directions import BANDS_DEG, turn_of
from facesdk.types import Decision, Guidance, Outcome, Progress, Prompt, SessionPhase
from facesdk.views import LedView, TerminalView, TextView, open_view
from facesdk.views.leds import DIM, FAST_S, SLOW_S, pattern
from facesdk.views.terminal import COLUMNS, DOT, ROWS, field, fits
from facesdk.views.view import is_cue, sentence

RING = "leds:5,6,13,19,26,16,20,21"
STRAIGHT = Prompt("Look straight at the camera.")
NOBODY = Progress(SessionPhase.SEEK, Guidance.SHOW_FACE)
ALIGN = Progress(SessionPhase.ALIGN, Guidance.KEEP_STILL, STRAIGHT)
MATCH = Outcome(Decision.MATCH, "the face is the enrolled one", Guidance.NONE, 5000.0)
DONE = Progress(SessionPhase.DONE, done=True, fraction=1.0, outcome=MATCH)


def asked(direction: int, band: int, fraction: float = 0.25) -> Progress:
    """A direction as facesdk.liveness.directions asks for it: clockwise from the right, a little or far."""
    turn = turn_of((direction, band))
    return Progress(SessionPhase.CHALLENGE, prompt=Prompt("Turn.", *spot(turn), arrow(turn)), fraction=fraction)


def dot_at(x: float, y: float) -> Progress:
    return Progress(SessionPhase.CHALLENGE, prompt=Prompt("Follow the dot.", x, y), fraction=0.5)


def test_guidance_comes_before_the_prompt() -> None:
    assert sentence(ALIGN) == Guidance.KEEP_STILL.value
    assert sentence(asked(0, 0)) == "Turn."
    assert sentence(Progress(SessionPhase.SEEK)) == ""
    assert sentence(DONE) == "Done."
    refused = replace(DONE, outcome=replace(MATCH, decision=Decision.NOT_COMPLETED))
    assert sentence(refused) == "That was it: no match."


def test_text_has_a_line_for_each_change_and_none_for_a_frame() -> None:
    stream = io.StringIO()
    with open_view("text") as opened:
        assert opened.challenge == "directions"
    view = TextView(stream)
    for progress in [NOBODY] * 5 + [ALIGN] * 5 + [asked(0, 0)] * 5 + [asked(4, 0)] * 5 + [DONE] * 2:
        view.show(progress)
    shown = stream.getvalue().splitlines()
    assert shown == [NOBODY.guidance.value, ALIGN.guidance.value, "\u2192 Turn.", "\u2190 Turn.", "Done."]


def test_text_rings_only_when_somebody_is_to_look_up() -> None:
    stream = io.StringIO()
    view = TextView(stream, sound=True)
    for progress in [NOBODY, ALIGN, asked(0, 0), asked(2, 0), asked(2, 0), DONE, DONE]:
        view.show(progress)
    assert stream.getvalue().count("\a") == 2
    again = Progress(SessionPhase.RETURN, Guidance.TRY_AGAIN)
    assert is_cue(asked(0, 0), again)
    assert not is_cue(again, again)


def test_text_goes_without_what_the_stream_cannot_hold_and_without_a_stream_that_is_gone() -> None:
    raw = io.BytesIO()
    view = TextView(io.TextIOWrapper(raw, encoding="ascii"))
    view.show(asked(0, 0))
    assert raw.getvalue() == b"Turn.\n"
    closed = io.StringIO()
    closed.close()
    view = TextView(closed)
    view.show(ALIGN)
    assert view.closed
    view.show(DONE)


def test_the_field_has_the_dot_where_the_prompt_is() -> None:
    for x, y, row, column in ((0, 0, 0, 0), (1, 1, ROWS - 1, COLUMNS - 1), (0.5, 0.5, ROWS // 2, COLUMNS // 2)):
        lines = field(Prompt("", x, y)).splitlines()
        assert [(r, line.index(DOT)) for r, line in enumerate(lines) if DOT in line] == [(row, column)]
    assert DOT not in field(None)
    assert DOT in field(Prompt("", 7.0, -3.0)), "at the edge"


def test_a_terminal_has_the_panel_and_anything_else_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="rich (extra cli) is not installed")
    ours, theirs = pty.openpty()
    stream = os.fdopen(theirs, "w", encoding="utf-8")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    assert fits()
    with open_view("terminal") as view:
        assert isinstance(view, TerminalView)
        assert view.challenge == "dot"
        view.show(dot_at(0.1, 0.1))
        time.sleep(0.1)
        said = os.read(ours, 65536).decode()
    assert "Follow the dot." in said
    assert DOT in said
    for name, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert isinstance(open_view("terminal"), TextView), name
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(open_view("terminal"), TextView)
    os.close(ours)
    lost = TerminalView(stream)
    lost.show(dot_at(0.2, 0.2))
    assert lost.closed, "whose terminal is gone"
    with contextlib.suppress(OSError):
        stream.close()


def test_a_terminal_is_drawn_no_more_than_twenty_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="rich (extra cli) is not installed")
    monkeypatch.setenv("TERM", "xterm-256color")  # what is drawn, not what the terminal of this run can show
    now, stream = [0.0], io.StringIO()
    view = TerminalView(stream, clock=lambda: now[0])
    sizes = []
    for number in range(100):
        now[0] = number / 100
        view.show(dot_at(number / 100, 0.5))
        sizes.append(stream.tell())
    assert 15 <= sum(b > a for a, b in zip([0, *sizes], sizes, strict=False)) <= 21


@pytest.mark.parametrize("direction", range(8))
def test_a_ring_lights_the_led_that_is_meant(direction: int) -> None:
    levels = pattern(asked(direction, 0), 0.0, 8)
    assert levels.index(1.0) == (direction + 2) % 8, "number 0 is at the top, direction 0 to the right"
    assert sum(levels) == 1


def test_far_blinks_and_a_little_does_not() -> None:
    assert BANDS_DEG[0][1] < BANDS_DEG[1][0]
    for band, blinks in ((0, False), (1, True)):
        off = pattern(asked(3, band), FAST_S * 0.6, 8)
        assert any(pattern(asked(3, band), FAST_S * 0.1, 8))
        assert any(off) is not blinks


def test_a_ring_s_patterns() -> None:
    assert pattern(ALIGN, 0.0, 8) == [DIM] * 8
    assert pattern(NOBODY, 0.0, 8) == pattern(DONE, 0.0, 8) == pattern(Progress(SessionPhase.SEEK), 0, 8) == [0.0] * 8
    closer = Progress(SessionPhase.SEEK, Guidance.COME_CLOSER)
    assert (pattern(closer, 0.1, 8), pattern(closer, SLOW_S * 0.6, 8)) == ([1.0] * 8, [0.0] * 8)
    again = Progress(SessionPhase.RETURN, Guidance.TRY_AGAIN, STRAIGHT)
    assert pattern(again, FAST_S * 0.6, 8) == [0.0] * 8 != pattern(again, 0.0, 8)


def test_leds_are_driven_and_off_at_the_end() -> None:
    gpiozero = pytest.importorskip("gpiozero", reason="gpiozero (extra gpio) is not installed")
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    before, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, MockFactory(pin_class=MockPWMPin)
    try:
        with open_view(RING) as view:
            assert view.challenge == "directions"
            pins = [gpiozero.Device.pin_factory.pin(number) for number in (5, 6, 13, 19, 26, 16, 20, 21)]
            view.show(asked(0, 0))
            assert [pin.state for pin in pins] == [0, 0, 1, 0, 0, 0, 0, 0]
            with pytest.raises(AcceleratorError, match="in use"):
                LedView((5, 1, 2, 3, 4, 7, 8, 9))
            view.show(ALIGN)
            assert [round(pin.state, 2) for pin in pins] == [DIM] * 8
        assert not any(pin.state for pin in pins)
        view.show(asked(0, 0))
        assert not any(pin.state for pin in pins), "closed"
        with open_view(RING):
            pass  # the pins were given back, those of a ring that failed too
    finally:
        gpiozero.Device.pin_factory.close()
        gpiozero.Device.pin_factory = before


@pytest.mark.parametrize(
    "name", ["", "screen", "window:1", "leds", "leds:", "leds:1,2", "leds:1,1,2,3,4,5,6,7", "leds:1,,2", "leds:a;b", 5]
)
def test_what_is_no_view_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        open_view(name)


def test_leds_make_no_sound() -> None:
    with pytest.raises(InputError, match="sound"):
        open_view(RING, sound=True)


@pytest.mark.parametrize(("name", "module", "extra"), [("window", "pygame", "window"), (RING, "gpiozero", "gpio")])
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AcceleratorError, match=rf"pip install 'facesdk-unlock\[{extra}\]'"):
        open_view(name)


def test_terminal_without_rich_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(open_view("terminal"), TextView)
