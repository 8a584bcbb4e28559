"""``python -m mer.bench <name>``: one benchmark without asking how busy the machine is: its caller did."""

import json
import sys
from importlib import import_module

if __name__ == "__main__":
    print(json.dumps(import_module(f"mer.bench.{sys.argv[1]}").measure()))
