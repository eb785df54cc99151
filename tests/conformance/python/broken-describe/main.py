"""Fails while its manifest is made: the plugin's object is made for it."""

from sagabox import Context, RawEvent, on, saga, subject


@saga()
class Broken:
    def __init__(self) -> None:
        raise RuntimeError("broken while it describes itself")

    @on("Anything", key=subject)
    def anything(self, event: RawEvent, ctx: Context) -> None: ...
