"""From a data set to batches on the device: loaders, decoding on the device, seeds."""
