"""What theory says of blind deconvolution beforehand, and of one instance."""
