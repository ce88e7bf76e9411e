"""A program for either line of globus-sdk: the answers of Globus Compute that the SDK has recorded, as JSON.

[version, call, case, method, path, answer] of each; the ids in paths and answers are the same ones throughout.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import types


def main() -> None:
    sys.modules["responses"] = types.ModuleType("responses")
    matchers = types.ModuleType("responses.matchers")
    matchers.__dict__["__getattr__"] = lambda name: lambda *args, **kwargs: None
    sys.modules["responses.matchers"] = matchers
    import globus_sdk

    package = "globus_sdk._testing" if globus_sdk.__version__.startswith("3.") else "globus_sdk.testing"
    rows = []
    for version in ("v2", "v3"):
        data = importlib.import_module(f"{package}.data.compute.{version}")
        for module in pkgutil.iter_modules(data.__path__):
            responses = importlib.import_module(f"{data.__name__}.{module.name}").RESPONSES
            for case, recorded in responses._data.items():
                rows.append([version, module.name, case, recorded.method, recorded.path, recorded.json])
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
