"""What is written stays written."""

import os
import sys
from pathlib import Path


def sync(path: Path) -> None:
    """Let a file, or the names in a folder, outlast a power cut.

    Raises:
        OSError: it cannot be opened, or the disk refuses.
    """
    if sys.platform == "win32" and path.is_dir():
        return  # NTFS journals renames itself, and a folder cannot be opened there
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
