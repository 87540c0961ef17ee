"""Uploading: off without a key, to a server on this machine with one, and one line for whatever goes wrong."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cli_in_process import run

from stinger.errors import InputError, LinkError, UsageError
from stinger.workflow import upload
from stinger.workflow.progress import Progress
from stinger.workflow.upload import KEY, Nstrumenta, nstrumenta, upload_files, uploader_from_environment

SECRET = "s3cr3t-of-the-project"  # noqa: S105 - of no server

#: An answer that comes byte by byte, each soon enough after the last.
DRIP = object()


class Server(ThreadingHTTPServer):
    """An Nstrumenta server that does what its `script` says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.script = {}
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that gives up is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    def answer(self, method):
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((method, self.path, headers, self.rfile.read(length)))
        code, content = self.server.script.get(f"{method} {self.path.partition('?')[0]}", (404, b"?"))
        if content is None:
            time.sleep(5)
        self.send_response(code)
        for name, value in (content if isinstance(content, dict) else {}).items():
            self.send_header(name, value)
        body = content if isinstance(content, bytes) else b""
        if content is DRIP:
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b" ")
                time.sleep(0.05)
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.answer("POST")

    def do_PUT(self):
        self.answer("PUT")

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture
def server():
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def key_of(address):
    return f"{SECRET}:{base64.b64encode(address.encode()).decode()}"


def tool_answer(server, **fields):
    place = {"uploadUrl": f"{server.address}/put?signature=abc", "filePath": "projects/p/data/x.mcap"} | fields
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": place}}).encode()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.mcap"
    path.write_bytes(b"spectrograms" * 1000)
    return path


def sent(uploader, path, **options):
    return upload_files([path], uploader, Progress(), **options)


def test_without_a_key_there_is_no_uploader_and_nothing_is_sent(file, monkeypatch):
    assert uploader_from_environment({}) is None
    assert uploader_from_environment({KEY: "  "}) is None
    monkeypatch.delenv(KEY, raising=False)
    code, out, [line] = run("magnetic", "upload", file)
    assert (code, out) == (2, "")
    assert line == f"stinger: uploading needs the environment variable {KEY}; set it, or leave uploading out"
    code, _, [line] = run("magnetic", "spectrogram", file, "--out", "s.mcap", "--upload")
    assert (code, KEY in line) == (2, True)


@pytest.mark.parametrize("verb", ["generate", "convert", "spectrogram"])
def test_verbs_upload_what_they_made_and_nothing_without_a_key(tmp_path, monkeypatch, verb):
    log = [{"ts": 10**4 * i, "type": "MAG_AUTOCAL", "values": [1, 2, 3]} for i in range(400)]
    (tmp_path / "log.json").write_text(json.dumps({"deviceModel": "p", "userLabel": "1", "data": log}))
    arguments = {
        "generate": ("--out", tmp_path / "out.mcap", "--duration", 3, "--recordings", 1),
        "convert": (tmp_path / "log.json", tmp_path / "out.mcap"),
        "spectrogram": (tmp_path / "log.json", "--out", tmp_path / "out.mcap", "--no-pictures", "--frames", 900),
    }[verb]
    monkeypatch.delenv(KEY, raising=False)
    code, _, [line] = run("magnetic", verb, *arguments, "--upload")
    assert (code, KEY in line) == (2, True)
    assert not (tmp_path / "out.mcap").exists()
    client = Remembered()
    monkeypatch.setattr(upload, "required_uploader", lambda: client)
    assert run("magnetic", verb, *arguments)[0] == 0
    assert client.files == []
    assert run("magnetic", verb, *arguments, "--upload")[0] == 0
    made = ["out.mcap", "out.labels.json", *(["out.experiment.json"] if verb != "spectrogram" else [])]
    assert [(name, content, replaced) for name, content, replaced in client.files] == [
        (name, (tmp_path / name).read_bytes(), True) for name in made
    ]


