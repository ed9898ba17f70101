"""An engine of this process as a writer. Read ``writer`` first."""

from .writer import TorchWriter

__all__ = ["TorchWriter"]
