"""Bytes from elsewhere: clips of the published data sets, and single files; each verified, and noted in a manifest."""

from vidbench.data.fetch.kinetics import CVDF, fetch_file, fetch_kinetics

__all__ = ["CVDF", "fetch_file", "fetch_kinetics"]
