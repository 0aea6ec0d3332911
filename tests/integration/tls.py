#!/usr/bin/env python3
"""The platform with TLS everywhere: what is encrypted, who is trusted, and certificates that change while all runs."""
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
import warnings

from hodei import BUILD, HODEI, Platform, expect, run_tests, wait_for

warnings.simplefilter("ignore", DeprecationWarning)  # of old versions, which are meant
hodei = Platform(agents=1, tls=True)
other = tempfile.mkdtemp(prefix="hodei-tls-")


def port():
    return urllib.parse.urlsplit(hodei.info["server"]).port


def path(name):
    return os.path.join(hodei.data, "tls", name)


def openssl(*argv, text=None):
    done = subprocess.run(["openssl", *argv], input=text, capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0, "openssl %s: %s" % (" ".join(argv), done.stderr))
    return done.stdout


def make_ca(name):
    """Another CA. Returns the paths of its certificate and key."""
    cert, key = os.path.join(other, name + ".crt"), os.path.join(other, name + ".key")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
            "/CN=" + name, "-keyout", key, "-out", cert)
    return cert, key


def issue(name, san, ca=None, days=30):
    """A certificate and its key, by the platform's CA or by (certificate, key) of another. Returns both as text."""
    ca = ca or (path("ca.crt"), path("ca.key"))
    key, request, ext = (os.path.join(other, name + end) for end in (".key", ".csr", ".ext"))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", key,
            "-out", request)
    with open(ext, "w") as file:
        file.write("subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n" % san)
    cert = openssl("x509", "-req", "-in", request, "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial", "-CAserial",
                   os.path.join(other, "serial"), "-days", str(days), "-extfile", ext)
    with open(key) as file:
        return cert, file.read()


def write(name, text):
    """As tools do that renew certificates: whole, over the old one."""
    with open(path(name) + ".new", "w") as file:
        file.write(text)
    os.chmod(path(name) + ".new", 0o600)
    os.rename(path(name) + ".new", path(name))


def served():
    """The subject of the certificate that a new connection is shown."""
    with socket.create_connection(("127.0.0.1", port()), timeout=10) as plain:
        with hodei.trust().wrap_socket(plain, server_hostname="localhost") as line:
            return dict(part[0] for part in line.getpeercert()["subject"])["commonName"]


def handshake(minimum=None, maximum=None, ciphers=None, alpn=None, hostname="localhost"):
    context = hodei.trust()
    if maximum:
        context.minimum_version = minimum or ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = maximum
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.create_connection(("127.0.0.1", port()), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=hostname) as line:
            return line.version(), line.cipher()[0], line.selected_alpn_protocol()


def refused(why, **options):
    try:
        got = handshake(**options)
    except (ssl.SSLError, ConnectionError):
        return
    expect(False, "%s: the connection was made: %r" % (why, got))


# --- the API ------------------------------------------------------------------------------------------------------------

def test_a_pipeline_runs_over_encrypted_lines_only():
    hodei.apply("hodei: v1\nname: lines\njobs:\n  hello:\n    run: echo over TLS\n")
    run = hodei.start_run("lines")
    hodei.wait_run(run, "succeeded")
    hodei.wait_log(run, b"over TLS")
    lines = hodei.sql("select usename, ssl from pg_stat_activity join pg_stat_ssl using (pid) where usename like 'hodei-%'").split()
    expect(len(lines) >= 6 and all(line.endswith("|t") for line in lines), "connections to PostgreSQL: %r" % lines)
    for name in ("worker", "list"), ("run", "list"):
        hodei.cli(*name)


def test_answers_tell_browsers_to_stay_with_tls():
    reply = hodei.raw("GET", "/v1/whoami")
    expect(reply.status == 401 and reply.headers["Strict-Transport-Security"] == "max-age=31536000", "%r" % reply.headers.items())
    with socket.create_connection(("127.0.0.1", port()), timeout=10) as plain:
        with hodei.trust().wrap_socket(plain, server_hostname="localhost") as line:
            line.sendall(b"NONSENSE\r\n\r\n")
            head = line.recv(65536)
    expect(head.startswith(b"HTTP/1.1 400 ") and b"Strict-Transport-Security:" in head, "of the server itself: %r" % head)


