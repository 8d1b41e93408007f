"""The three networks as the three densities of the paper's Section 3.1.

    pi(x)         ∝ exp(h(x) / T)                          energy network h, Eq. 1 with f = h / T
    p(x, z)       = N(z; 0, I) N(x; g(z), sigma^2 I)       generator g, Eq. 4
    q(z given x)  = N(z; mu(x), diag exp(v(x)))            inference network, Section 2.3

Any networks of these shapes will do: nothing here knows images. h is the negative of the released
code's energy E; T is the temperature of the *training* data chain, so that log pi means the same
whichever chain drew a sample (docs/maths.md).
"""

from __future__ import annotations

from torch import Tensor, nn

from dualmcmc import densities, spectral


class Trio(nn.Module):
    """Energy network, generator and inference network.

    Arguments:
        energy: h, (B, *) to (B,).
        generator: g, (B, d) to (B, *).
        inference: x (B, *) to mean and log variance, both (B, d).
        latent_dim: d.
        sigma: standard deviation of p(x given z), > 0.
        temperature: T > 0 of the training data chain.
    """

    def __init__(
        self,
        energy: nn.Module,
        generator: nn.Module,
        inference: nn.Module,
        *,
        latent_dim: int,
        sigma: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.energy, self.generator, self.inference = energy, generator, inference
        self.latent_dim, self.sigma, self.temperature = latent_dim, sigma, temperature

    def h(self, x: Tensor) -> Tensor:
        """The energy network's output, up is likelier: (B, *) to (B,), float32."""
        out: Tensor = self.energy(x)
        return densities.at_least_float32(out)

    def log_pi(self, x: Tensor) -> Tensor:
        """log pi(x) up to one constant, h(x) / T in nats: (B, *) to (B,)."""
        return self.h(x) / self.temperature

    def g(self, z: Tensor) -> Tensor:
        """The mean of p(x given z): (B, d) to (B, *), float32."""
        out: Tensor = self.generator(z)
        return densities.at_least_float32(out)

    def log_joint(self, x: Tensor, z: Tensor, *, visible: Tensor | None = None) -> Tensor:
        """log p(x, z), Eq. 4: x (B, *), z (B, d); returns (B,). With `visible`, log p(those pixels of x, z)."""
        return densities.normal(x, self.g(z), self.sigma, where=visible) + densities.standard_normal(z)

    def q(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z given x), each (B, d), the latter within `LOG_VARIANCE_RANGE`."""
        mean, log_variance = self.inference(x)
        log_variance = densities.at_least_float32(log_variance)
        held = log_variance.clamp(*densities.LOG_VARIANCE_RANGE)
        # The bound's value with the gradient at the bound, so that what has left the range can come back.
        return densities.at_least_float32(mean), log_variance + (held - log_variance).detach()

    def log_q(self, x: Tensor, z: Tensor) -> Tensor:
        """log q(z given x): x (B, *), z (B, d); returns (B,)."""
        return densities.diagonal_normal(z, *self.q(x))

    def frozen(self) -> Trio:
        """alpha_t, theta_t, phi_t of Algorithm 1: copies for chains, without gradient; see `refresh`."""
        return Trio(
            spectral.frozen_copy(self.energy),
            spectral.frozen_copy(self.generator),
            spectral.frozen_copy(self.inference),
            latent_dim=self.latent_dim,
            sigma=self.sigma,
            temperature=self.temperature,
        )

    def refresh(self, frozen: Trio) -> None:
        """Makes a frozen copy the trio of this moment; it copies no unnormalised weight."""
        for name, network in frozen.named_children():
            spectral.refresh(network, self.get_submodule(name))
