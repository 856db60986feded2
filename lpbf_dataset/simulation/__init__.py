"""The embedded part-scale solver: from a part surface to its residual stress and distortion."""
