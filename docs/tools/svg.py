"""A few shapes of SVG, coloured by the page they stand in (static/pictures.css), or by themselves."""

from collections.abc import Sequence
from html import escape

OWN_STYLE = """<style>
text { font: 13px "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #24292f; text-anchor: middle }
text.note { font-size: 12px; fill: #57606a }
.bar, .dot { fill: #0969da } .other { fill: #afb8c1 }
.axis { fill: none; stroke: #57606a } .curve { fill: none; stroke: #0969da; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } text.note { fill: #9198a1 }
.bar, .dot { fill: #4493f8 } .other { fill: #656c76 }
.axis { stroke: #9198a1 } .curve { stroke: #4493f8 } }
</style>"""
"""Colours of a file that stands alone, light or dark as its reader has it."""


class Drawing:
    """Boxes, lines and words in a field of `width` x `height` pixels; `alone` brings its colours along."""

    def __init__(self, width: int, height: int, title: str, *, alone: bool = False) -> None:
        self.parts = [
            f'<svg class="drawing" role="img" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">',
            f"<title>{escape(title)}</title>",
            *([OWN_STYLE] if alone else []),
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path class="head" d="M0 0 10 5 0 10z"/></marker></defs>',
        ]

    def box(self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "box") -> None:
        """A box around lines of text."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>')
        top = y + height / 2 + 4.5 - 8 * (len(lines) - 1)
        for n, line in enumerate(lines):
            self.words(x + width / 2, top + 16 * n, line)

    def words(self, x: float, y: float, text: str, *, note: bool = False, anchor: str = "middle") -> None:
        """A line of text; `note` makes it smaller and paler."""
        attributes = f'x="{x}" y="{y}"'
        if note:
            attributes += ' class="note"'
        if anchor != "middle":
            attributes += f' style="text-anchor:{anchor}"'
        self.parts.append(f"<text {attributes}>{escape(text)}</text>")

    def line(self, *points: tuple[float, float]) -> None:
        """An arrow through the points."""
        self.parts.append(f'<path class="line" d="M{" L".join(f"{x} {y}" for x, y in points)}"/>')

    def curve(self, points: Sequence[tuple[float, float]]) -> None:
        """A line through the points, with a dot at each."""
        self.parts.append(f'<path class="curve" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>')
        self.parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]

    def axes(self, left: float, top: float, right: float, bottom: float) -> None:
        """The left and the lower edge of a field."""
        self.parts.append(f'<path class="axis" d="M{left} {top} L{left} {bottom} L{right} {bottom}"/>')

    def text(self) -> str:
        """The picture as HTML takes it."""
        return "\n".join([*self.parts, "</svg>", ""])
