"""`python -m fallback_mx` is the `fallback-mx` program."""

from fallback_mx.cli import main

if __name__ == "__main__":
    main()
