"""Readers without code: an ONNX network and a manifest that says what it takes and what its output means."""