class Remembered:
    def __init__(self):
        self.files = []

    def upload(self, path, name, *, overwrite):
        self.files.append((name, path.read_bytes(), overwrite))
        return f"there/{name}"


def test_any_client_will_do(file, tmp_path):
    client = Remembered()
    (tmp_path / "model.tar.gz").write_bytes(b"m")
    places = upload_files([file, tmp_path / "model.tar.gz"], client, Progress(), overwrite=True)
    assert places == ["there/x.mcap", "there/model.tar.gz"]
    assert [(name, overwrite) for name, _, overwrite in client.files] == [("x.mcap", True), ("model.tar.gz", True)]


def test_all_files_are_looked_at_before_one_is_sent(file, tmp_path):
    client = Remembered()
    with pytest.raises(InputError, match="it is no file"):
        upload_files([file, tmp_path / "none"], client, Progress())
    with pytest.raises(UsageError, match="same name"):
        upload_files([file, tmp_path / "a" / file.name], client, Progress())
    assert client.files == []


def test_a_newer_server_is_asked_by_its_tools(server, file):
    server.script = {"POST /mcp": (200, tool_answer(server)), "PUT /put": (200, b"")}
    key = key_of(server.address + "/")
    assert sent(nstrumenta(key), file, overwrite=True) == ["projects/p/data/x.mcap"]
    (method, _, headers, body), (put, where, put_headers, content) = server.asked
    assert (method, headers["x-api-key"]) == ("POST", key)
    asked = json.loads(body)["params"]
    assert asked == {"name": "get_upload_data_url", "arguments": {"name": "x.mcap", "overwrite": True}}
    assert (put, where, content) == ("PUT", "/put?signature=abc", file.read_bytes())
    # Who stores the file has no business with the key.
    assert SECRET not in json.dumps(put_headers)


@pytest.mark.parametrize("form", ["event", "text"])
def test_a_tool_may_answer_as_an_event_or_as_text(server, file, form):
    answer = tool_answer(server)
    if form == "event":
        answer = b"event: message\ndata: " + answer + b"\n\n"
    else:
        text = json.dumps(json.loads(answer)["result"]["structuredContent"])
        answer = json.dumps({"result": {"content": [{"type": "text", "text": text}]}}).encode()
    server.script = {"POST /mcp": (200, answer), "PUT /put": (200, b"")}
    assert sent(nstrumenta(key_of(server.address)), file) == ["projects/p/data/x.mcap"]


def test_an_older_server_has_an_address_for_it(server, file):
    place = {"uploadUrl": f"{server.address}/put", "remoteFilePath": "projects/p/data/x.mcap"}
    server.script = {"POST /getUploadDataUrl": (200, json.dumps(place).encode()), "PUT /put": (200, b"")}
    assert sent(nstrumenta(key_of(server.address)), file) == ["projects/p/data/x.mcap"]
    _, (_, _, headers, body), _ = server.asked
    assert headers["x-api-key"] == SECRET
    assert json.loads(body) == {"name": "x.mcap", "size": 12_000, "overwrite": False}


