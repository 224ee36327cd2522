"""Whether this installation works, and what to do if it does not.

Each check asks a Python of its own: a library that is broken, hangs or brings the process down is
then a finding like any other. Nothing of torch, VapourSynth or the package's compiled part is
imported here.
"""

from vsgshift.doctor.checks import examine
from vsgshift.doctor.finding import Finding, State

__all__ = ["Finding", "State", "examine"]
