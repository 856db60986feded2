"""Readers of raw simulations: each source yields cases, or a reason why not."""