def test_the_command_uploads_and_never_shows_the_key(server, file, monkeypatch):
    server.script = {"POST /mcp": (200, tool_answer(server)), "PUT /put": (200, b"")}
    monkeypatch.setenv(KEY, key_of(server.address))
    code, out, complaints = run("magnetic", "upload", file, "--json")
    assert (code, complaints) == (0, [])
    assert json.loads(out) == [{"file": str(file), "uploaded": "projects/p/data/x.mcap"}]
    assert SECRET not in repr(nstrumenta(key_of(server.address)))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({}, "no Nstrumenta server answers there; check NSTRUMENTA_API_KEY"),
        ({"POST /mcp": (401, b"")}, "the key is not accepted"),
        ({"POST /mcp": (429, b"")}, "too many requests"),
        ({"POST /mcp": (500, b"")}, "the server answers 500 to uploading x.mcap"),
        ({"POST /mcp": (302, {"Location": "https://elsewhere.example/"})}, "the server answers 302"),
        ({"POST /mcp": (200, b"<html>")}, "its answer is not what an Nstrumenta server says"),
        ({"POST /mcp": (200, b"[" * 50_000)}, "its answer is not what an Nstrumenta server says"),
        ({"POST /mcp": (200, b"{" + b" " * 70_000 + b"}")}, "uploading x.mcap failed (ValueError)"),
        ({"POST /mcp": (200, b'{"result": {"isError": true}}')}, "the server refuses x.mcap"),
        ({"POST /mcp": (200, b'{"error": {"code": 1}}')}, "the server refuses x.mcap"),
        ({"POST /mcp": (200, b'{"result": {"content": []}}')}, "no https address"),
        ({"POST /mcp": (200, None)}, "uploading x.mcap failed (no answer in time)"),
        ({"POST /mcp": (200, "place"), "PUT /put": (409, b"")}, "x.mcap is there already"),
        ({"POST /mcp": (200, "place"), "PUT /put": (413, b"")}, "x.mcap is too large"),
        ({"POST /mcp": (200, "place"), "PUT /put": (404, b"")}, "the server answers 404"),
        ({"POST /mcp": (200, "place"), "PUT /put": (200, None)}, "no answer in time"),
        ({"POST /mcp": (200, "http://elsewhere.example/put")}, "no https address"),
        ({"POST /mcp": (200, "file:///etc/passwd")}, "no https address"),
    ],
)
def test_whatever_goes_wrong_is_one_line_without_the_key(server, file, script, said):
    for name, (code, content) in script.items():
        if isinstance(content, str):
            fields = {} if content == "place" else {"uploadUrl": content}
            script = script | {name: (code, tool_answer(server, **fields))}
    server.script = script
    uploader = Nstrumenta(server.address, key_of(server.address), wait_s=0.3)
    with pytest.raises(LinkError) as caught:
        sent(uploader, file)
    line = str(caught.value)
    assert line.startswith("127.0.0.1: ")
    assert said in line
    assert "\n" not in line
    assert SECRET not in line
    assert "signature" not in line


def test_a_server_that_is_not_there_is_one_line(server, file):
    address = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(LinkError, match=r"127\.0\.0\.1: uploading x\.mcap failed \(.*refused\)"):
        sent(nstrumenta(key_of(address)), file)


def test_one_file_has_a_limit_of_time(server, file):
    server.script = {"POST /mcp": (200, tool_answer(server)), "PUT /put": (200, b"")}
    with pytest.raises(LinkError, match="no answer in time"):
        sent(Nstrumenta(server.address, key_of(server.address), limit_s=-1.0), file)
    assert [method for method, *_ in server.asked if method == "PUT"] == []
    server.script["PUT /put"] = (200, DRIP)
    before = time.monotonic()
    with pytest.raises(LinkError, match="no answer in time"):
        sent(Nstrumenta(server.address, key_of(server.address), limit_s=0.3), file)
    assert time.monotonic() - before < 4  # it would drip for five seconds


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        f"{SECRET}:",
        f"{SECRET}:not base64!",
        ":" + base64.b64encode(b"https://x.example").decode(),
        key_of("http://x.example"),
        key_of("https://"),
        key_of("https://user:word@x.example"),
        key_of("https://x.example/ y"),
        key_of("file:///etc/passwd"),
        key_of("https://[x"),
        key_of("https://x.example") + "\n: y",
        SECRET * 1000 + key_of("https://x.example"),
    ],
)
def test_a_key_of_another_form_is_refused_and_not_shown(key):
    with pytest.raises(UsageError, match=KEY) as caught:
        uploader_from_environment({KEY: key})
    assert SECRET not in str(caught.value)


def test_a_good_key_names_its_server():
    assert nstrumenta(key_of("https://x.example/ \n")).server == "https://x.example"
