"""Running a network fast: the same results as the plain modules, up to rounding, for inference only.

`prepared` gives a network whose blocks suit the device. `vsgshift.network` stays the definition; what is here
must agree with it to 1e-5 of the signal in float32.
"""

from vsgshift.engine.prepare import prepared, runs_compiled

__all__ = ["prepared", "runs_compiled"]
