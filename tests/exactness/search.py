"""Lets atheris look for bytes that break what `fuzz.py` says must hold.

    python tests/exactness/search.py caller [libFuzzer's options]      # or origin

What it finds interesting is kept in `build/fuzz/`; what breaks something is left beside it, to be mended
and moved to `seeds/`. Nothing here runs in `make test`: atheris is not installed for that.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["proxy.wire"]):
    from exactness import fuzz


def main() -> None:
    name, *options = sys.argv[1:]
    target, corpus = fuzz.TARGETS[name]
    found = Path("build/fuzz") / name
    found.mkdir(parents=True, exist_ok=True)
    for number, raw in enumerate(corpus()):
        (found / f"case-{number}").write_bytes(b"\0\0" + raw)
    arguments = [sys.argv[0], *options, str(found), str(fuzz.SEEDS / name)]
    atheris.Setup(arguments, lambda data: fuzz.run(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
