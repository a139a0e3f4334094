"""The same evaluation over a Ray cluster: decoding tasks, model workers, and a driver that alone writes.

Plain tasks and actors, not a Ray dataset: a dataset repeats lost work without end, so that a video which takes its
worker along would never become a row, hands results on in blocks, and cannot say which videos a lost block held. Here
the driver knows of each video where it is, and hands it out again a few times at most.
"""

from vidbench.cluster.driver import ClusterScorer
from vidbench.cluster.session import check_cluster

__all__ = ["ClusterScorer", "check_cluster"]
