"""The atlas: its file, its parts and its look-ups. Needs numpy, h5py and faiss; never torch."""
