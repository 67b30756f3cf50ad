"""The lowest versions that pyproject.toml allows, as constraints for pip: `NAME==VERSION`, a line each."""

import re
import tomllib
from pathlib import Path

_BOUND = re.compile(r"([A-Za-z0-9._-]+)[^>]*>=([0-9.]+)")


def lowest(pyproject: str) -> list[str]:
    """One constraint for each requirement; ValueError for one without a lower bound."""
    project = tomllib.loads(pyproject)["project"]
    bounds: dict[str, str] = {}
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        found = _BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{requirement} has no lower bound")
        if bounds.setdefault(found[1], found[2]) != found[2]:
            raise ValueError(f"{found[1]} has two lower bounds")
    return sorted(f"{name}=={bound}" for name, bound in bounds.items())


if __name__ == "__main__":
    print("\n".join(lowest(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))))
