"""Every method on a 2-D mixture of known density: its energy, its generator or its samples come near it.

Bounds in nats lie between what three seeds reached in as many updates (0.13 to 0.18 where nothing else is said) and
the 0.40 of the best single Gaussian. Samples: each mode gets its share, 1 in 5, within 5 standard deviations.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from linear import linear_trio
from torch import Tensor

from dualmcmc.methods import METHODS
from dualmcmc.toy_family import ROWS, TRUTH, train
from dualmcmc.toy_figures import figures, log_generated, one_gaussian
from dualmcmc.toys import Mixture, energy_distance

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import densities

UPDATES, N = 400, 1000
