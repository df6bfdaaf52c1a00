from tests.tiny_moshi import mimi_file, tiny_checkpoint

__all__ = ["mimi_file", "tiny_checkpoint"]
