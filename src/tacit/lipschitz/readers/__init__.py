"""Networks from PyTorch modules, programs and ONNX files, each import checked."""
