"""From what a person has to tensors and back, as a package's processing document says."""
