#!/usr/bin/env python3
"""Streams standard input to a voxgate server as it comes, and prints what became of it.

    ffmpeg -i talk.mp3 -c:a libopus -f webm - | ./stream.py ws://127.0.0.1:8080/ws

Any format that tells itself needs nothing more; raw ones are named: --encoding mulaw --rate 8000 --channels 1.
"""

import argparse
import json
import sys

from websockets.sync.client import connect


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--encoding", default="auto")
    parser.add_argument("--rate", type=int)
    parser.add_argument("--channels", type=int)
    args = parser.parse_args()
    stated = {"encoding": args.encoding, "sample_rate": args.rate, "channels": args.channels}
    audio_format = {k: v for k, v in stated.items() if v is not None}

    with connect(args.url, subprotocols=["voxgate.v1"]) as socket:
        json.loads(socket.recv())  # connection_established comes first
        socket.send(json.dumps({"type": "audio_start", "id": "start", "format": audio_format, "ack_ms": 1000}))
        while piece := sys.stdin.buffer.read1(16384):
            socket.send(piece)
        socket.send(json.dumps({"type": "audio_end", "id": "end"}))
        for message in socket:
            said = json.loads(message)
            if said["type"] == "error":
                sys.exit(f"{said['code']}: {said['message']}")
            if said["type"] == "audio_ended":
                print(json.dumps(said))
                return 0 if said["reason"] == "end" else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
