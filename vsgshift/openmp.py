"""How the threads of torch wait for each other. Imports no torch: OpenMP reads its settings as torch is loaded."""

import os


def wait_passively() -> None:
    """Let threads that wait sleep, unless the user has set OMP_WAIT_POLICY. To be called before torch is imported.

    While they spin, the decoder and the encoder that share the cores stand still, and so does the thread that is
    waited for.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
