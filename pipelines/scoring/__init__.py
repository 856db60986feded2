"""How far predictions are from the truth, as metrics, plots and examples to look at."""
