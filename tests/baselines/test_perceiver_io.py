import torch
from torch.testing import assert_close

from baselines.perceiver_io import PerceiverIO, PerceiverIOConfig


def test_agrees_with_the_equations() -> None:
    """Encoder and decoder of two heads with explicit matrices of scores."""
    torch.manual_seed(0)
    model = PerceiverIO(
        PerceiverIOConfig(3, 2, channels=8, num_blocks=1, num_heads=2, num_latents=5)
    ).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    encoder, decoder = model.encoder, model.decoder
    x_NC = torch.randn(7, 3, dtype=torch.float64)

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        heads = [(q[:, c : c + 4] @ k[:, c : c + 4].T / 2).softmax(dim=1) @ v[:, c : c + 4] for c in (0, 4)]
        return torch.cat(heads, dim=1)

    h = model.in_proj(x_NC)
    normed = encoder.norm(h)
    z = encoder.out_proj(attention(encoder.latents, encoder.k_proj(normed), encoder.v_proj(normed)))
    z = model.latent_norm(model.blocks(z[None])[0])
    y = attention(decoder.q_proj(model.node_norm(h)), decoder.k_proj(z), decoder.v_proj(z))
    assert_close(model(x_NC[None])[0], model.out_proj(decoder.out_proj(y)))


def test_latents_cost_what_they_hold() -> None:
    sizes = [
        sum(p.numel() for p in PerceiverIO(PerceiverIOConfig(3, 1, num_latents=m)).parameters())
        for m in (512, 1024)
    ]
    assert sizes[1] - sizes[0] == 512 * 128
