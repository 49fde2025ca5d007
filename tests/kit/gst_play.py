"""A player made of GStreamer's own parts (playbin over rtspsrc), which does what it is told and prints what it saw, one JSON object a line.

Run by Debian's own Python, which has the bindings: gst_play.py URL tcp|udp STEP..., where a step is `play:SECONDS`, `seek:TO`, `pause:SECONDS`
or `end:SECONDS`. Of each step it tells the first and last time of the film that was shown, by kind, how many frames, and how long the
first one took.
"""

import json
import sys
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

KEY_SEEK = Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT


class Player:
    def __init__(self, url: str, transport: str):
        Gst.init(None)
        self.seen: list[tuple[str, float, float]] = []
        self.bin = Gst.ElementFactory.make("playbin", "player")
        self.bin.set_property("uri", url)
        self.bin.set_property("video-sink", self.sink("video"))
        self.bin.set_property("audio-sink", self.sink("audio"))
        self.bin.connect("source-setup", self.source, {"tcp": 4, "udp": 1}[transport])
        self.bus = self.bin.get_bus()

    def sink(self, kind: str):
        sink = Gst.ElementFactory.make("fakesink", kind)
        sink.set_property("sync", True)
        sink.set_property("signal-handoffs", True)
        sink.connect("handoff", self.shown, kind)
        return sink

    def shown(self, _sink, buffer, pad, kind: str) -> None:
        segment = pad.get_sticky_event(Gst.EventType.SEGMENT, 0).parse_segment()
        self.seen.append((kind, segment.to_stream_time(Gst.Format.TIME, buffer.pts) / Gst.SECOND, time.monotonic()))

    @staticmethod
    def source(_bin, source, protocols: int) -> None:
        source.set_property("protocols", protocols)
        source.set_property("latency", 200)

    def state(self, state) -> None:
        self.bin.set_state(state)
        result = self.bin.get_state(10 * Gst.SECOND)[0]
        if result == Gst.StateChangeReturn.FAILURE:
            raise SystemExit(json.dumps({"trouble": f"it does not become {state.value_nick}"}))

    def wait(self, seconds: float, first: bool = False) -> bool:
        """Whether the film ended. With `first` it waits for the first picture and then for so long."""
        end = time.monotonic() + seconds + (10 if first else 0)
        while time.monotonic() < end:
            if first and any(kind == "video" for kind, *_ in list(self.seen)):
                first, end = False, time.monotonic() + seconds
            message = self.bus.timed_pop(20 * Gst.MSECOND)
            if message and message.type == Gst.MessageType.ERROR:
                raise SystemExit(json.dumps({"trouble": str(message.parse_error())}))
            if message and message.type == Gst.MessageType.EOS:
                return True
        return False

    def step(self, action: str, value: float) -> dict:
        began, self.seen, over = time.monotonic(), [], False
        if action == "play":
            self.state(Gst.State.PLAYING)
            over = self.wait(value, first=True)
        elif action == "pause":
            self.state(Gst.State.PAUSED)
            self.seen = []
            self.wait(value)
        elif action == "seek":
            self.bin.seek_simple(Gst.Format.TIME, KEY_SEEK, int(value * Gst.SECOND))
            self.seen, began = [], time.monotonic()
            over = self.wait(1.0, first=True)
        elif action == "end":
            over = self.wait(value)
        seen, told = list(self.seen), {"step": action, "to": value, "over": over}
        for kind in ("video", "audio"):
            own = [(film, when) for name, film, when in seen if name == kind]
            if own:
                told[kind] = {"frames": len(own), "first": own[0][0], "last": max(film for film, _ in own), "took": own[0][1] - began}
        told["duration"] = self.bin.query_duration(Gst.Format.TIME)[1] / Gst.SECOND
        return told


def main() -> None:
    player = Player(sys.argv[1], sys.argv[2])
    for step in sys.argv[3:]:
        action, value = step.split(":")
        print(json.dumps(player.step(action, float(value))), flush=True)
    player.bin.set_state(Gst.State.NULL)


main()
