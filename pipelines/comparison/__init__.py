"""Several runs side by side: what ``lpbf-evaluate`` and ``lpbf-benchmark`` write."""
