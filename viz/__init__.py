"""PyVista scenes of cases."""
