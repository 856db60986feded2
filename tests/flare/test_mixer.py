"""What a mixer stores; what it computes is tested with the whole model."""

import torch

from flare import FLAREConfig, FLAREMixer

CONFIG = FLAREConfig(3, 1, channels=12, num_heads=3, num_latents=5)


def test_latent_queries_are_the_stored_parameter_in_memory_order() -> None:
    mixer = FLAREMixer(CONFIG)
    assert mixer.latent_q.shape == (12, 5)
    assert mixer.latent_queries().shape == (3, 5, 4)
    assert torch.equal(mixer.latent_queries().flatten(), mixer.latent_q.flatten())


def test_shared_latent_queries_are_stored_once() -> None:
    mixer = FLAREMixer(FLAREConfig(3, 1, channels=12, num_heads=3, num_latents=5, shared_latents=True))
    assert mixer.latent_q.shape == (4, 5)
    assert (mixer.latent_queries() == mixer.latent_queries()[:1]).all()


def test_initial_latent_queries_have_published_spread() -> None:
    latent_q = FLAREMixer(FLAREConfig(3, 1)).latent_q
    assert abs(latent_q.std().item() - 0.1) < 0.005
    assert abs(latent_q.mean().item()) < 0.005
