"""Training and fine-tuning: from videos to a checkpoint, a report and an exported model."""

import vidbench.models  # noqa: F401  first: TensorFlow's start-up lines are held back there
from vidbench.train.plan import Plan, learning_rate
from vidbench.train.run import train_run

__all__ = ["Plan", "learning_rate", "train_run"]
