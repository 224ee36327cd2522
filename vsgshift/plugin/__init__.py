"""The VapourSynth side: what `core.gshift` calls, and the compiled bridge it comes through."""

from importlib.util import find_spec
from pathlib import Path

if find_spec(f"{__name__}._bridge") is None:
    _sources = Path(__file__).parents[2]
    raise ImportError(
        f"{__name__}._bridge is not compiled in {_sources}; run `pip install -e {_sources}`, or start Python elsewhere"
    )
