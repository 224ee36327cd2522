"""A few shapes of SVG, coloured by the page they stand in (static/pictures.css)."""

from html import escape


class Drawing:
    """Boxes, lines and words in a field of `width` x `height` pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg class="drawing" role="img" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">',
            f"<title>{escape(title)}</title>",
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

    def text(self) -> str:
        """The picture as HTML takes it."""
        return "\n".join([*self.parts, "</svg>", ""])
