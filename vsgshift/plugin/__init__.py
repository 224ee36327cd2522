"""The VapourSynth side: what `core.gshift` calls, and the compiled bridge it comes through.

The bridge is compiled when the package is installed. Where Python was started in a repository whose
package is installed elsewhere without `-e`, this folder lacks it: then the installed one is used.
"""

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

# Threads of torch that wait for each other shall sleep: while they spin, the decoder and the encoder that
# share the cores stand still, and so does the thread that is waited for. OpenMP reads this as torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _find_bridge() -> None:
    def holds_bridge(folder: Path) -> bool:
        return any((folder / f"_bridge{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)

    # An editable install lists its folder of compiled files in __path__ already.
    if any(holds_bridge(Path(folder)) for folder in __path__):
        return
    for entry in sys.path:
        folder = Path(entry, "vsgshift", "plugin")
        if holds_bridge(folder):
            __path__.append(str(folder))
            return


_find_bridge()
