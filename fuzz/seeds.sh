#!/bin/sh
# Makes seeds/ again: the beginnings of the fixtures, and small whole files by ffmpeg where the index stands at the end.
set -eu
cd "$(dirname "$0")"
from=../fixtures
# What a fuzzer found once is kept.
find seeds -type f ! -name 'finding-*' -delete
mkdir -p seeds

head_of() { # target bytes files...
    target=$1 bytes=$2
    shift 2
    mkdir -p "seeds/$target"
    for file; do head -c "$bytes" "$from/$file" >"seeds/$target/$(basename "$file")"; done
}
# A tenth of a second: whole, so that it has its end. Arguments: target, name, ffmpeg's output options.
whole() {
    target=$1 name=$2
    shift 2
    mkdir -p "seeds/$target"
    ffmpeg -nostdin -v error -y -ss 0.5 -t 0.1 -i $from/recorders/speech48.wav -bitexact "$@" "seeds/$target/$name"
}

head_of wav 1500 audio/studio48.wav audio/studio48-f32.wav audio/studio48-rf64.wav audio/phone8-mulaw.wav audio/adpcm.wav audio/live48.wav
head_of aiff 1500 audio/studio48.aiff audio/studio48-s24.aiff
head_of caf 1500 audio/studio48.caf audio/studio48-f32.caf
whole caf alac.caf -ar 16000 -c:a alac
head_of flac 6000 audio/live16.flac audio/studio48.flac
whole flac whole.flac -ar 16000
head_of mp3 2500 audio/live16.mp3 audio/vbr44.mp3 audio/studio48.mp2 audio/studio48.mp1 audio/free48.mp3
head_of adts 2500 audio/mono16.aac audio/studio48.aac audio/he-aac.aac audio/he-aac-v2.aac audio/surround6.aac audio/surround8.aac
head_of ogg 4500 audio/live-opus.ogg audio/studio48-vorbis.ogg recorders/firefox-opus.ogg audio/surround-opus.ogg
head_of ogg 5200 audio/surround-vorbis.ogg
head_of ogg 9000 audio/studio44-flac.ogg
head_of webm 3500 audio/live-opus.webm audio/restarted-opus.webm recorders/chromium-opus.webm recorders/firefox-opus.webm recorders/chromium-pcm.webm
head_of webm 5000 audio/studio48-vorbis.webm audio/surround-vorbis.webm
head_of mp4 4000 audio/frag-aac.mp4 audio/frag-he-aac.mp4 audio/frag-opus.mp4 audio/edited-frag.mp4 audio/faststart-aac.m4a recorders/chromium-opus.mp4
whole mp4 tail-aac.m4a -c:a aac
whole mp4 tail-alac.m4a -ar 16000 -c:a alac
whole mp4 tail-flac.mp4 -ar 16000 -c:a flac -strict -2
head_of sniff 2500 audio/live-opus.ogg audio/live-opus.webm audio/frag-aac.mp4 audio/live16.mp3 audio/mono16.aac audio/live16.flac audio/live48.wav audio/studio48.aiff audio/studio48.caf

# Packets of an Ogg file behind their lengths, messages, a session's script, frames, settings.
python3 - <<'PY'
import os, struct

def write(target, name, data):
    os.makedirs(f"seeds/{target}", exist_ok=True)
    with open(f"seeds/{target}/{name}", "wb") as f:
        f.write(data)

def packets(path):
    data, at, packet = open(path, "rb").read(), 0, b""
    while data[at:at + 4] == b"OggS":
        count = data[at + 26]
        lacing = data[at + 27:at + 27 + count]
        at += 27 + count
        for n in lacing:
            packet += data[at:at + n]
            at += n
            if n < 255:
                yield packet
                packet = b""

for name in ("live-opus", "voip-opus"):
    it = list(packets(f"../fixtures/audio/{name}.ogg"))[2:14]
    write("opus", name, b"".join(struct.pack("<H", len(p)) + p for p in it))

