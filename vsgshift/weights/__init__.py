"""Files of weights: the catalogue, our format, and the published one."""

from vsgshift.weights.catalogue import MODELS, Model, models_folder
from vsgshift.weights.published import CheckpointError
from vsgshift.weights.store import MissingWeightsError, import_checkpoint, load_network

__all__ = [
    "MODELS",
    "CheckpointError",
    "MissingWeightsError",
    "Model",
    "import_checkpoint",
    "load_network",
    "models_folder",
]
