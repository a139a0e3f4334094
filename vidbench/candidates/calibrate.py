"""Temperature scaling: how sure a classifier may be (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""

import math

import numpy as np

from vidbench.metrics import calibration_error, ranking, reliability, softmax

HOTTEST = 20.0  # temperatures are looked for from 1/20 to 20


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits (N, C) are best divided by: the likelihood of the labels (N,) int is then greatest."""
    from scipy.optimize import minimize_scalar  # half a second that importing the kit must not cost

    bound = math.log(HOTTEST)

    def loss(log_temperature: float) -> float:
        return mean_log_loss(np.asarray(logits) / math.exp(log_temperature), labels)

    return math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)


def mean_log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log probability of the labels (N,) int under the logits (N, C)."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """How far confidence and accuracy lie apart, in the mean over steps of confidence, see `metrics.reliability`."""
    probabilities = softmax(np.asarray(logits))
    hits = ranking(probabilities)[:, 0] == labels
    return calibration_error(reliability(probabilities.max(axis=1), hits, bins))


def cross_fitted(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(N, C) logits, each half of the groups (N,) divided by the temperature that the other half asks for.

    What calibration is worth on pictures that did not choose the temperature. With a single group there is no other
    half: its own temperature, a little too good.
    """
    names = np.unique(groups)
    if len(names) < 2:
        return logits / fit_temperature(logits, labels)
    odd = np.isin(groups, names[::2])
    scaled = np.empty_like(logits)
    for part in (odd, ~odd):
        scaled[part] = logits[part] / fit_temperature(logits[~part], labels[~part])
    return scaled
