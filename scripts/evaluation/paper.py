"""The figures that the authors published.

Li et al., "A Simple Baseline for Video Restoration with Grouped Spatial-temporal Shift", CVPR 2023:
dB PSNR, and for deblurring their SSIM. Weights were released of Ours-s and Ours+ only; a user has
measured those of Ours-s on DAVIS about 0.2 dB below the table.
"""

from pathlib import Path

Figure = tuple[float, float | None]
"""PSNR in dB, and the authors' SSIM where it was given."""

DEBLURRING: dict[str, dict[str, Figure]] = {
    "GoPro": {"Ours-s": (35.22, 0.975), "Ours": (35.49, 0.976), "Ours+": (35.88, 0.979)},
    "DVD": {"Ours+": (34.69, 0.969)},
}
SIGMAS = (10.0, 20.0, 30.0, 40.0, 50.0)
DENOISING: dict[str, dict[str, tuple[float, ...]]] = {
    "DAVIS": {"Ours-s": (40.55, 37.84, 36.25, 35.11, 34.20), "Ours+": (40.91, 38.34, 36.83, 35.71, 34.82)},
    "Set8": {"Ours+": (37.54, 34.91, 33.35, 32.24, 31.42)},
}
"""PSNR in dB at each of `SIGMAS`."""


def figures(dataset: str | None, sigma: float | None) -> dict[str, Figure]:
    """What the paper says of its networks on a data set, by their names there; empty if it says nothing."""
    if dataset is None:
        return {}
    if sigma is None:
        return DEBLURRING.get(dataset, {})
    if sigma not in SIGMAS:
        return {}
    return {name: (row[SIGMAS.index(sigma)], None) for name, row in DENOISING.get(dataset, {}).items()}


def dataset_of(path: Path) -> str | None:
    """The data set that a path is named for, by the last of its parts that names one."""
    for part in reversed(path.resolve().parts):
        for name in (*DEBLURRING, *DENOISING):
            if name.lower() in part.lower():
                return name
    return None
