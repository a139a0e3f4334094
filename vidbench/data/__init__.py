"""From bytes on a disk to clips: datasets, decoding, sampling, processing, the loader and its cache."""
