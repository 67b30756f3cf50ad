"""The command line."""

import sys


def main() -> None:
    """Run a command."""
    import json
    from pathlib import Path

    from scraper.app.options import Options, open_store, prepare
    from scraper.app.run import run

    data = Path(sys.argv[sys.argv.index("--data") + 1]) if "--data" in sys.argv else Path("data")
    overrides = tuple(sys.argv[i + 1] for i, a in enumerate(sys.argv) if a == "--set")
    params = dict(sys.argv[i + 1].split("=", 1) for i, a in enumerate(sys.argv) if a == "--param")
    prepared = prepare(Options(sys.argv[2], data, overrides=overrides, params=params))
    summary = run(prepared, open_store(data))
    print(json.dumps(summary))
    sys.exit(summary["exit_code"])
