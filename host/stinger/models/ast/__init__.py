"""The Audio Spectrogram Transformer on sensor windows: examples, training, storing, predicting.

Everything heavy (PyTorch, transformers, datasets) comes with the extra ``ast`` and is imported only where it is used.
"""
