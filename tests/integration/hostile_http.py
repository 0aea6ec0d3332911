#!/usr/bin/env python3
"""The API's port against hostile clients: slow ones (slowhttptest and by hand), strange framing, and what testssl.sh finds.

While each of them is at it, others ask all the time, and each of their answers must be there within a second."""
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

from hodei import Platform, expect, run_tests, wait_for

hodei = Platform(agents=0, tls=os.environ.get("TLS") == "1")
WITHIN_S = 1.0


def port():
    return urllib.parse.urlsplit(hodei.info["server"]).port


def line(timeout=30):
    plain = socket.create_connection(("127.0.0.1", port()), timeout=timeout)
    return hodei.trust().wrap_socket(plain, server_hostname="localhost") if hodei.tls else plain


class Others:
    """Somebody else who asks, each time by a new connection."""

    def __enter__(self):
        self.ended = threading.Event()
        self.asked, self.slowest, self.wrong = 0, 0.0, []
        self.thread = threading.Thread(target=self.ask)
        self.thread.start()
        return self

    def ask(self):
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                reply = hodei.api("GET", "/v1/runs?page_size=1", timeout=10)
                if reply.status != 200:
                    self.wrong.append(repr(reply))
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.asked += 1
            self.ended.wait(0.05)

    def __exit__(self, kind, value, trace):
        self.ended.set()
        self.thread.join()
        if kind:
            return
        expect(not self.wrong, "%d of %d answers to others were wrong: %s" % (len(self.wrong), self.asked, self.wrong[:3]))
        expect(self.asked > 20, "others could ask %d times only" % self.asked)
        expect(self.slowest < WITHIN_S, "another's answer took %.2f s" % self.slowest)
        print("        others: %d answers, the slowest after %.3f s" % (self.asked, self.slowest))


def metric(text):
    health = hodei.process("api-gateway")["port"]
    connection = http.client.HTTPConnection("127.0.0.1", health, timeout=10)
    connection.request("GET", "/metrics")
    body = connection.getresponse().read().decode()
    connection.close()
    return int(re.search("^" + re.escape(text) + r" (\d+)$", body, re.M).group(1))


def cut():
    return sum(metric('hodei_api_gateway_connections_cut_total{why="%s"}' % why) for why in ("slow", "room"))


# --- slow clients -------------------------------------------------------------------------------------------------------

