"""``python -m hyperion``."""

from hyperion.cli.main import main

if __name__ == "__main__":
    main()
