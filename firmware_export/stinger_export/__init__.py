"""A trained model becomes ONNX, emlearn headers and integer C, each with its parity measured."""
