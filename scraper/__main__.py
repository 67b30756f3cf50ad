"""`python -m scraper`."""

from scraper.ops.interrupts import end_at_once

end_at_once()  # first: what is loaded from here on takes a third of a second, and has nothing to tidy up

import gc  # noqa: E402
import sys  # noqa: E402

from scraper.ops.interpreter import without  # noqa: E402

# What a command imports stays until it ends; looking for garbage among it is time spent for nothing.
gc.set_threshold(500_000, 20, 50)
try:
    from scraper.cli import main
except ModuleNotFoundError as missing:
    # Before anything that we have not written: the wrong Python is told as such, not as a traceback.
    if not missing.name or missing.name.startswith("scraper"):
        raise
    print(f"error: {without(missing.name)}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    main()
