"""The models there are: bundled with the package, published by the authors, or imported by the user."""

import os
from dataclasses import dataclass
from pathlib import Path

from vsgshift.network.variants import (
    DEBLUR_PLUS,
    DEBLUR_SMALL,
    DEBLUR_TINY,
    DENOISE_PLUS,
    DENOISE_SMALL,
    DENOISE_TINY,
    Task,
    Variant,
)

BUNDLED_FOLDER = Path(__file__).parent / "bundled"
OURS = "MIT"
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


def _published(name: str, variant: Variant, training_data: str, file: str, drive_id: str) -> Model:
    return Model(
        name=name, variant=variant, training_data=training_data, licence=UNSTATED, published_as=file, drive_id=drive_id
    )


MODELS = {
    model.name: model
    for model in (
        Model(name="tiny-deblur", variant=DEBLUR_TINY, training_data="generated clips", licence=OURS),
        Model(name="tiny-denoise", variant=DENOISE_TINY, training_data="generated clips", licence=OURS),
        _published("gopro", DEBLUR_PLUS, "GoPro", "net_gopro_deblur.pth", "1f79zxmCL-ygVmoJd86OT6uksPGk2BpL0"),
        _published(
            "gopro-small", DEBLUR_SMALL, "GoPro", "net_gopro_deblur_small.pth", "1WnFZRnXN9ZJebMZaAZF6a0c8f3CrLjR_"
        ),
        _published("dvd", DEBLUR_PLUS, "DVD", "net_dvd_deblur.pth", "1vPQkAznRaVawQOMOuvhnCD8DKS2RQToM"),
        _published("dvd-small", DEBLUR_SMALL, "DVD", "net_dvd_deblur_small.pth", "181FLpwRe87iFa-7U3myxR3nNc8qjRe-z"),
        _published("davis", DENOISE_PLUS, "DAVIS", "net_denoise.pth", "1zCKZ5t7qRTTEt8_loR_Fa4ODpNOTodyM"),
        _published("davis-small", DENOISE_SMALL, "DAVIS", "net_denoise_small.pth", "1SJBxI2wOwgHAWx5h2N02-1UpIvEKalCg"),
    )
}


def models_folder() -> Path:
    """Where imported weights live: $VSGSHIFT_MODELS, or the user's data folder."""
    if folder := os.environ.get("VSGSHIFT_MODELS"):
        return Path(folder).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
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
