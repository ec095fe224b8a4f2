"""Model packages, onnxruntime sessions, calibration."""
