"""The Open Inference Protocol V2 over gRPC, beside HTTP in the same process."""
