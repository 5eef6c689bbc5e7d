"""Files of strangers as inert data: pickles, PyTorch's files and TorchScript archives become plain
containers, records and tensors that are checked before they are read. Nothing in a file is run."""
