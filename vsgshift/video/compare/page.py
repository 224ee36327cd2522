"""A page for any browser, whole in one file: the frame and its most telling region, each with a line to drag."""

import base64
import html
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template

from vsgshift.files import atomic_write
from vsgshift.video.compare.pairs import Pair, Picture
from vsgshift.video.compare.region import Box
from vsgshift.video.compare.sheet import ZOOM, layout, pillow

_SECTION = Template("""<section>
<h2>$time, frame $number</h2>
<div class="views">
<figure>
<div class="pair" style="width: ${width}px">
$images
<span class="mark" style="left: $left%; top: $top%; width: $across%; height: $down%"></span>
$handle
</div>
<figcaption>The frame</figcaption>
</figure>
<figure>
<div class="pair enlarged" style="width: ${enlarged}px">
$inset
$handle
</div>
<figcaption>The marked part, $percent %</figcaption>
</figure>
</div>
</section>
""")
_IMAGES = Template("""<img src="$before" width="$width" height="$height" draggable="false" alt="$what, before">
<img class="after" src="$after" width="$width" height="$height" draggable="false" alt="$what, after">""")
_HANDLE = """<input type="range" min="0" max="100" step="0.5" value="50" aria-label="Share of the picture shown before">
<span class="line"></span>
<span class="name left">Before</span><span class="name right">After</span>"""


def write(file: Path, pairs: Sequence[Pair], after: str, title: str) -> None:
    """Write the page.

    Args:
        pairs: at least one.
        after: what was done, as "After: deblur".
        title: of the video.

    Raises:
        VideoError: Pillow is missing.
        OSError: the file cannot be written.
    """
    template = Template(resources.files("vsgshift.video.compare").joinpath("page.html").read_text(encoding="utf-8"))
    sections = "".join(map(_section, pairs))
    text = template.substitute(title=html.escape(title), after=html.escape(after), sections=sections)
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")


def _section(pair: Pair) -> str:
    _, region = layout(pair)
    height, width = pair.before.shape[:2]
    return _SECTION.substitute(
        time=pair.time,
        number=pair.number,
        width=width,
        images=_images(pair, Box(top=0, left=0, height=height, width=width), f"frame {pair.number}"),
        left=f"{100 * region.left / width:.4f}",
        top=f"{100 * region.top / height:.4f}",
        across=f"{100 * region.width / width:.4f}",
        down=f"{100 * region.height / height:.4f}",
        enlarged=ZOOM * region.width,
        inset=_images(pair, region, f"part of frame {pair.number}"),
        handle=_HANDLE,
        percent=100 * ZOOM,
    )


def _images(pair: Pair, box: Box, what: str) -> str:
    before, after = (_embedded(box.cut(picture)) for picture in (pair.before, pair.after))
    return _IMAGES.substitute(before=before, after=after, width=box.width, height=box.height, what=what)


def _embedded(picture: Picture) -> str:
    """A PNG in an address: other formats would add artefacts of their own, or not be known everywhere."""
    image, _ = pillow()
    file = io.BytesIO()
    image.fromarray(picture).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
