"""Training a model on the cases of a store, or on the steps of their builds: what ``lpbf-train`` does."""
