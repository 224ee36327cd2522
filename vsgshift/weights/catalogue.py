"""The models there are: bundled with the package, published by the authors, or imported by the user."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from vsgshift.network.variants import VARIANTS, Task, Variant

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
OURS = "MIT"
DEFAULT = "tiny"
"""The model of either task that runs if none is asked for; a bundled one."""
UNSTATED = "none stated by the authors"


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known of a set of weights without reading them."""

    name: str
    variant: Variant
    training_data: str
    licence: str
    published_as: str | None = None
    """The authors' file name, for weights that are not ours."""
    drive_id: str | None = None
    """Of the authors' file, on Google Drive."""

    @property
    def page(self) -> str:
        """Where a browser shows the authors' file."""
        return f"https://drive.google.com/file/d/{self.drive_id}/view"

    @property
    def task(self) -> Task:
        return self.variant.task

    @property
    def path(self) -> Path:
        """Where its safetensors file is, or would be once installed."""
        folder = models_folder() if self.published_as else BUNDLED_FOLDER
        return folder / f"{self.name}.safetensors"

    @property
    def installed(self) -> bool:
        return self.path.is_file()


def full_name(name: str | None, task: Task) -> str:
    """The name of a task's model: `fine` is `fine-denoise` for denoising, None the default one."""
    full = f"{name or DEFAULT}-{task}"
    return full if name is None or full in MODELS else name


def _bundled(size: str, task: Task) -> Model:
    data = "photographs moved by code, generated clips"
    return Model(name=f"{size}-{task}", variant=VARIANTS[f"{task}-{size}"], training_data=data, licence=OURS)


def _published(name: str, variant: str, training_data: str, drive_id: str, file: str) -> Model:
    return Model(
        name=name,
        variant=VARIANTS[variant],
        training_data=training_data,
        licence=UNSTATED,
        published_as=f"net_{file}.pth",
        drive_id=drive_id,
    )


MODELS = {
    model.name: model
    for model in (
        _bundled("tiny", "deblur"),
        _bundled("tiny", "denoise"),
        _bundled("fine", "denoise"),
        _published("gopro", "deblur-plus", "GoPro", "1f79zxmCL-ygVmoJd86OT6uksPGk2BpL0", "gopro_deblur"),
        _published("gopro-small", "deblur-small", "GoPro", "1WnFZRnXN9ZJebMZaAZF6a0c8f3CrLjR_", "gopro_deblur_small"),
        _published("dvd", "deblur-plus", "DVD", "1vPQkAznRaVawQOMOuvhnCD8DKS2RQToM", "dvd_deblur"),
        _published("dvd-small", "deblur-small", "DVD", "181FLpwRe87iFa-7U3myxR3nNc8qjRe-z", "dvd_deblur_small"),
        _published("davis", "denoise-plus", "DAVIS", "1zCKZ5t7qRTTEt8_loR_Fa4ODpNOTodyM", "denoise"),
        _published("davis-small", "denoise-small", "DAVIS", "1SJBxI2wOwgHAWx5h2N02-1UpIvEKalCg", "denoise_small"),
    )
}


def models_folder() -> Path:
    """Where imported weights live: $VSGSHIFT_MODELS, or the user's data folder."""
    if folder := os.environ.get("VSGSHIFT_MODELS"):
        return Path(folder).expanduser()
    local = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
    data = os.environ.get("XDG_DATA_HOME") or local or Path.home() / ".local" / "share"
    return Path(data) / "vsgshift" / "models"


def published_models() -> list[Model]:
    """The models whose weights are the authors'."""
    return [model for model in MODELS.values() if model.published_as]


def imported_names() -> list[str]:
    """Names of the installed files that the catalogue does not know, sorted."""
    folder = models_folder()
    if not folder.is_dir():
        return []
    return sorted(file.stem for file in folder.glob("*.safetensors") if file.stem not in MODELS)