def test_old_versions_and_weak_ciphers_are_refused():
    expect(handshake()[0] == "TLSv1.3", "%r" % (handshake(),))
    version, cipher, _ = handshake(maximum=ssl.TLSVersion.TLSv1_2)
    expect(version == "TLSv1.2" and cipher.startswith("ECDHE-ECDSA-"), "%r %r" % (version, cipher))
    refused("TLS 1.1", maximum=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")
    refused("CBC", maximum=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384")
    refused("no forward secrecy", maximum=ssl.TLSVersion.TLSv1_2, ciphers="AES128-GCM-SHA256:AES256-GCM-SHA384")
    expect(handshake(alpn=["h2", "http/1.1"])[2] == "http/1.1", "ALPN: %r" % (handshake(alpn=["h2", "http/1.1"]),))
    refused("a protocol that is not spoken", alpn=["h2"])


def test_who_speaks_plain_http_gets_nothing():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=10)
        connection.request("GET", "/v1/whoami", headers={"Authorization": "Bearer " + hodei.token})
        expect(False, "an answer to plain HTTP: %r" % connection.getresponse().read())
    except (http.client.HTTPException, ConnectionError):
        pass
    env = {"HODEI_SERVER": "http://127.0.0.1:%d" % port(), "HODEI_TOKEN": hodei.token, "PATH": os.environ["PATH"]}
    done = subprocess.run([HODEI, "run", "list"], env=env, capture_output=True, text=True, timeout=30)
    expect(done.returncode != 0 and "https://" in done.stderr, "%r" % done)


def test_the_cli_trusts_whom_it_is_told():
    stranger = make_ca("stranger")[0]
    env = {"HODEI_SERVER": hodei.info["server"], "HODEI_TOKEN": hodei.token, "PATH": os.environ["PATH"]}
    for name, more in (("nobody", {}), ("a stranger", {"HODEI_CACERT": stranger})):
        done = subprocess.run([HODEI, "run", "list"], env=dict(env, **more), capture_output=True, text=True, timeout=30)
        expect(done.returncode != 0 and "--cacert" in done.stderr, "trusts %s: %r" % (name, done))
        expect(hodei.token not in done.stderr, "the token is in the error")
    done = subprocess.run([HODEI, "run", "list", "--cacert", path("ca.crt")], env=env, capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0, "%r" % done)


# --- certificates -------------------------------------------------------------------------------------------------------

def test_a_new_certificate_is_taken_while_all_runs():
    old = hodei.trust()
    line = http.client.HTTPSConnection("127.0.0.1", port(), timeout=10, context=old)
    line.request("GET", "/v1/whoami")
    line.getresponse().read()
    starts = hodei.process("api-gateway")["starts"]
    cert, key = issue("second", "DNS:localhost,IP:127.0.0.1")
    write("server.key", key)  # for a moment it is not the one of the certificate
    write("server.crt", cert)
    wait_for(lambda: served() == "second", "the new certificate is shown", 10)
    line.request("GET", "/v1/whoami")
    expect(line.getresponse().status == 401, "the old connection")
    line.close()
    expect(hodei.process("api-gateway")["starts"] == starts, "the gateway was started again")


def test_a_bad_certificate_changes_nothing():
    def said(text):
        with open(os.path.join(hodei.data, "log", "api-gateway.log")) as file:
            return text in file.read()

    before = served()
    cert, key = issue("third", "DNS:localhost,IP:127.0.0.1")
    write("server.crt", cert)
    wait_for(lambda: said("the key is not the one of the certificate"), "the wrong key is named", 10)
    expect(served() == before, "shown: %s" % served())
    write("server.crt", "-----BEGIN CERTIFICATE-----\nnothing\n")
    wait_for(lambda: said("there is no certificate in PEM form"), "the broken file is named", 10)
    expect(served() == before, "shown: %s" % served())
    write("server.key", key)
    write("server.crt", cert)
    wait_for(lambda: served() == "third", "the good pair is shown", 10)


def test_keys_are_their_owners_alone():
    for name in ("ca.key", "server.key", "postgres.key"):
        mode = stat.S_IMODE(os.stat(path(name)).st_mode)
        expect(mode == 0o600, "%s has mode %o" % (name, mode))
    for folder, _, files in os.walk(os.path.join(hodei.data, "log")):
        for name in files:
            with open(os.path.join(folder, name), errors="replace") as file:
                expect("PRIVATE KEY" not in file.read(), "a key is in " + name)


def test_the_ca_may_name_this_machine_alone():
    cert, _ = issue("bank", "DNS:bank.example")
    with open(os.path.join(other, "bank.crt"), "w") as file:
        file.write(cert)
    done = subprocess.run(["openssl", "verify", "-CAfile", path("ca.crt"), file.name], capture_output=True, text=True, timeout=30)
    expect(done.returncode != 0 and "permitted subtree violation" in done.stdout + done.stderr, "%r" % done)
    done = subprocess.run(["openssl", "verify", "-CAfile", path("ca.crt"), path("server.crt")], capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0, "%r" % done)


def test_a_certificate_that_is_soon_over_is_made_anew_at_the_start():
    cert, key = issue("old", "DNS:localhost,IP:127.0.0.1", days=10)
    write("server.key", key)
    write("server.crt", cert)
    hodei.stop()
    hodei.start()
    expect(served() == "hodei dev", "shown: %s" % served())
    openssl("x509", "-in", path("server.crt"), "-noout", "-checkend", str(80 * 24 * 3600))
    run = hodei.start_run("lines")
    hodei.wait_run(run, "succeeded")


# --- inside -------------------------------------------------------------------------------------------------------------

def test_nats_and_postgres_take_no_plain_connection():
    address = urllib.parse.urlsplit(hodei.info["nats"])
    expect(address.scheme == "tls", hodei.info["nats"])
    with socket.create_connection((address.hostname, address.port), timeout=10) as line:
        file = line.makefile("rb")
        info = json.loads(file.readline().split(b" ", 1)[1])
        expect(info["tls_required"], "%r" % info)
        line.sendall(b"CONNECT {}\r\nPING\r\n")
        rest = file.read()
        expect(b"PONG" not in rest, "%r" % rest)
    with open(os.path.join(hodei.data, "secrets", "postgres-quota")) as file:
        password = file.read().strip().rsplit(":", 1)[1]
    pg_port = re.search(r"port=(\d+)", hodei.info["postgres"]).group(1)
    base = "host=127.0.0.1 port=%s user=hodei-quota dbname=postgres " % pg_port
    env = dict(os.environ, PGPASSWORD=password)
    done = subprocess.run(["psql", base + "sslmode=disable", "-c", "select 1"], env=env, capture_output=True, text=True, timeout=30)
    expect(done.returncode != 0 and "no encryption" in done.stderr, "%r" % done)
    done = subprocess.run(["psql", base + "sslmode=verify-full sslrootcert=" + path("ca.crt"), "-c", "select 1"], env=env,
                          capture_output=True, text=True, timeout=30)
    expect(done.returncode == 0, "%r" % done)


def agent_check(ca, url):
    with tempfile.TemporaryDirectory(dir=other) as state:
        env = {"PATH": os.environ["PATH"], "HODEI_NATS": url, "HODEI_NATS_CA": ca, "HODEI_NATS_USER": "agent-agent-1",
               "HODEI_NAME": "agent-1", "HODEI_STATE": state,
               "HODEI_NATS_PASSWORD_FILE": os.path.join(hodei.data, "secrets", "nats-agent-agent-1"),
               "HODEI_JOIN_TOKEN_FILE": hodei.info["join_token_file"]}
        done = subprocess.run([os.path.join(BUILD, "hodei-agent"), "check"], env=env, capture_output=True, text=True, timeout=60)
        return [line for line in done.stdout.splitlines() + done.stderr.splitlines() if "NATS" in line or "answers" in line], done


def test_an_agent_trusts_whom_it_is_told():
    lines, done = agent_check(path("ca.crt"), hodei.info["nats"])
    expect(any(" answers" in line for line in lines), "%r" % done)
    lines, done = agent_check(make_ca("stranger")[0], hodei.info["nats"])
    expect(not any(" answers" in line for line in lines) and any("--nats-ca" in line for line in lines), "%r" % done)


def test_a_server_with_another_name_is_not_trusted():
    ca = make_ca("cluster")
    expect(nats_answers(ca, "IP:127.0.0.1"), "a server with the right name is not trusted")
    expect(not nats_answers(ca, "DNS:elsewhere.example"), "a server with another name is trusted")
    expect(not nats_answers(ca, "IP:127.0.0.2"), "a server with another address is trusted")


def nats_answers(ca, san):
    """Whether an agent that trusts this CA talks to a nats-server whose certificate has this name."""
    cert, key = issue("server", san, ca)
    for name, text in (("nats.crt", cert), ("nats.key", key)):
        with open(os.path.join(other, name), "w") as file:
            file.write(text)
    conf = os.path.join(other, "nats.conf")
    with open(conf, "w") as file:
        file.write("listen: 127.0.0.1:-1\nports_file_dir: \"%s\"\ntls { cert_file: \"%s/nats.crt\", key_file: \"%s/nats.key\" }\n" %
                   (other, other, other))
    server = subprocess.Popen(["nats-server", "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ports = os.path.join(other, "nats-server_%d.ports" % server.pid)

        def url():
            with open(ports) as file:
                return json.load(file)["nats"][0]
        address = urllib.parse.urlsplit(wait_for(url, "nats-server listens"))
        lines, _ = agent_check(ca[0], "tls://127.0.0.1:%d" % address.port)
        return any(" answers" in line for line in lines)
    finally:
        server.kill()
        server.wait()


def gateway(**settings):
    env = {"PATH": os.environ["PATH"], "HODEI_HTTP": "127.0.0.1:0", "HODEI_NATS": "nats://127.0.0.1:1", "HODEI_LISTEN": ""}
    env.update(settings)
    return subprocess.run([os.path.join(BUILD, "hodei-api-gateway")], env=env, capture_output=True, text=True, timeout=30)


def test_settings_that_cannot_work_stop_the_start():
    cert, _ = issue("one", "DNS:localhost")
    _, key = issue("two", "DNS:localhost")
    one, two, none = (os.path.join(other, name) for name in ("one.pem", "two.pem", "none.pem"))
    for name, text in ((one, cert), (two, key)):
        with open(name, "w") as file:
            file.write(text)
    for settings, text in (
            (dict(HODEI_TLS_CERT=one), "tls-key is not given"),
            (dict(HODEI_TLS_KEY=two), "tls-cert is not given"),
            (dict(HODEI_TLS_CERT=none, HODEI_TLS_KEY=two), "none.pem: No such file"),
            (dict(HODEI_TLS_CERT=two, HODEI_TLS_KEY=two), "two.pem: there is no certificate"),
            (dict(HODEI_TLS_CERT=one, HODEI_TLS_KEY=one), "one.pem: there is no private key"),
            (dict(HODEI_TLS_CERT=one, HODEI_TLS_KEY=two), "two.pem: the key is not the one")):
        done = gateway(**settings)
        expect(done.returncode == 2 and text in done.stderr, "%r: %r" % (settings, done))


if __name__ == "__main__":
    hodei.start()
    try:
        code = run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)
    finally:
        shutil.rmtree(other, ignore_errors=True)
    sys.exit(hodei.finish(code))