def slowhttptest(*mode):
    before = cut()
    with Others():
        done = subprocess.run(["slowhttptest", "-c", "1000", "-r", "200", "-l", "25", "-i", "2", "-p", "3", "-u",
                               hodei.info["server"] + "/v1/runs", *mode], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    expect("Exit status" in said or "Test ended" in said, "slowhttptest: %s" % said[-600:])
    return cut() - before


def test_slow_heads():
    expect(slowhttptest("-H") > 0, "nobody was cut off")


def test_slow_bodies():
    expect(slowhttptest("-B", "-s", "8192") > 0, "nobody was cut off")


def test_many_ranges():
    slowhttptest("-R", "-a", "10", "-b", "3000")


def test_slow_readers():
    slowhttptest("-X", "-w", "1", "-y", "8", "-n", "5", "-z", "1", "-k", "10")


def test_connections_that_say_nothing():
    silent = []
    with Others():
        for _ in range(600):
            try:
                silent.append(socket.create_connection(("127.0.0.1", port()), timeout=5))
            except OSError:
                break
        end = time.monotonic() + 12
        while time.monotonic() < end:
            time.sleep(0.2)  # the attack lasts as long as that
    for one in silent:
        one.close()


def test_a_body_that_drips_is_answered_408():
    with Others():
        one = line()
        one.sendall(b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 100\r\n\r\n{" % hodei.token.encode())
        one.settimeout(1)
        said, began = b"", time.monotonic()
        while time.monotonic() < began + 30:
            try:
                got = one.recv(65536)
                if not got:
                    break
                said += got
                continue
            except (TimeoutError, ssl.SSLError):
                pass
            except ConnectionError:
                break
            try:
                one.sendall(b" ")
            except OSError:
                break
        took = time.monotonic() - began
    expect(8 < took < 20, "it took %.1f s" % took)
    if not hodei.tls:  # with TLS an answer needs both directions: it is closed without one
        expect(said.startswith(b"HTTP/1.1 408 ") and b"too slowly" in said, "%r" % said)


def test_who_does_not_read_a_long_answer_is_cut_off():
    hodei.apply("hodei: v1\nname: long\njobs:\n" + "".join("  j%d:\n    run: \"true\"\n" % i for i in range(3000)))
    runs = [hodei.start_run("long") for _ in range(3)]
    reply = hodei.api("GET", "/v1/runs/%s/jobs?page_size=1000" % runs[0])
    expect(reply.status == 200 and len(reply.body) > 90000, "%d, %d bytes" % (reply.status, len(reply.body)))
    before = cut()
    held = []
    with Others():
        for run in runs * 8:
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.connect(("127.0.0.1", port()))
            one = hodei.trust().wrap_socket(one, server_hostname="localhost") if hodei.tls else one
            request = b"GET /v1/runs/%s/jobs?page_size=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
            one.sendall(request % (run.encode(), hodei.token.encode()) * 60)  # more than the kernel takes in for it
            held.append(one)
        wait_for(lambda: cut() - before >= 20, "those who do not read are cut off", 60)
    for one in held:
        one.close()


# --- strange heads and framing ------------------------------------------------------------------------------------------

def exchange(data, timeout=8):
    """All that is said until the server closes, or is silent for a while."""
    one = line(timeout)
    one.sendall(data)
    said = b""
    try:
        while True:
            got = one.recv(65536)
            if not got:
                break
            said += got
    except (TimeoutError, OSError):
        pass
    one.close()
    return said


def answers(said):
    return [int(n) for n in re.findall(rb"HTTP/1\.1 (\d\d\d) ", said)]


def test_a_head_that_is_too_large_is_answered_431():
    said = exchange(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 40000 + b"\r\n\r\n")
    expect(answers(said)[:1] == [431] and b"application/problem+json" in said and b"16 KiB" in said, "%r" % said[:600])


def test_no_request_hides_in_another():
    """Whatever the framing says, what stands in a body is never answered as a request of its own with somebody's rights."""
    inner = b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % hodei.token.encode()
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    head = b"POST /v1/pipelines:validate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/yaml\r\n"
    head %= hodei.token.encode()
    for name, framing, body in (
            ("both lengths, chunked last", b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(inner), b"0\r\n\r\n" + inner),
            ("both lengths, chunked first", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + inner),
            ("two lengths", b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(inner), inner),
            ("two lengths the other way", b"Content-Length: %d\r\nContent-Length: 0\r\n" % len(inner), inner),
            ("a length with a sign", b"Content-Length: +%d\r\n" % len(inner), inner),
            ("a negative length", b"Content-Length: -1\r\n", inner),
            ("a length of two numbers", b"Content-Length: 0, %d\r\n" % len(inner), inner),
            ("a length in hex", b"Content-Length: 0x10\r\n", inner),
            ("an unknown coding", b"Transfer-Encoding: xchunked\r\n", chunk),
            ("chunked, and identity", b"Transfer-Encoding: chunked, identity\r\n", chunk),
            ("chunked before a space", b"Transfer-Encoding : chunked\r\n", chunk),
            ("chunked on a folded line", b"Transfer-Encoding:\r\n chunked\r\n", chunk),
            ("a bad chunk size", b"Transfer-Encoding: chunked\r\n", b"zz\r\n" + inner),
            ("a huge chunk size", b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n" + inner),
            ("a chunk without its end", b"Transfer-Encoding: chunked\r\n", b"1\r\nab\r\n0\r\n\r\n" + inner)):
        said = exchange(head + framing + b"\r\n" + body, 3)
        got = answers(said)
        expect(b'"subject"' not in said, "%s: the hidden request was answered: %r" % (name, said[:900]))
        expect(len(got) <= 1 or 400 <= got[0] < 500, "%s: %r" % (name, got))
        expect(all(code < 500 for code in got), "%s: %r" % (name, got))


def test_nonsense_is_refused_and_harms_nobody():
    with Others():
        for data in (b"\x00" * 5000 + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
                     b"GET\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"GET /v1/whoami HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     b"GET /v1/whoami HTTP/1.1\r\n" + b"A: b\r\n" * 2000 + b"\r\n", b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n",
                     b"GET http://other.example/v1/whoami HTTP/1.1\r\nHost: other.example\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET /v1/whoami\x00x HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"TRACE /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/whoami HTTP/1.1\r\nX: \xff\xfe\r\n\r\n"):
            got = answers(exchange(data, 2))
            expect(all(400 <= code < 506 for code in got), "%r: %r" % (data[:40], got))
    expect(hodei.process("api-gateway")["starts"] == 1, "the gateway was started again")


# --- TLS ----------------------------------------------------------------------------------------------------------------

# What it says of every private CA and of a name that is in no DNS.
EXPECTED = {"cert_trust", "cert_chain_of_trust", "cert_revocation", "DNS_CAArecord", "cert_expirationStatus", "cert_caIssuers",
            "overall_grade", "grade_cap_reason_1", "engine_problem", "scanTime", "id"}


def test_testssl_finds_nothing():
    if not hodei.tls:
        return
    out = os.path.join(hodei.folder, "testssl.json")
    with Others():
        done = subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "-p", "-s", "-f", "-P", "-S", "-h",
                               "-U", "--jsonfile", out, hodei.info["server"].replace("127.0.0.1", "localhost")],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400)
    with open(out) as file:
        found = json.load(file)
    expect(len(found) > 40, "testssl.sh looked at %d things only: %s" % (len(found), done.stdout[-800:]))
    bad = [(f["severity"], f["id"], f["finding"]) for f in found
           if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL") and f["id"].split(" ")[0] not in EXPECTED]
    expect(not bad, "\n".join(map(str, bad)))
    by_id = {f["id"].split(" ")[0]: f["finding"] for f in found}
    for protocol in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
        expect("not offered" in by_id[protocol], "%s: %s" % (protocol, by_id[protocol]))
    for protocol in ("TLS1_2", "TLS1_3"):
        expect(by_id[protocol].startswith("offered"), "%s: %s" % (protocol, by_id[protocol]))


if __name__ == "__main__":
    hodei.start()
    sys.exit(hodei.finish(run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)))
