#!/usr/bin/env python3
"""A stranger's client against the real server: another language, another WebSocket library, the protocol document and nothing else.

    python3 test_clients.py PATH/TO/voxgate

Starts a server of its own on a free port, with a temporary folder for its data.
"""

import array
import base64
import hashlib
import io
import json
import math
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
import wave

from websockets.sync.client import connect

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent.parent / "fixtures"
RECV_TIMEOUT_S = 60
BINARY = None


def fixture(name):
    return (FIXTURES / name).read_bytes()


class Server:
    """`voxgate serve` on a free port."""

    def __init__(self, binary, folder=None):
        self.folder = folder or tempfile.TemporaryDirectory(prefix="voxgate-clients-")
        self.process = subprocess.Popen(
            [binary, "serve", "--bind", "127.0.0.1:0", "--data-dir", self.folder.name, "--log-level", "warn"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder.name,
        )
        ready = self.process.stdout.readline().strip()
        assert ready.startswith("listening on http://"), f"not ready: {ready!r}"
        self.http = ready.removeprefix("listening on ")
        self.ws = self.http.replace("http", "ws", 1) + "/ws"

    def get(self, path):
        with urllib.request.urlopen(self.http + path, timeout=RECV_TIMEOUT_S) as answer:
            return answer.read()

    def restart(self):
        """Stops it and starts another on the same data."""
        assert self.end() == 0, "the server did not stop as asked"
        return Server(BINARY, self.folder)

    def stop(self):
        code = self.end()
        self.folder.cleanup()
        return code

    def end(self):
        self.process.terminate()
        code = self.process.wait(timeout=40)
        self.process.stdout.close()
        return code


class Client:
    """A connection that has been greeted. Keeps what it heard."""

    def __init__(self, url, query=""):
        url += query
        self.socket = connect(url, subprotocols=["voxgate.v1"], max_size=None)
        self.heard = []
        self.hello = self.next()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def next(self):
        message = self.socket.recv(timeout=RECV_TIMEOUT_S)
        if isinstance(message, str):
            message = json.loads(message)
        self.heard.append(message)
        return message

    def until(self, kind):
        while True:
            message = self.next()
            if isinstance(message, dict):
                if message["type"] == kind:
                    return message
                assert message["type"] != "error" or kind == "error", message

    def start(self, encoding, **more):
        rate, channels = more.pop("sample_rate", None), more.pop("channels", None)
        stated = {"encoding": encoding, "sample_rate": rate, "channels": channels}
        self.say("audio_start", format={k: v for k, v in stated.items() if v is not None}, **more)
        return self.until("audio_started")

    def end(self, **fields):
        self.say("audio_end", **fields)
        return self.until("audio_ended")


def wav(data):
    """Samples and rate of a 16-bit mono WAV."""
    with wave.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2 and file.getnchannels() == 1
        samples = array.array("h", file.readframes(file.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        return samples, file.getframerate()


def s16le(data):
    samples = array.array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def mulaw(data):
    """ITU-T G.711, table 2b: what each byte stands for."""
    def one(byte):
        byte = ~byte & 0xFF
        magnitude = (((byte & 0x0F) << 3) + 0x84 << ((byte & 0x70) >> 4)) - 0x84
        return -magnitude if byte & 0x80 else magnitude
    table = [one(b) for b in range(256)]
    return array.array("h", (table[b] for b in data))


def loudness_db(samples, rate, window_s=0.02):
    """Level of each window in dBFS: what two renderings of one sound at different rates have in common."""
    n = int(rate * window_s)
    levels = []
    for at in range(0, len(samples) - n + 1, n):
        mean = sum(x * x for x in samples[at:at + n]) / n
        levels.append(10 * math.log10(mean / 32768**2 + 1e-12))
    return levels


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(BINARY)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0, "the server did not stop as asked"

    def client(self):
        return Client(self.server.ws)

    def assert_same_sound(self, recorded, rate, expected, expected_rate):
        """The same length to a window, and as loud at every moment that can be heard."""
        ours, theirs = loudness_db(recorded, rate), loudness_db(expected, expected_rate)
        self.assertLessEqual(abs(len(ours) - len(theirs)), 1)
        pairs = [(a, b) for a, b in zip(ours, theirs) if b > -45]
        self.assertGreater(len(pairs), 10)
        mean = sum(abs(a - b) for a, b in pairs) / len(pairs)
        self.assertLess(mean, 0.5, "another sound, or at another time")

    def recording(self, ended):
        """Downloads what `audio_ended` names, and holds it to what it says."""
        told = ended["recording"]
        data = self.server.get(told["url"])
        self.assertEqual(len(data), told["bytes"])
        self.assertEqual(hashlib.sha256(data).hexdigest(), told["sha256"])
        samples, rate = wav(data)
        self.assertEqual(len(samples), ended["output_samples"])
        self.assertEqual(rate, 16000)
        return data, samples

    def test_greets_before_anything_else(self):
        with self.client() as client:
            self.assertEqual(client.socket.subprotocol, "voxgate.v1")
            self.assertEqual(client.hello["type"], "connection_established")
            self.assertEqual(client.hello["server"]["name"], "voxgate")
            self.assertEqual(client.hello["roles"], ["admin"])  # from loopback, without authentication
            client.say("ping", id="p", payload="are you there")
            pong = client.until("pong")
            self.assertEqual((pong["payload"], pong["reply_to"]), ("are you there", "p"))

    def test_takes_a_browsers_chunks_without_a_word_before(self):
        data = fixture("recorders/chromium-opus.webm")
        sizes = json.loads(fixture("recorders/chromium-opus.webm.sizes.json"))
        self.assertEqual(sum(sizes), len(data))
        with self.client() as client:
            at = 0
            for size in sizes:
                client.socket.send(data[at:at + size])
                at += size
            started = client.until("audio_started")
            self.assertEqual(started["output"], {"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1})
            ended = client.end()
            received = [m["received_bytes"] for m in client.heard if isinstance(m, dict) and m["type"] == "audio_received"]
        self.assertEqual(received, sorted(received), "acknowledgements went back")
        self.assertLessEqual(max(received, default=0), len(data))
        self.assertEqual((ended["reason"], ended["received_bytes"], ended["dropped_ms"]), ("end", len(data), 0))
        _, samples = self.recording(ended)
        self.assert_same_sound(samples, 16000, s16le(fixture("expected/chromium-opus.webm.s16")), 48000)

    def test_takes_a_telephones_frames(self):
        data = fixture("audio/phone8.mulaw")
        with self.client() as client:
            client.start("mulaw", sample_rate=8000, channels=1, stream_id="phone")
            for at in range(0, len(data), 160):
                client.socket.send(data[at:at + 160])
            ended = client.end(stream_id="phone")
        self.assertEqual((ended["duration_ms"], ended["output_samples"]), (1500, 24000))
        _, samples = self.recording(ended)
        self.assert_same_sound(samples, 16000, mulaw(data), 8000)

    def test_base64_sent_twice_is_the_same_as_binary_sent_once(self):
        data = fixture("audio/studio48.wav")
        with self.client() as client:
            client.start("wav")
            client.socket.send(data)
            binary, _ = self.recording(client.end())
            client.start("auto", stream_id="b")
            at = 0
            while at < len(data):
                piece = base64.b64encode(data[at:at + 5001]).decode()
                for _ in range(2):  # the second is a repetition by its offset, and skipped
                    client.say("audio_data", stream_id="b", data=piece.rstrip("=" * (at % 2)), offset=at)
                at += 5001
            client.say("audio_data", id="gap", stream_id="b", data="AAAA", offset=at + 1_000_000)
            gap = client.until("error")
            self.assertEqual((gap["code"], gap["reply_to"]), ("AUDIO_GAP", "gap"))
            ended = client.end(stream_id="b")
            self.assertEqual(ended["received_bytes"], len(data))
            text, _ = self.recording(ended)
        self.assertEqual(binary, text)

    def test_two_tagged_streams_share_a_socket(self):
        one, other = fixture("audio/live16.mp3"), fixture("audio/live-opus.ogg")
        with self.client() as client:
            first = client.start("auto", framing="tagged", stream_id="one")["stream_index"]
            second = client.start("auto", framing="tagged", stream_id="other")["stream_index"]
            for at in range(0, max(len(one), len(other)), 700):
                for index, data in ((first, one), (second, other)):
                    if at < len(data):
                        client.socket.send(struct.pack("<I", index) + data[at:at + 700])
            for name, data in (("one", one), ("other", other)):
                ended = client.end(stream_id=name)
                self.assertEqual((ended["stream_id"], ended["received_bytes"]), (name, len(data)))
                self.assertAlmostEqual(ended["duration_ms"], 1500, delta=100)  # MP3 pads its last frame

    def test_a_listener_hears_what_is_recorded(self):
        data = fixture("audio/mono16.s16le")
        with self.client() as speaker, self.client() as listener:
            uid = speaker.start("pcm_s16le", sample_rate=16000, channels=1)["stream_uid"]
            listener.say("listen_start", stream_id=uid)
            stream = listener.until("listening")["streams"][0]
            for at in range(0, len(data), 641):
                speaker.socket.send(data[at:at + 641])
            ended = speaker.end()
            heard, last = bytearray(), False
            while not last:
                frame = listener.next()
                if isinstance(frame, bytes):
                    version, kind, index, flags, position = struct.unpack_from("<BBHIQ", frame)
                    self.assertEqual((version, kind, index), (1, 1, stream["stream_index"]))
                    self.assertEqual((position * 2, flags & 1), (len(heard), 0), "a hole")
                    heard += frame[16:]
                    last = bool(flags & 2)
        self.assertEqual(bytes(heard), data, "16 kHz mono PCM goes through as it is")
        _, samples = self.recording(ended)
        self.assertEqual(samples, s16le(data))

    def test_a_fault_leaves_the_socket_as_it_is(self):
        with self.client() as client:
            client.socket.send("{nonsense")
            self.assertEqual(client.until("error")["code"], "INVALID_JSON")
            client.say("audio_end")
            self.assertEqual(client.until("error")["code"], "STREAM_NOT_FOUND")
            client.say("text", id="t", text="hello")
            self.assertEqual(client.until("response")["reply_to"], "t")

    def test_three_clients_talk_and_a_fourth_reads_it_after_a_restart(self):
        server = Server(BINARY)
        names = ["ann", "bob", "eve"]
        with Client(server.ws, "/ann") as ann, Client(server.ws, "/bob") as bob, Client(server.ws, "/eve") as eve:
            for n, client in enumerate((ann, bob, eve)):
                client.say("join_conversation", id="j", conversation_id="hall")
                joined = client.until("conversation_joined")
                self.assertEqual([m["client_id"] for m in joined["members"]], names[: n + 1])
            self.assertEqual(ann.until("presence_changed")["member"]["client_id"], "bob")
            bob.say("typing", conversation_id="hall", active=True)
            self.assertTrue(ann.until("typing")["active"])
            bob.say("message", id="m1", conversation_id="hall", content={"text": "good evening"})
            self.assertEqual(bob.until("message_accepted")["message_seq"], 1)
            for other in (ann, eve):
                heard = other.until("message")
                self.assertEqual((heard["from"]["client_id"], heard["content"]["text"]), ("bob", "good evening"))
            request = urllib.request.Request(
                server.http + "/api/conversations/hall/messages", json.dumps({"content": "from outside"}).encode()
            )
            with urllib.request.urlopen(request, timeout=RECV_TIMEOUT_S) as answer:
                self.assertEqual((answer.status, json.load(answer)["message_seq"]), (201, 2))
            self.assertEqual(eve.until("message")["content"], "from outside")
            eve.say("broadcast_request", content="to all", exclude=[ann.hello["connection_id"]])
            self.assertEqual(eve.until("broadcast_confirmation")["delivered"], 1)
            self.assertEqual(bob.until("broadcast")["from"]["client_id"], "eve")
        server = server.restart()
        with Client(server.ws, "/zoe?conversation_id=hall") as zoe:
            self.assertEqual(zoe.until("conversation_joined")["last_message_seq"], 2)
            zoe.say("history_request", conversation_id="hall", limit=1)
            page = zoe.until("history")
            self.assertEqual(([m["content"] for m in page["messages"]], page["more"]), ([{"text": "good evening"}], True))
            zoe.say("history_request", conversation_id="hall", after_seq=1)
            page = zoe.until("history")
            self.assertEqual(([m["content"] for m in page["messages"]], page["more"]), (["from outside"], False))
        self.assertEqual(server.stop(), 0)

    def test_decodes_a_file_in_one_request(self):
        request = urllib.request.Request(self.server.http + "/api/decode?output_rate=8000", fixture("audio/studio48.flac"))
        with urllib.request.urlopen(request, timeout=RECV_TIMEOUT_S) as answer:
            samples, rate = wav(answer.read())
        self.assertEqual((rate, len(samples)), (8000, 12000))
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(self.server.http + "/api/decode", b"no audio at all" * 99))
        with refused.exception as answer:
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertIn("code", json.load(answer))

    @unittest.skipUnless(shutil.which("ffmpeg"), "ffmpeg is not installed")
    def test_ffmpeg_can_be_piped_in(self):
        source = FIXTURES / "audio" / "studio48.flac"
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-c:a", "libopus", "-f", "webm", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as ffmpeg:
            said = subprocess.run(
                [sys.executable, HERE / "stream.py", self.server.ws], stdin=ffmpeg.stdout, capture_output=True, text=True
            )
        self.assertEqual((ffmpeg.returncode, said.returncode), (0, 0), said.stderr)
        ended = json.loads(said.stdout)
        self.assertAlmostEqual(ended["duration_ms"], 1500, delta=30)
        self.recording(ended)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: test_clients.py PATH/TO/voxgate")
    BINARY = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=2)
