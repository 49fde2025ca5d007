"""Decodes what is at an address with the libav that PyAV brings, which is newer than Debian's ffmpeg: `libav.py ADDRESS [OPTION=VALUE ...] [jump=SECONDS]`.

Each line is a frame: its stream (0 pictures, 1 sound), its time in seconds, a hash of what was decoded. After a jump the pictures of one second are told.
"""

import hashlib
import sys

import av


def main(address: str, *pairs: str) -> None:
    options = dict(pair.split("=", 1) for pair in pairs)
    jump = options.pop("jump", None)
    with av.open(address, options=options, timeout=20) as film:
        streams = [film.streams.video[0], *film.streams.audio[:1]]
        if jump is not None:
            film.seek(int(float(jump) * av.time_base))
        told = 0
        for packet in film.demux(streams):
            for frame in packet.decode():
                planes = b"".join(bytes(plane) for plane in frame.planes)
                print(int(packet.stream.type == "audio"), frame.time if frame.time is not None else "nan", hashlib.md5(planes).hexdigest())
                told += packet.stream.type == "video"
            if jump is not None and told >= 25:
                return


main(*sys.argv[1:])
