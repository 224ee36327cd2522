"""The two drawings of "How it works": the network, and the stream."""

from pathlib import Path

from tools.svg import Drawing


def write(folder: Path) -> None:
    """Write both into `folder`."""
    (folder / "network.svg").write_text(network(), encoding="utf-8")
    (folder / "stream.svg").write_text(stream(), encoding="utf-8")


def network() -> str:
    """From a frame to its restored self, with the core, the only part that sees other frames, drawn larger below."""
    d = Drawing(
        760, 420, "The network: features, frame-UNets, the temporal core, frame-UNets, and the sum with the frame"
    )
    row = 60
    boxes = ((10, 72, "frame", ""), (112, 92, "features", "conv 3, CAB"), (234, 100, "frame-UNets", "per frame"))
    for x, width, *lines in boxes:
        d.box(x, row, width, 50, *filter(None, lines))
    d.box(364, row, 92, 50, "core", "all frames", kind="box core")
    d.box(486, row, 60, 50, "merge", "conv 3")
    d.box(576, row, 100, 50, "frame-UNets", "per frame")
    d.words(720, row + 20, "restored")
    d.words(720, row + 36, "frame")
    middle = row + 25
    for start, end in ((82, 112), (204, 234), (334, 364), (456, 486), (546, 576), (676, 692)):
        d.line((start, middle), (end, middle))
    d.line((219, middle), (219, 132), (506, 132), (506, 110))
    d.words(300, 147, "features", note=True)
    d.line((349, middle), (349, 122), (496, 122), (496, 110))
    d.line((46, row), (46, 30), (684, 30), (684, middle - 4))
    d.words(365, 24, "the frame itself: the network computes what is to be added to it", note=True)

    d.words(380, 190, "The core, at a half, a quarter and (plus) an eighth of the size")
    row = 210
    d.box(10, row, 740, 190, kind="box core")
    d.box(30, row + 20, 150, 40, "down: half size")
    d.box(30, row + 76, 150, 40, "down: quarter size")
    d.box(30, row + 132, 150, 40, "deepest level", "shift blocks")
    d.box(225, row + 20, 150, 40, "up: half size", "shift blocks")
    d.box(225, row + 76, 150, 40, "up: quarter size", "shift blocks")
    d.line((105, row + 60), (105, row + 76))
    d.line((105, row + 116), (105, row + 132))
    d.line((180, row + 152), (300, row + 152), (300, row + 116))
    d.line((300, row + 76), (300, row + 60))
    d.line((180, row + 96), (225, row + 96))
    d.line((180, row + 40), (225, row + 40))
    d.words(580, row + 30, "one shift step")
    d.box(414, row + 46, 104, 44, "temporal shift", "1 frame")
    d.box(538, row + 46, 104, 44, "grouped", "spatial shift")
    d.box(662, row + 46, 76, 44, "two gated", "blocks")
    d.line((518, row + 68), (538, row + 68))
    d.line((642, row + 68), (662, row + 68))
    for n, line in enumerate(
        (
            "Half of the channels comes from the frame",
            "before, in every other step behind. These are",
            "moved in 24 ways, by up to 8 pixels.",
        )
    ):
        d.words(580, row + 118 + 17 * n, line, note=True)
    return d.text()


def stream() -> str:
    """Frames enter on the left and leave on the right, R frames later."""
    d = Drawing(760, 330, "The stream: frames pass shifts that hold one frame each, and leave R frames later")
    for n, label in enumerate(("t", "t-1", "t-2", "…", "t-R")):
        d.box(
            130 + 100 * n, 20, 84, 34, f"frame {label}" if label != "…" else label, kind="box core" if n == 4 else "box"
        )
    d.words(60, 42, "enters")
    d.line((90, 37), (130, 37))
    for n in range(4):
        d.line((214 + 100 * n, 37), (230 + 100 * n, 37))
    d.line((614, 37), (654, 37))
    d.words(702, 42, "leaves")
    d.words(380, 76, "in the pipe at one moment: frame t has just entered; of frame t-R all is known", note=True)

    d.box(60, 110, 180, 60, "past shift", "keeps the frame before")
    d.box(60, 200, 180, 60, "future shift", "keeps the newest")
    d.line((20, 140), (60, 140))
    d.line((240, 140), (290, 140))
    d.line((20, 230), (60, 230))
    d.line((240, 230), (290, 230))
    d.words(330, 145, "frame t")
    d.words(330, 235, "frame t-1")
    d.words(140, 285, "a cut: both hold their frame as it is", note=True)
    d.words(140, 302, "nothing crosses from scene to scene", note=True)

    d.box(430, 110, 130, 60, "layers with", "future shifts")
    d.box(430, 200, 130, 60, "delay line", "as many frames")
    d.line((395, 185), (410, 185), (410, 140), (430, 140))
    d.line((395, 185), (410, 185), (410, 230), (430, 230))
    d.line((560, 140), (610, 140), (610, 170))
    d.line((560, 230), (610, 230), (610, 200))
    d.box(580, 170, 60, 30, "join")
    d.line((640, 185), (690, 185))
    d.words(530, 285, "where two ways meet, the younger frame waits", note=True)
    return d.text()
