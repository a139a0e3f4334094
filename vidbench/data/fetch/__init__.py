"""Bytes from elsewhere: clips of the published data sets, and single files; each verified, and noted in a manifest."""

from vidbench.data.fetch.http import fetch_file
from vidbench.data.fetch.kinetics import CVDF, KineticsFetch, fetch_from_archives, fetch_from_youtube, fetch_kinetics
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
