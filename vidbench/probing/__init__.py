"""A linear probe: a network's pooled features, computed once and kept, and a linear head fitted on them in seconds.

`extract_features` → `fit_head` → `set_head`; `learning_curve`, `neighbours` and `suspects` read the same vectors.
"""

from vidbench.probing.features import (
    Features,
    extract_features,
    feature_network,
    head_layer,
    read_features,
    write_features,
)
from vidbench.probing.head import Head, fit_head, set_head
from vidbench.probing.tables import learning_curve, neighbours, suspects, write_suspects

__all__ = [
    "Features",
    "Head",
    "extract_features",
    "feature_network",
    "fit_head",
    "head_layer",
    "learning_curve",
    "neighbours",
    "read_features",
    "set_head",
    "suspects",
    "write_features",
    "write_suspects",
]
