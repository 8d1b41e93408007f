"""The networks as the three densities of the paper's Section 3.1; a method may do without some of them.

    pi(x)         ∝ exp(h(x) / T)                          energy network h, Eq. 1 with f = h / T
    p(x, z)       = N(z; 0, I) N(x; g(z), sigma^2 I)       generator g, Eq. 4
    q(z given x)  = N(z; mu(x), diag exp(v(x)))            inference network, Section 2.3

Any networks of these shapes will do: nothing here knows images. h is the negative of the released
code's energy E; T is the temperature of the *training* data chain, so that log pi means the same
whichever chain drew a sample (docs/maths.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from dualmcmc import densities, spectral
from dualmcmc.errors import InputError
from dualmcmc.extras import Sampler

if TYPE_CHECKING:
    from dualmcmc.graphs import ChainGraphs


class Trio(nn.Module):
    """Up to three networks; asking for a density whose network is not there raises `InputError`.

    Arguments:
        energy: h, (B, *) to (B,), or a classifier's logits, (B, *) to (B, K), whose log-sum-exp is h.
        generator: g, (B, d) to (B, *).
        inference: x (B, *) to mean and log variance, both (B, d).
        latent_dim: d.
        sigma: standard deviation of p(x given z), > 0.
        temperature: T > 0 of the training data chain.
        reference: deviation r of a Gaussian that the energy tilts, h(x) - T |x|^2 / (2 r^2); 0: none.
        extra: whatever else a method learns or a trained model draws from (`extras.py`).
        at_once: rows that chains and losses give the networks at a time (`pieces.py`); 0: all there are.
    """

    def __init__(
        self,
        energy: nn.Module | None = None,
        generator: nn.Module | None = None,
        inference: nn.Module | None = None,
        *,
        latent_dim: int,
        sigma: float,
        temperature: float,
        reference: float = 0.0,
        extra: nn.Module | None = None,
        at_once: int = 0,
    ) -> None:
        super().__init__()
        self.energy, self.generator, self.inference, self.extra = energy, generator, inference, extra
        self.latent_dim, self.temperature = latent_dim, temperature
        self.reference, self._sigma = reference, sigma
        self.at_once = at_once
        self.graphs: ChainGraphs | None = None  # of a frozen copy whose chains are replayed (`graphs.py`)

    @property
    def sigma(self) -> float:
        """The standard deviation of p(x given z), as it stands where it is learned."""
        return self.extra.sigma.item() if isinstance(self.extra, Sampler) else self._sigma

    def part(self, name: str) -> nn.Module:
        """The network of that name: energy, generator or inference.

        Raises:
            InputError: this model has none.
        """
        network = getattr(self, name)
        if network is None:
            kind = name if name == "generator" else f"{name} network"
            raise InputError(f"this model has no {kind}: its method learns none")
        found: nn.Module = network
        return found

    def h(self, x: Tensor) -> Tensor:
        """The energy network's output, up is likelier: (B, *) to (B,), float32."""
        out = densities.at_least_float32(self.part("energy")(x))
        if out.ndim == 2:
            out = out.logsumexp(1)
        if self.reference:
            squares = densities.at_least_float32(x).square().flatten(1).sum(1)
            out = out - self.temperature / (2 * self.reference**2) * squares
        return out

    def log_pi(self, x: Tensor) -> Tensor:
        """log pi(x) up to one constant, h(x) / T in nats: (B, *) to (B,)."""
        return self.h(x) / self.temperature

    def g(self, z: Tensor) -> Tensor:
        """The mean of p(x given z): (B, d) to (B, *), float32."""
        out: Tensor = self.part("generator")(z)
        return densities.at_least_float32(out)

    def log_joint(self, x: Tensor, z: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """log p(x, z), Eq. 4: x (B, *), z (B, d); returns (B,). With `visible`, log p(those pixels of x, z)."""
        return densities.normal(x, self.g(z), self.sigma, where=visible) + densities.standard_normal(z)

    def q(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z given x), each (B, d), the latter within `LOG_VARIANCE_RANGE`."""
        mean, log_variance = self.part("inference")(x)
        log_variance = densities.at_least_float32(log_variance)
        held = log_variance.clamp(*densities.LOG_VARIANCE_RANGE)
        # The bound's value with the gradient at the bound, so that what has left the range can come back.
        return densities.at_least_float32(mean), log_variance + (held - log_variance).detach()

    def log_q(self, x: Tensor, z: Tensor) -> Tensor:
        """log q(z given x): x (B, *), z (B, d); returns (B,)."""
        return densities.diagonal_normal(z, *self.q(x))

    def frozen(self) -> Trio:
        """alpha_t, theta_t, phi_t of Algorithm 1: copies for chains, without gradient; see `refresh`."""
        copies = {name: spectral.frozen_copy(network) for name, network in self.named_children()}
        return Trio(
            **copies,
            latent_dim=self.latent_dim,
            sigma=self._sigma,
            temperature=self.temperature,
            reference=self.reference,
            at_once=self.at_once,
        )

    def refresh(self, frozen: Trio) -> None:
        """Makes a frozen copy the trio of this moment; it copies no unnormalised weight."""
        for name, network in frozen.named_children():
            spectral.refresh(network, self.get_submodule(name))
