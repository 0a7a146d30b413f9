"""Two signals from their convolution: blind deconvolution and demixing."""
