"""The Open Inference Protocol V2, whatever carries it: tensors, a contract's rows, metadata."""
