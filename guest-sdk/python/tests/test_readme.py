"""The code of the README runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

README = Path(__file__).parent.parent / "README.md"


def test_the_code_of_the_readme_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 3
    # Type hints are looked up in the module of their class.
    module = sys.modules["readme"] = ModuleType("readme")
    try:
        for block in blocks:
            exec(compile(block, str(README), "exec"), module.__dict__)
        tests = [value for name, value in vars(module).items() if name.startswith("test_")]
        assert tests
        for test in tests:
            test()
    finally:
        del sys.modules["readme"]


def test_the_readme_names_what_the_package_exports() -> None:
    import sagabox

    text = README.read_text(encoding="utf-8")
    missing = [name for name in sagabox.__all__ if not re.search(rf"\b{name}\b", text)]
    assert missing == []
