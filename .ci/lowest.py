"""The lowest versions that pyproject.toml allows, as constraints for pip: `NAME==VERSION`, a line each."""

import re
import tomllib
from pathlib import Path

_BOUND = re.compile(r"([A-Za-z0-9._-]+)[^>]*>=([0-9.]+)")


def lowest(pyproject: str) -> list[str]:
    """One constraint for each requirement; ValueError for one without a lower bound."""
    project = tomllib.loads(pyproject)["project"]
    constraints = set()
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        found = _BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{requirement} has no lower bound")
        constraints.add(f"{found[1]}=={found[2]}")
    return sorted(constraints)


if __name__ == "__main__":
    print("\n".join(lowest(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))))
