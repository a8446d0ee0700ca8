"""Writes docs/assets/architecture.svg: the rooms of facesdk, who may import whom, and the way of a picture.

python tools/draw_architecture.py; a test holds the rooms to the packages that there are.
"""

from __future__ import annotations

from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "docs" / "assets" / "architecture.svg"
# Each floor imports from those below it: rooms (name, what it does), and their colour.
FLOORS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("programs", "#eceff1", [("cli", "the command"), ("examples", "the loop of a device")]),
    ("measuring", "#eceff1", [("evaluation", "rates, reports, times, the demo")]),
    ("", "#eceff1", [("views", "a window, a terminal, LEDs")]),
    ("composer", "#b2dfdb", [("verifier", "FaceVerifier: where capture and vault meet")]),
    ("", "#eceff1", [("sessions", "sessions of their parts")]),
    ("", "#eceff1", [("enrolling", "to the sealed template")]),
    ("", "#eceff1", [("deciding", "the paid comparison")]),
    ("", "#eceff1", [("engines", "the engine of a template")]),
    ("what binds", "#eceff1", [("status", "what holds for one user now")]),
    ("", "#eceff1", [("learning", "templates that get better")]),
    ("", "#eceff1", [("policy", "false match rate, limits, attempts")]),
    (
        "rooms",
        "#e0f2f1",
        [
            ("camera", "frames"),
            ("capture", "samples, sessions"),
            ("vault", "keys, files, log"),
            ("device", "doctor, boards"),
        ],
    ),
    ("life", "#e0f2f1", [("liveness", "challenge, relief, attention, simulator")]),
    ("engine", "#e0f2f1", [("engine", "networks, runtimes, tracking, Edge TPU")]),
    ("below", "#e0f2f1", [("images", "files and arrays as frames"), ("matching", "scores, fused")]),
    ("core", "#cfd8dc", [("_core", "C++: pipeline, kernels, locked memory, LiteRT")]),
    ("ground floor", "#eceff1", [("types", ""), ("errors", ""), ("digest", "")]),
    ("", "#eceff1", [("environment", ""), ("lazy", ""), ("log", ""), ("version", "")]),
]
WIDTH, LEFT, HEIGHT, GAP = 900, 130, 46, 18
STEPS = [
    "1  a frame comes from a camera, a file or an array",
    "2  engine: find the face, align it; capture: is it good enough? engine: features",
    "3  vault: pay for the attempt, before anything is compared",
    "4  matching: compare with this one template, at the threshold",
    "5  vault: settle the attempt, write the audit log",
    "6  verifier: an Outcome; only a match is true",
]


def text(
    x: float, y: float, words: str, size: int, *, bold: bool = False, anchor: str = "middle", fill: str = "#263238"
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{weight}>{words}</text>'


def drawing() -> str:
    """The SVG."""
    parts, y = [], 20.0
    for number, (floor, colour, rooms) in enumerate(FLOORS):
        parts.append(text(LEFT - 16, y + HEIGHT / 2 + 5, floor, 14, anchor="end", fill="#607d8b"))
        room = (WIDTH - LEFT - 20 - GAP * (len(rooms) - 1) / 2) / len(rooms)
        for i, (name, does) in enumerate(rooms):
            x = LEFT + i * (room + GAP / 2)
            box = f'x="{x:g}" y="{y:g}" width="{room:g}" height="{HEIGHT}" rx="6"'
            parts.append(f'<rect {box} fill="{colour}" stroke="#78909c"/>')
            parts.append(text(x + room / 2, y + (20 if does else HEIGHT / 2 + 5), name, 15, bold=True))
            if does:
                parts.append(text(x + room / 2, y + 37, does, 13))
        if number < len(FLOORS) - 1:
            middle = (LEFT + WIDTH - 20) / 2
            way = f"M{middle:g} {y + HEIGHT + 3:g}v{GAP - 8}"
            parts.append(f'<path d="{way}" stroke="#607d8b" stroke-width="2" marker-end="url(#to)"/>')
        y += HEIGHT + GAP
    y += 12
    parts.append(text(LEFT, y, "The way of a verification", 16, bold=True, anchor="start"))
    for i, step in enumerate(STEPS):
        parts.append(text(LEFT, y + 26 + 22 * i, step, 14, anchor="start"))
    height = y + 26 + 22 * len(STEPS)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"',
        ' font-family="system-ui, sans-serif" role="img">',
        "<title>The rooms of facesdk: each floor imports only from those below it</title>",
        '<defs><marker id="to" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#607d8b"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:g}" fill="#fff"/>', *parts, "</svg>", "",
    ])  # fmt: skip


if __name__ == "__main__":
    OUT.write_text(drawing(), encoding="utf-8")
