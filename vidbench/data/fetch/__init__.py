"""Bytes from elsewhere: clips of the published data sets, and single files; each verified, and noted in a manifest."""

from vidbench.data.fetch.cvdf import CVDF
from vidbench.data.fetch.download import fetch_file
from vidbench.data.fetch.kinetics import fetch_from_archives, fetch_from_youtube, fetch_kinetics
from vidbench.data.fetch.outcome import KineticsFetch
from vidbench.data.fetch.status import status_of, verify_folder

__all__ = [
    "CVDF",
    "KineticsFetch",
    "fetch_file",
    "fetch_from_archives",
    "fetch_from_youtube",
    "fetch_kinetics",
    "status_of",
    "verify_folder",
]
