"""Models of the build over time, which predict the steps of a case."""