write("message", "audio.jsonl", b"""{"type":"audio_start","id":"1","stream_id":"mic","format":{"encoding":"pcm_s16le","sample_rate":48000,"channels":2},"output":{"sample_rate":16000,"channels":"source"},"ack_ms":200,"record":true,"framing":"tagged","overflow":"drop_oldest","conversation_id":"c"}
{"type":"audio_data","data":"AAECAwQFBgc=","stream_id":"mic","offset":0}
{"id":"2","data":"AAECAwQFBgc","type":"audio_data","offset":4}
{"type":"audio_data","data":"\\u0041AEC","format":{"encoding":"mulaw","sample_rate":8000,"channels":1},"stream_id":"phone"}
{"type":"audio_flush","id":"3"}
{"type":"audio_end","stream_id":"mic","id":"4"}
{"type":"audio_cancel"}
""")
write("message", "rest.jsonl", b"""{"type":"ping","payload":"x","id":"1"}
{"type":"pong"}
{"type":"text","text":"hello","conversation_id":"c"}
{"type":"status_request"}
{"type":"connection_info_request","connection_id":"0198c0de-0000-7000-8000-000000000000"}
{"type":"get_connection_status"}
{"type":"health_check"}
{"type":"listen_start","stream_id":"mic"}
{"type":"listen_stop","listener_id":"1"}
{"type":"subscribe_events","events":["speech","levels","metrics"]}
{"type":"unsubscribe_events","events":["presence"]}
{"type":"authenticate","token":"a.b.c"}
{"type":"nonsense","x":[[[[{"y":{}}]]]]}
""")

write("session", "one", bytes([0, 0, 1, 0, 255, 40, 1, 0, 20, 60, 3, 20, 1, 0, 50, 30, 1, 0, 32, 30, 5, 0, 6, 0]))
write("session", "many", bytes([3, 9, 0, 4, 0, 5, 4, 1, 30, 0, 1, 1, 40, 9, 5, 8, 4, 2, 20, 7, 0, 7, 1, 5, 1, 6, 0, 0, 13, 2, 1, 33, 79]))
write("resume", "known", bytes([1, 0, 0, 1, 0, 40, 4, 4, 5, 2, 4, 4, 8, 3, 6, 1, 1, 0, 9, 3, 0, 40, 50, 5, 0, 6, 7, 4]))
write("resume", "tagged", bytes([1, 0, 1, 0, 1, 1, 0, 30, 2, 1, 50, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 6, 0, 3, 1, 10, 59, 8, 2, 5, 0, 8, 3, 4, 6, 7]))
write("resume", "stranger", bytes([0, 0, 0, 7, 100, 0, 1, 7, 100, 7, 199]))

def frame(op, payload, fin=True, mask=b"\x11\x22\x33\x44", rsv=0):
    head = bytes([(0x80 if fin else 0) | rsv | op])
    bit = 0x80 if mask else 0
    n = len(payload)
    head += bytes([bit | n]) if n < 126 else bytes([bit | 126]) + struct.pack(">H", n)
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        head += mask
    return head + payload

write("websocket", "client", b"\x00" + frame(1, b'{"type":"ping"}') + frame(2, bytes(300)) + frame(9, b"p")
      + frame(1, b"a", fin=False) + frame(9, b"") + frame(0, "\u00fc".encode()) + frame(8, struct.pack(">H", 1000) + b"bye"))
write("websocket", "server", b"\x01" + frame(1, b"{}", mask=b"") + frame(2, bytes(64), fin=False, mask=b"") + frame(10, b"x", mask=b"")
      + frame(0, b"", mask=b"") + frame(8, b"", mask=b""))

write("config", "some", b"""SERVER__BIND=127.0.0.1:9000
SERVER__ALLOWED_ORIGINS=["https://a.example"]
SERVER__TRUSTED_PROXIES=["10.0.0.0/8","::1"]
AUDIO__OUTPUT_RATE_HZ=24000
AUDIO__QUEUE_MS=500
LIMITS__MESSAGE_BYTES=65536
CONNECTIONS__ON_DUPLICATE=replace
RECORDING__ENABLED=false
""")
PY
du -sh seeds
