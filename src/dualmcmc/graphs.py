"""Whole chains as CUDA graphs: K transitions that the host starts with one call.

A small network's kernels take the device less time than starting them takes the host. A chain of fixed length on
states of a fixed shape starts the same kernels on the same memory each time, so it is captured once and replayed.

Randomness stays outside: all draws of a chain are made before the replay, by the generators that `langevin` would
use, into memory that the graph reads. So a replayed chain has the very draws of the plain one, and needs memory
for K of them. Weights are read where they lie: `spectral.refresh` keeps a frozen copy's weights in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dualmcmc.langevin import langevin
from dualmcmc.methods.chain import Chain
from dualmcmc.noise import Noise

Density = Callable[..., Tensor]
"""f(x, *given): (B, *) and whatever it is conditioned on, to (B,)."""
WARM_UP = 3
"""Runs before a capture: kernels are chosen, networks compiled, workspaces made."""


class Drawn(Noise):
    """The draws of a chain made in advance: (K, B, *), of which call k gives the k-th."""

    def __init__(self, draws: Tensor) -> None:
        super().__init__(0)
        self.all = draws

    def normal_like(self, x: Tensor) -> Tensor:
        """The next of them."""
        found = self.all[self.draws]
        self.draws += 1
        return found


def draw(into: Tensor, noise: Noise) -> None:
    """Fills (K, B, *) with the next K draws of `noise` for rows (B, *)."""
    for row in into:
        row.copy_(noise.normal_like(row))


class ChainGraphs:
    """Captured chains, by what they follow, how, and the shapes of their states."""

    def __init__(self) -> None:
        self._captured: dict[tuple[object, ...], _Captured] = {}

    def run(
        self, name: str, density: Density, x: Tensor, chain: Chain, noise: Noise, given: Sequence[Tensor] = ()
    ) -> Tensor:
        """`langevin` on density(., *given) from x (B, *); captured at the first call of its kind.

        Arguments:
            name: of the density; one name, one function.
            density: reads no tensor that is made anew between calls, but for what is `given`.
            x: where the chains start, on a CUDA device.
            chain: steps, step s and temperature T.
            noise: as for `langevin`; it is left after the chain's draws.
            given: tensors that the density is conditioned on.
        """
        shapes = tuple((tuple(t.shape), t.dtype) for t in (x, *given))
        key = (name, chain, shapes, torch.is_autocast_enabled("cuda"))
        if key not in self._captured:
            self._captured[key] = _Captured(density, x, chain, given)
        return self._captured[key].replay(x, noise, given)


class _Captured:
    """One chain in memory of its own."""

    def __init__(self, density: Density, x: Tensor, chain: Chain, given: Sequence[Tensor]) -> None:
        with torch.inference_mode(False), torch.no_grad():
            self.x = x.detach().clone()
            self.given = [t.detach().clone() for t in given]
            steps = chain.steps if chain.temperature > 0 else 0
            self.draws = self.x.new_zeros(steps, *x.shape)

        def run() -> Tensor:
            return langevin(lambda state: density(state, *self.given), self.x, chain, noise=Drawn(self.draws))

        side = torch.cuda.Stream(x.device)
        side.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                run()
        torch.cuda.current_stream(x.device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        # The stream that torch would make by itself is one for the process, whatever device came first.
        with torch.cuda.device(x.device), torch.cuda.graph(self.graph, stream=side):
            self.end = run()

    def replay(self, x: Tensor, noise: Noise, given: Sequence[Tensor]) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            self.x.copy_(x)
            for mine, theirs in zip(self.given, given, strict=True):
                mine.copy_(theirs)
            draw(self.draws, noise)
            self.graph.replay()
            return self.end.clone()
