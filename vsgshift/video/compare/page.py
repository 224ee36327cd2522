"""A page for any browser, whole in one file: frames with one line to drag, parts enlarged, and parts that move."""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from vsgshift.files import atomic_write
from vsgshift.video.compare.pairs import Comparison, Pair, Picture
from vsgshift.video.compare.region import Box, most_telling
from vsgshift.video.compare.sheet import pillow

EXCERPT = 120, 160
"""Height and width of the part that is enlarged, if the frame has as many pixels."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A frame before and after, and a part of the frames around it."""

    pair: Pair
    region: Box
    """The part."""
    strips: tuple[Picture, ...]
    """The part in each frame, one below the other: before, then each version."""


def scene(video: Comparison, number: int, numbers: range, centre: tuple[int, int] | None = None) -> Scene:
    """Restore the frames around one, one version after the other.

    The part is around ``centre``, across and down; by default where before and after differ most tellingly. Raises
    VideoError.
    """
    region: Box | None = None
    here = number - numbers.start
    before = list(video.before(numbers))
    stills, strips = [], []
    for version in range(len(video.versions)):
        parts = []
        for index, picture in enumerate(video.after(version, numbers)):
            region = region or _region(before[index], picture, centre)
            parts.append(region.cut(picture))
            if index == here:
                stills.append(picture)
        strips.append(np.concatenate(parts))
    assert region is not None
    strips.insert(0, np.concatenate([region.cut(picture) for picture in before]))
    pair = Pair(before=before[here], afters=tuple(stills), number=number, time=video.time_of(number))
    return Scene(pair=pair, region=region, strips=tuple(strips))


def _region(before: Picture, after: Picture, centre: tuple[int, int] | None) -> Box:
    frame = before.shape[0], before.shape[1]
    size = min(EXCERPT[0], frame[0]), min(EXCERPT[1], frame[1])
    if centre is None:
        return most_telling(before, after, size)
    return Box(top=centre[1], left=centre[0], height=0, width=0).around(size, frame)


_SECTION = Template("""<section data-part="$part" data-rate="$rate" data-frames="$frames">
<h2>$time, frame $number</h2>
<div class="pair" style="aspect-ratio: $width / $height; width: $across">
$images
<span class="mark"></span><span class="line"></span>
<span class="name left">Before</span><span class="name right"></span>
</div>
<h3>Enlarged</h3>
<div class="row lenses"></div>
$moving</section>
""")
_STRIP = Template("""<figure><div class="strip" style="aspect-ratio: $width / $height; background-image: url($address)">
</div><figcaption>$name</figcaption></figure>""")


def write(file: Path, scenes: Sequence[Scene], names: Sequence[str], title: str, rate: float) -> None:
    """Write the page, on which parts move at ``rate`` frames per second. Raises VideoError if Pillow is missing;
    OSError."""
    template = Template(resources.files("vsgshift.video.compare").joinpath("page.html").read_text(encoding="utf-8"))
    text = template.substitute(
        title=html.escape(title),
        versions="".join(
            f'<button type="button" data-version="{index}">{html.escape(name)}</button>'
            for index, name in enumerate(names)
        ),
        sections="".join(_section(each, names, rate) for each in scenes),
    )
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")


def _section(scene: Scene, names: Sequence[str], rate: float) -> str:
    pair, region = scene.pair, scene.region
    height, width = pair.before.shape[:2]
    frames = scene.strips[0].shape[0] // region.height
    labels = ["Before", *names]
    images = [
        f'<img src="{_embedded(picture)}" draggable="false" alt="frame {pair.number}, {html.escape(name)}"'
        f"{f' class="after" data-version="{index - 1}"' if index else ''}>"
        for index, (name, picture) in enumerate(zip(labels, (pair.before, *pair.afters), strict=True))
    ]
    strips = [
        _STRIP.substitute(width=region.width, height=region.height, address=_embedded(strip), name=html.escape(name))
        for name, strip in zip(labels, scene.strips, strict=True)
    ]
    moving = f'<h3>Moving: {frames} frames</h3>\n<div class="row">{"".join(strips)}</div>\n' if frames > 1 else ""
    return _SECTION.substitute(
        part=html.escape(json.dumps([region.left, region.top, region.width, region.height])),
        rate=f"{rate:g}",
        frames=frames,
        time=pair.time,
        number=pair.number,
        width=width,
        height=height,
        # The whole width; one that is higher than wide is no higher than the window.
        across="100%" if width >= height else f"min(100%, (100vh - 4rem) * {width} / {height})",
        images="\n".join(images),
        moving=moving,
    )


def _embedded(picture: Picture) -> str:
    """A PNG in an address: other formats would add artefacts of their own, or not be known everywhere."""
    image, _ = pillow()
    file = io.BytesIO()
    image.fromarray(picture).save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
