"""Tables 1 to 9 and Figures 2 to 5 of Cui & Han (2023) as data; nothing here imports torch.

parts.py           what a sweep is made of, and what the two scales are
lines.py           lines of the tables of methods; references.py has the works that those quote
generation.py      Tables 1 and 2: FID and IS of the family, beside others' generators
reconstruction.py  Table 3: MSE
ablations.py       Tables 4, 5 and 7: the lengths of both chains, the energy network's width
simple.py          Tables 6 and 9: simple networks, times and parameters
detection.py       Table 8: AUROC
figures.py         Figures 2 to 5
"""

from __future__ import annotations

from collections.abc import Mapping

from dualmcmc.reproduce.sweeps.ablations import TABLE4, TABLE5, TABLE7
from dualmcmc.reproduce.sweeps.detection import TABLE8
from dualmcmc.reproduce.sweeps.figures import FIGURE2, FIGURE3, FIGURE4, FIGURE5
from dualmcmc.reproduce.sweeps.generation import TABLE1, TABLE2
from dualmcmc.reproduce.sweeps.parts import (
    FEATURES,
    FEWER_SAMPLES,
    SAMPLES,
    SMALL,
    Cell,
    Column,
    OfUpdates,
    Row,
    Scale,
    SmallPreset,
    Sweep,
    TableName,
    Times,
)
from dualmcmc.reproduce.sweeps.reconstruction import TABLE3
from dualmcmc.reproduce.sweeps.references import REFERENCES
from dualmcmc.reproduce.sweeps.simple import TABLE6, TABLE9

__all__ = [
    "FEATURES",
    "FEWER_SAMPLES",
    "REFERENCES",
    "SAMPLES",
    "SMALL",
    "SWEEPS",
    "Cell",
    "Column",
    "OfUpdates",
    "Row",
    "Scale",
    "SmallPreset",
    "Sweep",
    "TableName",
    "Times",
]

SWEEPS: Mapping[TableName, Sweep] = {
    "table1": TABLE1,
    "table2": TABLE2,
    "table3": TABLE3,
    "table4": TABLE4,
    "table5": TABLE5,
    "table6": TABLE6,
    "table7": TABLE7,
    "table8": TABLE8,
    "table9": TABLE9,
    "figure2": FIGURE2,
    "figure3": FIGURE3,
    "figure4": FIGURE4,
    "figure5": FIGURE5,
}
