"""`dualmcmc doctor`: is this machine, and is this run, in order?

Arrows of import: finding <- chains, machine, runs.
"""

from dualmcmc.doctor.chains import self_test
from dualmcmc.doctor.finding import Finding, State
from dualmcmc.doctor.machine import examine_machine
from dualmcmc.doctor.runs import examine_run

__all__ = ["Finding", "State", "examine_machine", "examine_run", "self_test"]
