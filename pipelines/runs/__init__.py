"""The folder of a trained model, what is in it, and the model back from it."""
