"""How a film is shared out, by simulation: what more machines bring, and what they waste.

The rule is the one that `restore --cluster` follows, `next_stretch`; the costs are those that `scripts/benchmark.py
sharing` has measured, the faults assumed. Run `python docs/tools/sharing.py` to write tables and chart into
docs/many-machines.md; it takes some minutes.
"""

import heapq
import json
import random
import sys
from dataclasses import dataclass
from math import exp, log10
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.measured import table
from tools.svg import Drawing
from vsgshift.video.pipe import MEASURED_FRAMES, MEASURED_SECONDS
from vsgshift.video.restore.parts import FEWEST_FRAMES, part_size
from vsgshift.video.restore.sharing import FEWEST_PARTS, next_stretch

NODES = (1, 3, 10, 30, 100, 300, 1000)
REPORT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "cpu-sharing.json"
COSTS = json.loads(REPORT.read_text(encoding="utf-8"))["result"]
SETUP = COSTS["stretch_setup_s"]
"""Seconds until the first frame of a stretch: looking at the machine, loading the network, seeking."""
JOIN = COSTS["join_ms_per_frame"] / 1000
"""Seconds that checking and joining take for a frame."""
AWAY = 300.0
"""Seconds until a node that has failed is back."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A film on machines of one kind."""

    frames: int = 172_800
    """Of two hours at 24 per second."""
    pace: float = 1.0
    """Frames per second of a machine; 1 is what two cores do in 1080p with tiny."""
    reach: int = 10
    """Frames on each side that a stretch needs of its neighbours."""
    faults: float = 0.0
    """Of a machine, in an hour."""
    part: int | None = None
    """Frames in a part; None as the command chooses."""
    stretch: int | None = None
    """Parts in a stretch at most; None as the command chooses."""
    slow: bool = False
    """Whether one machine in ten has a third of the pace."""


def simulate(case: Case, nodes: int) -> tuple[float, float]:
    """How many times faster than one machine without a fault, and the share of the time that makes no frames."""
    chance = random.Random(0)
    size = case.part or min(part_size(case.pace), max(case.frames // (nodes * FEWEST_PARTS), FEWEST_FRAMES))
    # One node measures its pace first, by some frames or seconds.
    begin = 0.0 if case.part else SETUP + min(MEASURED_FRAMES / case.pace, MEASURED_SECONDS + 1 / case.pace)
    count = -(-case.frames // size)
    left, attempts = set(range(count)), dict[int, list[int]]()
    paces = [case.pace / (3 if case.slow and node % 10 == 9 else 1) for node in range(nodes)]
    events = [(begin, node, -1) for node in range(nodes)]
    waiting: list[int] = []
    now = 0.0
    while left:
        now, node, made = heapq.heappop(events)
        if made >= 0:
            own = attempts[node]
            own[:] = own[1:]
            left.discard(made)
        elif made == -2:
            del attempts[node]
        own = attempts.setdefault(node, [])
        ends = now
        if not any(number in left for number in own):
            del attempts[node]
            share = next_stretch(left, list(attempts.values()), nodes)
            if not share:
                waiting.append(node)
                continue
            own = attempts[node] = share[: case.stretch]
            ends += SETUP + 2 * case.reach / paces[node]
        ends += min(size, case.frames - own[0] * size) / paces[node]
        if case.faults and chance.random() < 1 - exp(-(ends - now) / 3600 * case.faults):
            heapq.heappush(events, (now + (ends - now) * chance.random() + AWAY, node, -2))
            waiting, again = [], waiting
            for other in again:
                heapq.heappush(events, (now, other, -1))
        else:
            heapq.heappush(events, (ends, node, own[0]))
    work = case.frames / case.pace
    # What the machines could do in that time, the slow ones as slow as they are.
    able = sum(paces) / case.pace * now
    alone = SETUP + work + case.frames * JOIN
    return alone / (now + case.frames * JOIN), 1 - work / able


CASES = {
    "two hours on CPUs (1 frame/s)": Case(),
    "the same, a fault an hour each": Case(faults=1.0),
    "the same, one in ten is slow": Case(slow=True),
    "the same with `plus` (0.03 frames/s)": Case(pace=0.03, reach=30),
    "two hours on cards (40 frames/s)": Case(pace=40.0),
    "ten minutes on CPUs": Case(frames=14_400),
}


def results() -> dict[str, list[tuple[float, float]]]:
    """Speed-up and waste of each case, by the number of machines."""
    return {name: [simulate(case, n) for n in NODES] for name, case in CASES.items()}


def written(row: list[tuple[float, float]]) -> list[str]:
    """Speed-up and waste, as cells of a table."""
    return [f"{speed:.3g} ({waste:.0%})" for speed, waste in row]


def by_machines(found: dict[str, list[tuple[float, float]]]) -> str:
    """A table of them."""
    return table(["machines", *map(str, NODES)], [[name, *written(row)] for name, row in found.items()])


def by_part() -> str:
    """A table of the sizes of a part, for two hours on a hundred machines."""
    faults = (0.0, 0.1, 1.0)
    rows = [
        [str(part), *written([simulate(Case(part=part, slow=True, faults=each), 100) for each in faults])]
        for part in (24, 60, 120, 216, 500, 1500)
    ]
    return table(["frames in a part", *(f"{each:g} faults an hour each" for each in faults)], rows)


def by_stretch() -> str:
    """A table of the lengths of a stretch, for two hours on a hundred machines."""
    rows = []
    for stretch in (1, 3, 10, 30, None):
        cases = [Case(stretch=stretch, slow=True), Case(stretch=stretch, slow=True, pace=0.03, reach=30)]
        rows.append([str(stretch or "as chosen"), *written([simulate(case, 100) for case in cases])])
    return table(["parts in a stretch", "`tiny`, 1 frame/s", "`plus`, 0.03 frames/s"], rows)


def chart(found: dict[str, list[tuple[float, float]]]) -> str:
    """Speed-up against the number of machines, both on scales of tens."""
    drawing = Drawing(760, 330, "How many times faster, by the number of machines", alone=True)
    left, right, top, bottom = 60, 470, 20, 280
    across, up = (lambda n: left + (right - left) * log10(n) / 3), (lambda s: bottom - (bottom - top) * log10(s) / 3)
    drawing.axes(left, top, right, bottom)
    ends = sorted(((row[-1][0], name, row) for name, row in found.items()), reverse=True)
    place = 0.0
    for speed, name, row in ends:
        drawing.curve([(across(n), up(s)) for n, (s, _) in zip(NODES, row, strict=True)])
        place = max(up(speed) + 5, place + 17)
        drawing.words(right + 10, round(place, 1), name.replace("`", ""), anchor="start", note=True)
    for n in (1, 10, 100, 1000):
        drawing.words(round(across(n)), bottom + 18, str(n), note=True)
        drawing.words(left - 8, round(up(n)) + 4, f"{n} x", note=True, anchor="end")
    drawing.words((left + right) / 2, bottom + 38, "machines", note=True)
    return drawing.text()


def main() -> None:
    """Write tables and chart."""
    folder, found = Path(__file__).parents[1], results()
    (folder / "sharing.svg").write_text(chart(found), encoding="utf-8")
    page = (folder / "many-machines.md").read_text(encoding="utf-8")
    for name, text in (("machines", by_machines(found)), ("part", by_part()), ("stretch", by_stretch())):
        head, begin, rest = page.partition(f"<!-- by {name} -->\n")
        page = f"{head}{begin}\n{text}\n{rest[rest.index('<!-- end -->') :]}"
    (folder / "many-machines.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
