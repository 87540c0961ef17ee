"""Integer models: quantisation, the numpy reference (parity level L2), and C source for `device/stinger_ml`."""
