"""Mesh kernels: edges and cell quality of hexahedral meshes."""
