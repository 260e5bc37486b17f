"""Everything that can be chosen by name, family by family."""

from l2b.augment import Augmentation
from l2b.candidates import Candidates
from l2b.datasets import Dataset
from l2b.engines import Engine
from l2b.figures import Figure
from l2b.lookahead import LookAhead
from l2b.methods import Method
from l2b.models import Model
from l2b.noise import Noise
from l2b.normalise import Normaliser
from l2b.optimise import Schedule
from l2b.overlap import Overlap
from l2b.pseudo import PseudoLabels


def families() -> dict[str, type]:
    """The base of every family, by the title under which its members are shown."""
    return {
        "Methods (--method)": Method,
        "Data sets (--data)": Dataset,
        "Noise models (--noise)": Noise,
        "Models (--model)": Model,
        "Engines (--engine)": Engine,
        "Normalisers (--normalise)": Normaliser,
        "Pseudo-labels (--pseudo)": PseudoLabels,
        "Candidate labels (--candidates)": Candidates,
        "Look-ahead points (--lookahead)": LookAhead,
        "Augmentations (--augment)": Augmentation,
        "Overlap losses (--overlap)": Overlap,
        "Schedules (--schedule)": Schedule,
        "Figures and tables (l2b figure, l2b table)": Figure,
    }
