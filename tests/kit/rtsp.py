"""An RTSP client written from RFC 2326 and RFC 3550 alone: many sessions at once, and when each packet came.

    python3 rtsp.py URL SESSIONS SECONDS tcp|udp [AT]

They begin at second AT of the film, or here and there in its first twenty seconds. Prints one JSON object: how much later packets came than by the clock of their own session (ms), how long the first packet of each took after
PLAY (ms), and what was received. The clock of a session is the time stamps of its sound, whose frames are sent when they are shown; it is
set by the packet that came soonest by it.
"""

import asyncio
import json
import struct
import sys
import time
from urllib.parse import urlsplit


class Session:
    def __init__(self, url: str, transport: str, start: float):
        self.url, self.transport, self.start = url, transport, start
        # When each packet came, of which stream, its head, and its length: looked at when all is over.
        self.came: list[tuple[float, int, bytes, int]] = []
        self.clocks: list[int] = []
        self.stamps: list[int] = []
        self.sound = 0

    async def ask(self, method: str, url: str, *lines: str) -> tuple[str, str]:
        """An answer's head and body; packets in between are not for us yet."""
        self.number += 1
        head = "\r\n".join([f"{method} {url} RTSP/1.0", f"CSeq: {self.number}", *lines, "", ""])
        self.writer.write(head.encode())
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = [line.split(":")[1] for line in answer.split("\r\n") if line.lower().startswith("content-length")]
        body = await self.reader.readexactly(int(length[0])) if length else b""
        if " 200 " not in answer.split("\r\n")[0]:
            raise ValueError(f"{method} was answered with {answer.splitlines()[0]}")
        return answer, body.decode()

    def judge(self) -> None:
        """What the packets say: bytes, losses, when the first came, and when those of the sound did, beside their time in the film."""
        self.packets, sequences, self.lost = [], {}, 0
        self.bytes = sum(length for *_, length in self.came)
        rtp = [(when, lane, head) for when, lane, head, _ in self.came if head[1] & 0x7F not in range(72, 77)]
        self.first = rtp[0][0] - self.asked
        for when, lane, head in rtp:
            sequence, stamp = struct.unpack(">HI", head[2:8])
            self.lost += (sequence - sequences.get(lane, sequence - 1) - 1) & 0xFFFF
            sequences[lane] = sequence
            if lane == self.sound:
                passed = (stamp - self.stamps[lane] + 2**31) % 2**32 - 2**31
                self.packets.append((when, passed / self.clocks[lane]))

    async def run(self, seconds: float) -> None:
        place = urlsplit(self.url)
        self.number = 0
        self.reader, self.writer = await asyncio.open_connection(place.hostname, place.port)
        _, text = await self.ask("DESCRIBE", self.url, "Accept: application/sdp")
        media = text.split("\r\nm=")[1:]
        self.sound = next((number for number, part in enumerate(media) if part.startswith("audio")), 0)
        lines = [line for part in media for line in part.split("\r\n")]
        self.clocks = [int(line.split("/")[1]) for line in lines if line.startswith("a=rtpmap:")]
        tracks = [line.split("control:")[1] for line in lines if line.startswith("a=control:track")]
        session: list[str] = []
        for lane, track in enumerate(tracks):
            way = f"RTP/AVP/TCP;unicast;interleaved={2 * lane}-{2 * lane + 1}"
            if self.transport == "udp":
                rtp, rtcp = [await self.port(lane) for _ in range(2)]
                way = f"RTP/AVP;unicast;client_port={rtp}-{rtcp}"
            answer, _ = await self.ask("SETUP", f"{self.url}/{track}", f"Transport: {way}", *session)
            session = [line.split(";")[0] for line in answer.split("\r\n") if line.startswith("Session:")]
        self.asked = time.monotonic()
        answer, _ = await self.ask("PLAY", self.url, *session, f"Range: npt={self.start}-")
        self.stamps = [int(part.split("rtptime=")[1].split("\r\n")[0]) for part in answer.split("RTP-Info:")[1].split(",")]
        end = self.asked + seconds
        while time.monotonic() < end:
            if self.transport == "udp":
                await asyncio.sleep(0.2)
                continue
            head = await self.reader.readexactly(4)
            data = await self.reader.readexactly(struct.unpack(">H", head[2:])[0])
            if head[1] % 2 == 0:
                self.came.append((time.monotonic(), head[1] // 2, data[:12], len(data)))
        self.writer.close()

    async def port(self, lane: int) -> int:
        came = self.came

        class Port(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, _address) -> None:
                came.append((time.monotonic(), lane, data[:12], len(data)))

        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Port, local_addr=("127.0.0.1", 0))
        return transport.get_extra_info("sockname")[1]


async def main() -> None:
    url, count, seconds, transport = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    at = float(sys.argv[5]) if len(sys.argv) > 5 else None
    sessions = [Session(url, transport, number % 10 * 2 if at is None else at) for number in range(count)]

    async def later(number: int, session: Session) -> None:
        # Players do not all come at the same millisecond.
        await asyncio.sleep(number * 0.02)
        await session.run(seconds)

    await asyncio.gather(*(later(number, session) for number, session in enumerate(sessions)))
    late: list[float] = []
    for session in sessions:
        session.judge()
        zero = min(when - film for when, film in session.packets)
        late += [(when - film - zero) * 1000 for when, film in session.packets]
    late.sort()
    firsts = sorted(session.first * 1000 for session in sessions)
    told = {
        "packets": len(late), "lost": sum(session.lost for session in sessions),
        "mbit_per_s": sum(session.bytes for session in sessions) * 8 / seconds / 1e6,
        "late_p50": late[len(late) // 2], "late_p999": late[int(len(late) * 0.999)], "late_max": late[-1],
        "first_p50": firsts[len(firsts) // 2], "first_max": firsts[-1],
    }
    print(json.dumps(told))


asyncio.run(main())
