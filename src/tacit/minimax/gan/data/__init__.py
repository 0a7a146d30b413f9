"""What a GAN learns from: built-in samples, CIFAR, folders of pictures, arrays."""
