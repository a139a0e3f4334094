"""Training and fine-tuning: from videos to a checkpoint, a report and an exported model."""

import vidbench.models  # noqa: F401  first: TensorFlow's start-up lines are held back there
from vidbench.train.fine_tune import History, fine_tune
from vidbench.train.plan import Plan, learning_rate
from vidbench.train.run import train_run, train_table

__all__ = ["History", "Plan", "fine_tune", "learning_rate", "train_run", "train_table"]
