"""The message for a package that is not installed: most often this is the wrong Python."""

import sys
from pathlib import Path


def without(package: str) -> str:
    """What to say where a package that we need is not installed: most often another Python has it."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        own = folder / ".venv"
        if (own / "bin" / "python").exists() and own.resolve() != Path(sys.prefix).resolve():
            shown = Path(".venv") if folder == Path.cwd() else own
            return f"{package} is not installed: this is {sys.executable}; use {shown / 'bin' / 'python'}"
    return (
        f"{package} is not installed for {sys.executable}: install the project "
        f"({sys.executable} -m pip install -e .), or use the Python that has it"
    )
