"""Answers a second by revision over time, with the commands marked: a drawing (SVG) written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks.recording.record import SLICE_S, Recording

WIDTH, HEIGHT = 1000, 424
LEFT, RIGHT, TOP, BOTTOM = 56, 40, 132, 76
"""Around the plot, for axes and marks."""
COLOURS = ("#4a6fa5", "#2e8b57", "#c9822b", "#7d5ba6", "#3a9ca8", "#8a8f2a", "#5b7083", "#c06c9e", "#6b4f3a", "#b0a08c")
"""Of the revisions, in order; they begin anew where there are more."""
STYLE = (
    'text { font: 12px ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1d2733; } '
    ".axis { stroke: #4b5866; } .grid { stroke: #e3e8ee; } .mark { stroke: #1d2733; stroke-dasharray: 2 3; } "
    ".took { fill: #1d2733; opacity: 0.08; } .lost { fill: #c81e1e; } .small { font-size: 11px; fill: #4b5866; }"
)


def draw(recording: Recording) -> str:
    """The whole picture."""
    drawing = _Drawing(recording)
    words = "Answers a second by revision over time, with the commands marked by their numbers"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">',
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *drawing.axes(),
            *drawing.bars(),
            *drawing.marks(),
            *drawing.legend(),
            "</svg>",
            "",
        ]
    )


class _Drawing:
    """Where seconds and answers lie in the picture."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._counts = list(zip(*recording.slices.values(), strict=True))
        self._most = _round_up(max(map(sum, self._counts)) / SLICE_S)

    def x(self, at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at_s / self._recording.lasted_s

    def y(self, per_s: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * per_s / self._most

    def axes(self) -> Iterator[str]:
        ground = self.y(0)
        for quarter in range(5):
            level = self._most * quarter / 4
            yield f'<path class="grid" d="M{LEFT},{self.y(level):.1f} H{WIDTH - RIGHT}"/>'
            yield _text(LEFT - 6, self.y(level) + 4, f"{level:.0f}", "end", "small")
        step = next(step for step in (5, 10, 20, 30, 60, 120) if self._recording.lasted_s / step <= 16)
        for at_s in range(0, int(self._recording.lasted_s) + 1, step):
            yield f'<path class="axis" d="M{self.x(at_s):.1f},{ground} v5"/>'
            yield _text(self.x(at_s), ground + 18, f"{at_s} s", "middle", "small")
        yield f'<path class="axis" d="M{LEFT},{ground} H{WIDTH - RIGHT}"/>'
        yield _text(LEFT, 16, "answers a second, by the revision that answered", "start", "")

    def bars(self) -> Iterator[str]:
        """One path for each revision, stacked slice by slice; failed requests that nobody answered are red."""
        width = self.x(SLICE_S) - self.x(0)
        below = [0.0] * len(self._counts)
        for key, counts in self._recording.slices.items():
            path = []
            for number, count in enumerate(counts):
                if count:
                    bottom, top = self.y(below[number]), self.y(below[number] + count / SLICE_S)
                    path.append(f"M{self.x(number * SLICE_S):.2f},{bottom:.1f} h{width:.2f} V{top:.1f} h-{width:.2f} z")
                    below[number] += count / SLICE_S
            yield f'<path fill="{self._colour(key)}" d="{" ".join(path)}"/>'

    def marks(self) -> Iterator[str]:
        """A line where each command starts, a shade for as long as it takes, and its number in the page."""
        typed = [typed for act in self._recording.acts for typed in act.typed]
        for number, one in enumerate(typed, 1):
            at = self.x(one.began_s)
            width = self.x(one.began_s + one.took_s) - at
            yield (
                f'<rect class="took" x="{at:.1f}" y="{TOP}" width="{width:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
                f'<path class="mark" d="M{at:.1f},{HEIGHT - BOTTOM} V{TOP - 4}"/>'
                f'<g transform="translate({at + 3:.1f} {TOP - 8}) rotate(-48)">'
                f"{_text(0, 0, f'{number} {_name(one.command)}', 'start', 'small')}</g>"
            )

    def legend(self) -> Iterator[str]:
        """Colours and failures, below the plot, in columns."""
        versions = {str(found.revision): found.version for found in self._recording.whole}
        for number, key in enumerate(self._recording.slices):
            left, top = LEFT + 132 * (number % 7), HEIGHT - 38 + 18 * (number // 7)
            words = "no answer" if key == "-" else f"revision {key}: {versions[key]}"
            yield f'<rect x="{left}" y="{top - 10}" width="11" height="11" fill="{self._colour(key)}"/>'
            yield _text(left + 16, top, words, "start", "")

    def _colour(self, key: str) -> str:
        return "#c81e1e" if key == "-" else COLOURS[(int(key) - 1) % len(COLOURS)]


def _text(x: float, y: float, words: str, anchor: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def _name(command: str) -> str:
    """A command in one or two words."""
    words = command.removeprefix("hyperion ").split()[:2]
    return " ".join(word for word in words if word not in {"model", "current_model"})


def _round_up(value: float) -> int:
    """To the next multiple of 100."""
    return -int(-value // 100) * 100
