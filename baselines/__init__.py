"""Peers of FLARE behind the same calling convention."""
