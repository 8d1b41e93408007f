"""Networks compiled for chains: what a chain calls hundreds of times is worth a compiler's look.

The energy network and the generator of a frozen copy are compiled in place, each without a break in its graph.
Their weights need no gradient, so that a compiled backward goes to the input alone, which is all that chains need.
The live networks, which learn, are left as they are: they run once an update. Whole chains as CUDA graphs are
`graphs.py`.
"""

from __future__ import annotations

import torch

from dualmcmc.errors import InputError
from dualmcmc.graphs import ChainGraphs
from dualmcmc.trio import Trio

BACKEND = "inductor"
"""torch.compile's; tests that look at the capture alone take a quicker one."""
SHAPES = 256
"""Of networks and batches that one process compiles at most. torch counts all networks of a class together and
would refuse the ninth, though each run needs a few."""


def check(chains: str, device: torch.device) -> None:
    """Refuses a way of running chains that this machine has no means for; compiles a trifle to find out.

    Arguments:
        chains: `settings.Run.chains`.
        device: of the networks.

    Raises:
        InputError: saying so.
    """
    if chains == "graphed" and device.type != "cuda":
        raise InputError("run.chains graphed needs a CUDA device: use compiled or plain")
    if chains == "plain":
        return
    trifle = torch.compile(lambda x: 2 * x + 1, dynamic=False)
    try:
        trifle(torch.ones(8, device=device))
    except RuntimeError as error:  # a compiler that is missing or fails raises a relative of it
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"this machine cannot compile networks ({reason}): use --run.chains plain") from None


def make_ready(frozen: Trio, chains: str) -> None:
    """Has the chains of a frozen copy run as `settings.Run.chains` says; "plain" changes nothing.

    Weights may change later; other shapes of states are compiled anew.
    """
    if chains == "plain":
        return
    import torch._dynamo

    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, SHAPES)
    for network in (frozen.energy, frozen.generator):
        if network is not None:
            network.compile(fullgraph=True, dynamic=False, backend=BACKEND)
    if chains == "graphed":
        frozen.graphs = ChainGraphs()
