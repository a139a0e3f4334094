"""vidbench: explore video classification in notebooks, benchmark classifiers on whole data sets."""

__version__ = "0.1.0"
