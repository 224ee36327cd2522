"""Files of weights: the catalogue, our format, the published one, and where to get it."""

from vsgshift.weights.catalogue import MODELS, Model, models_folder
from vsgshift.weights.store import import_checkpoint, load_network, remove

__all__ = ["MODELS", "Model", "import_checkpoint", "load_network", "models_folder", "remove"]
