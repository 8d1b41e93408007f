"""The works that the paper's tables of methods quote, under the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping

REFERENCES: Mapping[int, str] = {
    1: "Aneja et al., A contrastive learning approach for training variational autoencoder priors, 2021",
    5: "Du & Mordatch, Implicit generation and generalization in energy-based models, 2019",
    6: "Du et al., Improved contrastive divergence training of energy based models, 2020",
    8: "Gao et al., Learning energy-based models by diffusion recovery likelihood, 2021",
    9: "Ghosh et al., From variational to deterministic autoencoders, 2019",
    11: "Grathwohl et al., Your classifier is secretly an energy based model and you should treat it like one, "
    "2019",
    12: "Grathwohl et al., No MCMC for me: amortized sampling for fast and stable training of energy-based "
    "models, 2021",
    14: "Han et al., Alternating back-propagation for generator network, 2017",
    15: "Han et al., Divergence triangle for joint training of generator model, energy-based model, and "
    "inferential model, 2019",
    18: "Ho et al., Denoising diffusion probabilistic models, 2020",
    19: "Karras et al., Progressive growing of GANs for improved quality, stability, and variation, 2017",
    20: "Karras et al., Training generative adversarial networks with limited data, 2020",
    21: "Kingma & Welling, Auto-encoding variational Bayes, 2013",
    22: "Kingma & Dhariwal, Glow: generative flow with invertible 1x1 convolutions, 2018",
    27: "Miyato et al., Spectral normalization for generative adversarial networks, 2018",
    29: "Nijkamp et al., Learning non-convergent non-persistent short-run MCMC toward energy-based model, 2019",
    31: "Nijkamp et al., Learning multi-layer latent variable model via variational optimization of short run "
    "MCMC for approximate inference, 2020",
    35: "Song & Ermon, Generative modeling by estimating gradients of the data distribution, 2019",
    37: "Tolstikhin et al., Wasserstein auto-encoders, 2017",
    40: "Xiao et al., VAEBM: a symbiosis between variational autoencoders and energy-based models, 2020",
    43: "Xie et al., Cooperative training of descriptor and generator networks, 2018",
    44: "Xie et al., Learning energy-based model with variational auto-encoder as amortized sampler, 2021",
}
