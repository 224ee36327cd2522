"""Every film of the corpus, restored with nothing done to its picture, compared stream by stream with its source."""

from fractions import Fraction
from pathlib import Path

import pytest
from corpus import Entry, entries
from films import NEEDS_PROGRAMS, frame_props, streams, vs

from vsgshift.video.restore.job import Job, restore

pytestmark = [*NEEDS_PROGRAMS, pytest.mark.slow, pytest.mark.usefixtures("probed_here")]
PARTS_OF_A_TICK = Fraction(11, 10_000)
"""Seconds: Matroska counts milliseconds."""


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_a_film_comes_through(entry: Entry, tmp_path: Path) -> None:
    source, remarks = entry.make(tmp_path), list[str]()
    output = tmp_path / "out.mkv"
    restore(Job(source=source, output=output, filters=(), remark=remarks.append))
    assert len(remarks) == len(entry.says), remarks
    assert all(words in remark for words, remark in zip(entry.says, remarks, strict=True)), remarks

    before, after = streams(source), streams(output)
    assert [stream.kind for stream in after] == [stream.kind for stream in before]
    origin = before[0].times[0] - after[0].times[0]
    for old, new in zip(before, after, strict=True):
        assert len(new.times) == len(old.times)
        assert all(abs(b - a - origin) <= PARTS_OF_A_TICK for a, b in zip(new.times, old.times, strict=True))
        kept = {name: text for name, text in old.metadata.items() if name == "language" and text != "und"}
        assert kept.items() <= new.metadata.items()
        # A transport stream gives each packet of AAC a header, which other files do not have.
        if new.kind == "audio" and not (old.codec == "aac" and entry.name.endswith(".ts")):
            assert (new.codec, new.packets) == (old.codec, old.packets)

    told, now = frame_props(source), frame_props(output)
    if vs.core.bs.VideoSource(str(source), cachemode=0).format.color_family != vs.RGB:
        for name in ("_Matrix", "_Primaries", "_Transfer"):
            assert now[name] == told[name], name
        assert now.get("_Range", vs.RANGE_LIMITED) == told.get("_Range", vs.RANGE_LIMITED)
    if vs.core.bs.VideoSource(str(source), cachemode=0).format.subsampling_h and "_ChromaLocation" in told:
        assert now["_ChromaLocation"] == told["_ChromaLocation"]
    for name in told:
        if name.startswith(("MasteringDisplay", "ContentLight")):
            assert now[name] == pytest.approx(told[name]), name
    assert now["_SARNum"] * told["_SARDen"] == told["_SARNum"] * now["_SARDen"]
    assert (now["Rotation"], now["FlipVertical"]) == (told["Rotation"], told["FlipVertical"])
