#!/usr/bin/env python3
"""Users, sessions and access tokens from outside: over HTTP, against the whole platform; and what attackers try with them."""
import base64
import concurrent.futures
import glob
import hashlib
import hmac
import http.client
import json
import os
import pty
import subprocess
import sys
import tempfile
import termios
import time
import urllib.parse
import uuid

from hodei import HODEI, Failed, Platform, Reply, expect, run_tests, wait_for

PASSWORD = "correct horse battery"
hodei = Platform(agents=0)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def post(path, body, source="127.0.0.1", timeout=40):
    """Without a token, from an address of our own."""
    address = urllib.parse.urlsplit(hodei.info["server"])
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout, source_address=(source, 0))
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read())
    finally:
        connection.close()


def role(permissions):
    """The name of a role that gives these."""
    if list(permissions) == ["*"]:
        return "admin"
    name = "may-" + "-".join(p.replace(".", "_") for p in permissions)
    reply = hodei.api("PUT", "/v1/roles/" + name, {"permissions": list(permissions)})
    expect(reply.status == 200, "role %s: %r" % (name, reply))
    return name


def user(name, permissions=("run.read",), password=PASSWORD):
    reply = hodei.api("POST", "/v1/users", {"name": name, "password": password, "roles": [role(permissions)]})
    expect(reply.status in (201, 409), "create %s: %r" % (name, reply))
    return name


def login(name, password=PASSWORD, source="127.0.0.1", status=200):
    reply = post("/v1/login", {"user": name, "password": password}, source)
    expect(reply.status == status, "login of %s from %s: %r, not %d" % (name, source, reply, status))
    return reply.json


def who(token):
    return hodei.raw("GET", "/v1/whoami", headers={"Authorization": "Bearer " + token})


def refused(token, why):
    reply = who(token)
    expect(reply.status == 401, "%s: %r" % (why, reply))
    expect(token not in reply.body.decode(), "%s: the answer repeats the token" % why)


# --- making tokens by hand ----------------------------------------------------------------------------------------------

def private_key(kid):
    """As it lies in the database of `hodei dev`, which has no key-encryption-key."""
    return bytes.fromhex(hodei.sql("select encode(private_key, 'hex') from auth.signing_keys where kid = '%s'" % kid))


def sign(secret, data):
    pem = b"-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n" % base64.encodebytes(
        bytes.fromhex("302e020100300506032b657004220420") + secret)
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as text:
        key.write(pem)
        key.flush()
        text.write(data)
        text.flush()
        return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key.name, "-in", text.name], check=True,
                              stdout=subprocess.PIPE).stdout


def make(secret, header, payload):
    header = header if isinstance(header, bytes) else compact(header)
    payload = payload if isinstance(payload, bytes) else compact(payload)
    text = b64(header) + "." + b64(payload)
    return text + "." + b64(sign(secret, text.encode()))


def parts(token):
    return [base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)) for p in token.split(".")]


class Forge:
    """A real token, taken apart, with the key that signed it."""

    def __init__(self, name="mallory"):
        self.token = login(user(name))["access_token"]
        header, payload, _ = parts(self.token)
        self.header, self.payload = json.loads(header), json.loads(payload)
        self.secret = private_key(self.header["kid"])
        self.public = next(base64.urlsafe_b64decode(k["x"] + "=") for k in jwks() if k["kid"] == self.header["kid"])

    def make(self, header=None, **claims):
        payload = {k: v for k, v in dict(self.payload, **claims).items() if v is not None}
        return make(self.secret, self.header if header is None else header, payload)


def jwks():
    reply = hodei.raw("GET", "/.well-known/jwks.json")
    expect(reply.status == 200 and reply.headers["Content-Type"] == "application/json", "jwks: %r" % reply)
    return reply.json["keys"]


# --- tests --------------------------------------------------------------------------------------------------------------

def test_a_user_logs_in_and_out():
    name = user("ane", ["run.read", "pipeline.read"])
    got = login(name)
    reply = who(got["access_token"])
    expect(reply.status == 200 and reply.json["subject"] == "user:ane" and reply.json["tenant"] == "default" and
           sorted(reply.json["permissions"]) == ["pipeline.read", "run.read"], "whoami: %r" % reply)
    bearer = {"Authorization": "Bearer " + got["access_token"]}
    expect(hodei.raw("GET", "/v1/runs", headers=bearer).status == 200, "may list runs")
    expect(hodei.raw("GET", "/v1/users", headers=bearer).status == 403, "may not list users")
    header, payload, _ = parts(got["access_token"])
    expect(json.loads(header)["alg"] == "EdDSA" and json.loads(header)["kid"] in [k["kid"] for k in jwks()], "header %r" % header)
    claims = json.loads(payload)
    expect(claims["aud"] == "hodei" and claims["exp"] - claims["iat"] == 300 and claims["sid"] == got["session"], "claims %r" % claims)
    next_ = post("/v1/refresh", {"refresh_token": got["refresh_token"]})
    expect(next_.status == 200 and next_.json["session"] == got["session"], "refresh: %r" % next_)
    expect(who(next_.json["access_token"]).status == 200, "the refreshed token works")
    expect(post("/v1/logout", {"refresh_token": next_.json["refresh_token"]}).status == 204, "logout")
    wait_for(lambda: who(next_.json["access_token"]).status == 401, "the session stops within the cache's time", 3)
    expect(post("/v1/refresh", {"refresh_token": next_.json["refresh_token"]}).status == 401, "refresh after logout")
    expect(post("/v1/logout", {"refresh_token": "hodeir_nothing"}).status == 204, "logout of nothing")


def test_nothing_secret_is_stored_or_logged():
    secret = "a password that nobody else has"
    got = login(user("carol", password=secret), secret)
    stored = hodei.sql("select row_to_json(u) from auth.users u") + hodei.sql("select row_to_json(s) from auth.sessions s")
    expect("carol" in stored, "the user is there: %s" % stored[:300])
    expect(secret not in stored and got["refresh_token"] not in stored, "secrets lie in the database")
    once = base64.urlsafe_b64decode(got["refresh_token"][len("hodeir_"):] + "==")[32:]
    expect(hashlib.sha256(once).hexdigest() in stored and once.hex() not in stored, "the refresh token is hashed")
    login("carol", secret + "x", status=401)
    logs = "".join(open(p, errors="replace").read() for p in glob.glob(hodei.data + "/log/*"))
    for word in (secret, got["refresh_token"], got["access_token"]):
        expect(word not in logs, "a log has a secret")


def test_a_refresh_token_used_twice_ends_the_session():
    got = login(user("bob"))
    second = post("/v1/refresh", {"refresh_token": got["refresh_token"]}).json
    again = post("/v1/refresh", {"refresh_token": got["refresh_token"]})
    expect(again.status == 401 and "used before" in again.json["detail"], "reuse: %r" % again)
    expect(post("/v1/refresh", {"refresh_token": second["refresh_token"]}).status == 401, "the newest one is dead too")
    wait_for(lambda: who(second["access_token"]).status == 401, "its access tokens stop", 3)
    other = login("bob")  # another session is not touched
    expect(who(other["access_token"]).status == 200, "a new login works")


def test_a_session_id_alone_ends_nothing():
    """The id stands in every access token: who has seen one must not be able to end the session by it."""
    got = login(user("dora"))
    raw = bytearray(base64.urlsafe_b64decode(got["refresh_token"][len("hodeir_"):] + "=="))
    raw[16:] = bytes(len(raw) - 16)
    forged = "hodeir_" + b64(bytes(raw))
    expect(post("/v1/refresh", {"refresh_token": forged}).status == 401, "a forged refresh token")
    expect(post("/v1/logout", {"refresh_token": forged}).status == 204, "a forged logout")
    expect(post("/v1/refresh", {"refresh_token": got["refresh_token"]}).status == 200, "the session goes on")


def test_two_refreshes_at_once():
    got = login(user("eve"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: post("/v1/refresh", {"refresh_token": got["refresh_token"]}), range(8)))
    good = [r for r in replies if r.status == 200]
    expect(len(good) == 1 and all(r.status == 401 for r in replies if r not in good), "refreshes: %r" % replies)
    expect(post("/v1/refresh", {"refresh_token": good[0].json["refresh_token"]}).status == 401, "the session has ended")


def test_sessions_are_listed_and_ended():
    first, second = login(user("frank")), login("frank")
    other = login(user("grace"))
    bearer = {"Authorization": "Bearer " + first["access_token"]}
    listed = hodei.raw("GET", "/v1/sessions", headers=bearer).json["sessions"]
    expect({s["id"] for s in listed} == {first["session"], second["session"]} and listed[0]["address"] == "127.0.0.1",
           "sessions: %r" % listed)
    expect(hodei.raw("DELETE", "/v1/sessions/" + other["session"], headers=bearer).status == 404, "a session of another")
    expect(hodei.raw("DELETE", "/v1/sessions/nonsense", headers=bearer).status == 404, "no session at all")
    expect(hodei.raw("DELETE", "/v1/sessions/" + second["session"], headers=bearer).status == 204, "end one")
    wait_for(lambda: who(second["access_token"]).status == 401, "the ended one stops", 3)
    expect(who(first["access_token"]).status == 200 and who(other["access_token"]).status == 200, "the others go on")
    expect(len(hodei.get("/v1/users/frank/sessions")["sessions"]) == 1, "an administrator sees them")
    expect(hodei.api("DELETE", "/v1/users/frank/sessions").status == 204, "an administrator ends all")
    wait_for(lambda: who(first["access_token"]).status == 401, "the last stops", 3)


def test_users_are_steered():
    got = login(user("henry"))
    expect(hodei.api("POST", "/v1/users", {"name": "henry", "password": PASSWORD}).status == 409, "twice")
    expect(hodei.api("POST", "/v1/users/henry:disable").json["disabled"], "disable")
    wait_for(lambda: who(got["access_token"]).status == 401, "a disabled user stops", 3)
    answers = [dict(login("henry", word, status=401), request_id="") for word in (PASSWORD, "wrong" * 3)]
    expect(answers[0] == answers[1], "a disabled user is answered as a wrong password: %r" % answers)
    expect(post("/v1/refresh", {"refresh_token": got["refresh_token"]}).status == 401, "no refresh")
    expect(not hodei.api("POST", "/v1/users/henry:enable").json.get("disabled"), "enable")
    got = login("henry")
    changed = hodei.api("POST", "/v1/users/henry:set-password", {"password": "another password"})
    expect(changed.status == 200, "set password: %r" % changed)
    wait_for(lambda: who(got["access_token"]).status == 401, "a new password ends sessions", 3)
    login("henry", status=401)
    got = login("henry", "another password")
    names = [u["name"] for u in hodei.get("/v1/users?page_size=1")["users"]]
    expect(len(names) == 1, "a page of one: %r" % names)
    expect(hodei.api("DELETE", "/v1/users/henry").status == 204, "delete")
    wait_for(lambda: who(got["access_token"]).status == 401, "a deleted user stops", 3)
    expect(hodei.api("GET", "/v1/users/henry").status == 404 and hodei.api("DELETE", "/v1/users/henry").status == 404, "is gone")


def test_a_user_changes_his_password():
    """With the old one, which is a login like any other; all that was begun with it ends."""
    name, second = user("ines", ["run.read"]), "a second password"
    old = login(name)
    body = {"user": name, "password": PASSWORD, "new_password": second}
    for word, text in (("short", "10 to 1024"), (name, "10 to 1024"), (PASSWORD, "is the old one"), ("x" * 1025, "10 to 1024")):
        reply = post("/v1/login", dict(body, new_password=word))
        expect(reply.status == 400 and reply.json["field"] == "new_password" and text in reply.json["detail"], "%s: %r" % (word[:20], reply))
    expect(post("/v1/login", dict(body, password="not the old one")).status == 401, "only with the old one")
    expect(who(old["access_token"]).status == 200, "nothing has ended")
    reply = post("/v1/login", body)
    expect(reply.status == 200, "change: %r" % reply)
    wait_for(lambda: who(old["access_token"]).status == 401, "sessions of the old one end", 3)
    expect(post("/v1/refresh", {"refresh_token": old["refresh_token"]}).status == 401, "and are not refreshed")
    expect(who(reply.json["access_token"]).status == 200, "the new session goes on")
    login(name, status=401)
    login(name, second)
    audit = [e for e in hodei.get("/v1/audit?target=user:ines&page_size=100")["entries"] if e["action"] == "SetPassword"]
    expect(len(audit) == 1 and audit[0]["actor"] == "user:ines" and second not in str(audit), "the trail: %r" % audit)


def test_a_login_while_the_password_changes():
    """Whoever changes it (here by hand, in a transaction that stays open, as another replica's may) sees no session of a login that is under way. That
    login finds another password, and has none."""
    name = user("jack")
    other = subprocess.Popen(["psql", hodei.info["postgres"], "-qAt", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    other.stdin.write("BEGIN; UPDATE auth.users SET password_at_ms = password_at_ms + 1 WHERE name = 'jack';"
                      " DELETE FROM auth.sessions WHERE user_name = 'jack'; SELECT 'done';\n")
    other.stdin.flush()
    expect(other.stdout.readline() == "done\n", "the password is changed, and nobody sees it yet")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(post, "/v1/login", {"user": name, "password": PASSWORD})
        wait_for(lambda: under_way.done() or "1" in hodei.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"), "it waits for it")
        expect(not under_way.done(), "it did not wait: %r" % (under_way.result() if under_way.done() else ""))
        other.communicate("COMMIT;\n")
    expect(under_way.result().status == 401 and "meanwhile" in under_way.result().json["detail"], "%r" % under_way.result())
    expect(not hodei.get("/v1/users/jack/sessions").get("sessions"), "it has no session")


def test_what_is_no_user():
    bad = [{"name": "", "password": PASSWORD}, {"name": "Ane", "password": PASSWORD}, {"name": "a:b", "password": PASSWORD},
           {"name": "x" * 65, "password": PASSWORD}, {"name": "-x", "password": PASSWORD}, {"name": "short", "password": "123456789"},
           {"name": "long", "password": "x" * 1025}, {"name": "same.as.name", "password": "same.as.name"}]
    for body in bad:
        reply = hodei.api("POST", "/v1/users", body)
        expect(reply.status == 400 and reply.json.get("field"), "%r: %r" % (body, reply))
        expect(body["password"] not in reply.body.decode() or body["name"] == body["password"], "a password is repeated: %r" % reply)
    reply = hodei.api("POST", "/v1/users", {"name": "role", "password": PASSWORD, "roles": ["no-such"]})
    expect(reply.status == 404 and reply.json.get("field") == "roles[0]", "a role that is not there: %r" % reply)
    expect(hodei.api("GET", "/v1/users/role").status == 404, "nothing of it is made")
    limited = login(user("small.admin", ["user.write", "run.read"]))
    bearer = {"Authorization": "Bearer " + limited["access_token"], "Content-Type": "application/json"}
    for permission, status in (("*", 403), ("run.start", 403), ("run.read", 201)):
        body = json.dumps({"name": "made.by.small", "password": PASSWORD, "roles": [role([permission])]})
        reply = hodei.raw("POST", "/v1/users", body, bearer)
        expect(reply.status == status, "giving %s: %r" % (permission, reply))
    user("great", ["*"])
    reply = hodei.raw("POST", "/v1/users/great:set-password", json.dumps({"password": "mine from now on"}), bearer)
    expect(reply.status == 403, "becoming a greater user by its password: %r" % reply)
    reply = hodei.raw("POST", "/v1/users/made.by.small:set-password", json.dumps({"password": "another password"}), bearer)
    expect(reply.status == 200, "the password of a lesser one: %r" % reply)


def test_users_of_other_tenants_are_not_there():
    user("iker")
    foreign = hodei.person("foreign", "user.read,user.write", "acme")
    for method, path in (("GET", "/v1/users/iker"), ("GET", "/v1/users/iker/sessions"), ("DELETE", "/v1/users/iker"), ("POST", "/v1/users/iker:disable"),
                         ("DELETE", "/v1/users/iker/sessions")):
        expect(hodei.raw(method, path, headers=foreign).status == 404, "%s %s by another tenant" % (method, path))
    reply = hodei.raw("POST", "/v1/users/iker:set-password", json.dumps({"password": "taken over now"}),
                      dict(foreign, **{"Content-Type": "application/json"}))
    expect(reply.status == 404, "password by another tenant: %r" % reply)
    expect(not hodei.raw("GET", "/v1/users", headers=foreign).json["users"], "lists nobody")
    reply = hodei.raw("POST", "/v1/users", json.dumps({"name": "iker", "password": "of the other tenant"}),
                      dict(foreign, **{"Content-Type": "application/json"}))
    expect(reply.status == 201, "the name is free there: %r" % reply)
    got = post("/v1/login", {"user": "iker", "password": "of the other tenant", "tenant": "acme"})
    expect(got.status == 200 and got.json["tenant"] == "acme", "login there: %r" % got)
    login("iker", "of the other tenant", status=401)
    login("iker")


def test_jwt_attacks():
    f = Forge()
    now = int(time.time())
    expect(who(f.make()).status == 200, "a token signed here by the right key works: the forgeries below are well made")
    text = f.token.rsplit(".", 1)[0]
    head, body, signature = f.token.split(".")
    none = b64(compact({"alg": "none", "kid": f.header["kid"]})) + "." + body + "."
    refused(none, "alg none without a signature")
    refused(none + signature, "alg none with one")
    for alg in ("None", "NONE", "nOnE", "", "HS256", "ES256", "RS256", "Ed25519", "eddsa"):
        refused(f.make(dict(f.header, alg=alg)), "alg %s" % alg)
    hs = b64(compact(dict(f.header, alg="HS256"))) + "." + body
    for key in (f.public, b64(f.public).encode(), f.header["kid"].encode(), b""):
        refused(hs + "." + b64(hmac.new(key, hs.encode(), hashlib.sha256).digest()), "HS256 with the public key as secret")
        refused(hs + "." + b64(hmac.new(key, hs.encode(), hashlib.sha512).digest()), "HS512 with the public key as secret")
    refused(f.make(aud="other"), "wrong audience")
    refused(f.make(aud=["hodei"]), "a list of audiences")
    refused(f.make(aud=None), "no audience")
    refused(f.make(iss="https://evil.example"), "wrong issuer")
    refused(f.make(iat=now - 600, exp=now - 300), "expired")
    refused(f.make(iat=now - 300, exp=now), "expires now")
    refused(f.make(exp=None), "no end")
    refused(f.make(exp=now + 10 * 365 * 86400), "ends in ten years")
    refused(f.make(exp=1e18), "ends never")
    refused(f.make(exp=str(now + 60)), "the end is a text")
    refused(f.make(nbf=now + 200), "not yet valid")
    refused(f.make(iat=now + 200, exp=now + 300), "from the future")
    refused(f.make(sub=None), "no subject")
    refused(f.make(sid=str(uuid.uuid4())), "a session that is not there")
    refused(f.make(sid="' or 1=1 --"), "a session that is SQL")
    for kid in ("../../../../../../../../../../dev/null", "' UNION SELECT decode(repeat('00', 32), 'hex') --", "", "x" * 1500,
                b64(bytes(32)), f.header["kid"][:-1], f.header["kid"] + "A", 7, None, ["x"], {"x": 1}, f.header["kid"] + "\u0000"):
        refused(f.make(dict(f.header, kid=kid)), "kid %r" % (kid,))
    refused(f.make({"alg": "EdDSA", "typ": "JWT"}), "no kid")
    for extra in ({"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"crit": []}, {"jku": "http://evil.example/jwks"}, {"zip": "DEF"},
                  {"x5u": "http://evil.example/"}, {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(32))}}, {"typ": "JOSE"}):
        refused(f.make(dict(f.header, **extra)), "header %r" % extra)
    twice = compact(f.payload)[:-1] + b',"sub":"admin"}'
    refused(make(f.secret, f.header, twice), "a claim twice")
    refused(make(f.secret, compact(f.header)[:-1] + b',"alg":"none"}', f.payload), "a header member twice")
    refused(make(f.secret, f.header, compact(f.payload) + b" "), "data behind the claims")
    refused(make(f.secret, f.header, compact(f.payload) + b"{}"), "two objects of claims")
    refused(make(f.secret, f.header, b'{"a":' * 300 + b"1" + b"}" * 300), "nesting")
    refused(make(f.secret, f.header, compact(f.payload).replace(b'"sub"', b'"\\u0073ub"')), "escapes")
    refused(f.token + "=", "padding")
    refused(f.token + ".", "a fourth part")
    refused(f.token + "A", "data behind the signature")
    refused(f.token[:-1] + chr(ord(f.token[-1]) + 1), "stray bits in the signature")
    refused(text + ".", "no signature")
    refused(text + "." + b64(bytes(64)), "a signature of zeros")
    refused(text + "." + b64(b"\1" + bytes(63)), "the signature of the neutral element")
    refused(head.replace("-", "+").replace("_", "/") + "=." + body + "." + signature, "plain base64")
    other = Forge("mallory2")
    refused(other.token.split(".")[0] + "." + body + "." + other.token.split(".")[2], "the signature of another token")
    refused(b64(compact({"kid": f.header["kid"], "alg": "EdDSA"})) + "." + body + "." + signature, "a swapped header")
    refused(head + "." + b64(compact(dict(f.payload, sub="admin"))) + "." + signature, "a swapped payload")
    refused(make(bytes(range(32)), f.header, f.payload), "another key under the kid of ours")
    refused("a.b.c", "hardly a token")
    refused("." * 500, "dots")
    reply = who("A" * 3000 + ".A.A")
    expect(reply.status == 401, "a long token: %r" % reply)
    expect(who(f.token).status == 200, "the real one still works")


def test_the_subject_is_the_sessions():
    """What a token says of its bearer is not believed beyond the session: a signed token of another name stays who it is."""
    f = Forge("nora")
    reply = who(f.make(sub="admin", tenant="acme"))
    expect(reply.status == 200 and reply.json["subject"] == "user:nora" and reply.json["tenant"] == "default", "whoami: %r" % reply)


def test_made_up_kids_do_not_make_the_gateway_ask():
    f = Forge("oscar")

    def asked():
        return metric("auth", "hodei_runner_items_total{kind=\"rpc\"}")

    tokens = [f.make(dict(f.header, kid=b64(hashlib.sha256(b"%d" % i).digest()))) for i in range(40)]
    began, before = time.monotonic(), asked()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda i: who(tokens[i % len(tokens)]).status, range(400)))
    took, after = time.monotonic() - began, asked()
    expect(set(replies) == {401}, "statuses: %r" % set(replies))
    expect(after - before <= took + 3, "400 tokens with made-up kids in %.1f s made the gateway ask auth %d times" % (took, after - before))
    expect(who(f.token).status == 200, "the real one works meanwhile")


def metric(process, name):
    connection = http.client.HTTPConnection("127.0.0.1", hodei.process(process)["port"], timeout=10)
    connection.request("GET", "/metrics")
    for line in connection.getresponse().read().decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    raise Failed("no metric %s" % name)


def test_keys_rotate_without_logging_out():
    got = login(user("pat"))
    old = json.loads(parts(got["access_token"])[0])["kid"]
    reply = hodei.api("POST", "/v1/auth/keys:rotate")
    expect(reply.status == 200, "rotate: %r" % reply)
    keys = reply.json["keys"]
    new = keys[-1]["kid"]
    expect(new != old and not keys[-1].get("signs") and new in [k["kid"] for k in jwks()], "published, not signing: %r" % keys)
    expect(hodei.api("POST", "/v1/auth/keys:rotate").status == 412, "another before the new one signs")
    still = post("/v1/refresh", {"refresh_token": got["refresh_token"]}).json
    expect(json.loads(parts(still["access_token"])[0])["kid"] == old, "the old key signs until then")
    hodei.sql("update auth.signing_keys set signs_from_ms = (extract(epoch from now()) * 1000)::bigint where kid = '%s'" % new)  # two minutes later
    fresh = post("/v1/refresh", {"refresh_token": still["refresh_token"]}).json
    expect(json.loads(parts(fresh["access_token"])[0])["kid"] == new, "now the new one signs")
    # The gateway, which would have had the key for two minutes, may have asked for keys within the last second and waits so long.
    wait_for(lambda: who(fresh["access_token"]).status == 200, "a token of the new key works", 3)
    for token in (got, still, fresh):
        expect(who(token["access_token"]).status == 200, "tokens of both keys work")
    secret, header, payload = private_key(old), *[json.loads(p) for p in parts(fresh["access_token"])[:2]]
    hodei.sql("update auth.signing_keys set signs_from_ms = signs_from_ms - 400000 where kid in ('%s', '%s')" % (old, new))
    hodei.kill("auth")  # what its timer does each minute is done at the start
    wait_for(lambda: old not in [k["kid"] for k in jwks()], "the old key is over and goes", 20)
    hodei.kill("api-gateway")  # whose copy is at most half a minute old
    removed = make(secret, dict(header, kid=old), payload)
    wait_for(lambda: who(removed).status == 401, "a token of a removed key stops at the gateway", 20)
    expect(who(fresh["access_token"]).status == 200, "those of the new one go on")


def test_one_address_is_locked_out_and_another_goes_on():
    name = user("quinn")
    known = login(name, source="127.0.2.1")
    for i in range(5):
        login(name, "wrong password %d" % i, "127.0.9.1", 401)
    locked = post("/v1/login", {"user": name, "password": PASSWORD}, "127.0.9.2")
    expect(locked.status == 429 and "try again in" in locked.json["hint"], "the prefix is locked out: %r" % locked)
    expect(1 < int(locked.headers["Retry-After"]) < 3600, "%r" % locked.headers["Retry-After"])
    login(name, source="127.0.2.1")
    login(name, source="127.0.3.1")
    login(user("rosa"), source="127.0.9.1")  # another account from there
    expect(who(known["access_token"]).status == 200, "sessions go on")
    expect(post("/v1/refresh", {"refresh_token": known["refresh_token"]}, "127.0.9.1").status == 200, "refresh from the locked address")
    for i in range(6):  # a known place makes mistakes: it is slowed, never refused
        login(name, "wrong again %d" % i, "127.0.2.1", 401)
    began = time.monotonic()
    login(name, source="127.0.2.1")
    expect(1.5 < time.monotonic() - began < 9, "the known place was slowed: %.1f s" % (time.monotonic() - began))


def test_an_account_under_attack_from_everywhere():
    name = user("sara")
    login(name, source="127.0.2.1")
    hodei.sql("insert into auth.login_addresses (tenant, name, prefix, failures, failed_at_ms) select 'default', 'sara', '10.0.' || i, 5,"
              " (extract(epoch from now()) * 1000)::bigint from generate_series(1, 50) i")
    began = time.monotonic()
    login(name, source="127.0.2.1")
    known = time.monotonic() - began
    began = time.monotonic()
    login(name, source="127.0.4.1")
    new = time.monotonic() - began
    expect(known < 1.5 < new < 9, "the known place took %.2f s, a new one %.2f s" % (known, new))


def test_nobody_is_answered_like_somebody():
    name = user("tess")

    def timed(who_, i):
        began = time.monotonic()
        reply = post("/v1/login", {"user": who_, "password": "wrong password %d" % i}, "127.0.5.%d" % (i + 1))
        return time.monotonic() - began, reply

    known, unknown = [], []
    for i in range(4):
        known.append(timed(name, i))
        unknown.append(timed("nobody.at.all", i))
    strip = lambda r: {k: v for k, v in r.json.items() if k != "request_id"}  # noqa: E731
    expect(all(r.status == 401 and strip(r) == strip(known[0][1]) for _, r in known + unknown), "answers differ: %r %r" % (known, unknown))
    a, b = min(t for t, _ in known), min(t for t, _ in unknown)
    expect(0.6 < a / b < 1.67, "a name that is there takes %.3f s, one that is not %.3f s" % (a, b))
    for i in range(5, 8):
        timed("nobody.at.all", i)
    expect(timed("nobody.at.all", 9)[1].status == 429, "names that are nobody's are locked out alike")


def test_logins_do_not_stop_others():
    """While passwords are checked, the service answers others: the worst of them waits less than one check takes."""
    token = login(user("uma"))
    began = time.monotonic()
    login("uma")
    one = time.monotonic() - began

    def guess(i):
        return post("/v1/login", {"user": "uma%d" % i, "password": "wrong password"}, "127.1.%d.1" % i).status

    worst, done = 0.0, []
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        futures = [pool.submit(guess, i) for i in range(24)]
        while not all(f.done() for f in futures):
            began = time.monotonic()
            reply = hodei.raw("GET", "/v1/sessions", headers={"Authorization": "Bearer " + token["access_token"]})
            worst = max(worst, time.monotonic() - began)
            done.append(reply.status)
        statuses = [f.result() for f in futures]
    print("one login %.3f s; %d answers meanwhile, the slowest %.3f s" % (one, len(done), worst))
    expect(set(done) == {200} and len(done) > 20, "answers meanwhile: %r" % done)
    expect(set(statuses) <= {401, 429} and statuses.count(401) > 5, "guesses: %r" % statuses)
    expect(worst < 0.5, "an answer took %.3f s while passwords were checked" % worst)


def test_a_flood_keeps_nobody_out():
    """More logins than there is room for: strangers are told to come again, the account's own place gets in."""
    name = user("vera")
    login(name, source="127.0.2.1")

    def guess(i):
        return post("/v1/login", {"user": "x%d" % i, "password": "wrong password"}, "127.2.%d.%d" % (i // 3, i % 3 + 1)).status

    with concurrent.futures.ThreadPoolExecutor(70) as pool:
        futures = [pool.submit(guess, i) for i in range(70)]
        wait_for(lambda: any(f.done() and f.result() == 429 for f in futures), "strangers are told to wait", 20)
        began = time.monotonic()
        login(name, source="127.0.2.1")
        took = time.monotonic() - began
        left = sum(not f.done() for f in futures)
        statuses = [f.result() for f in futures]
    expect(set(statuses) <= {401, 429}, "guesses: %r" % set(statuses))
    expect(left > 5 and took < 5, "the owner waited %.1f s while %d strangers waited" % (took, left))


# --- the command line -------------------------------------------------------------------------------------------------------

class Terminal:
    """The command line of somebody with a home of their own, and no token but what they log in for."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="home-", dir=hodei.folder)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("HODEI_") and k != "XDG_CONFIG_HOME"}
        self.env.update(HOME=self.home, HODEI_SERVER=hodei.info["server"])
        self.file = os.path.join(self.home, ".config/hodei/session")

    def __call__(self, *argv, text="", code=0):
        done = subprocess.run([HODEI, *argv], env=self.env, input=text, capture_output=True, text=True, timeout=60)
        expect(done.returncode == code, "hodei %s: %d\n%s\n%s" % (" ".join(argv), done.returncode, done.stdout, done.stderr))
        return done

    def session(self):
        with open(self.file) as file:
            return json.load(file)

    def later(self, seconds):
        """As if so much time had passed since the token was taken."""
        session = self.session()
        session["until_ms"] -= seconds * 1000
        with open(self.file, "w") as file:
            json.dump(session, file)


def test_the_command_line_logs_in_and_refreshes():
    user("walt")
    walt = Terminal()
    expect("hodei login" in walt("whoami", code=3).stderr, "says what to do")
    walt("login", "walt", text="not the password\n", code=3)
    expect(not os.path.exists(walt.file), "a login that failed leaves nothing")
    expect("user:walt" in walt("login", "walt", text=PASSWORD + "\n").stdout, "login")
    mode = os.stat(walt.file).st_mode & 0o777
    expect(mode == 0o600, "the file's mode is %o" % mode)
    expect("user:walt of tenant default" in walt("whoami").stdout, "whoami")
    before = walt.session()
    expect("127.0.0.1" in walt("session", "list").stdout, "session list")
    expect(walt.session() == before, "a fresh token is not refreshed")
    walt.later(280)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # at once: one refreshes, the others take what it got
        expect(all("user:walt" in d.stdout for d in pool.map(lambda _: walt("whoami"), range(8))), "whoami at once")
    after = walt.session()
    expect(after["access_token"] != before["access_token"] and after["refresh_token"] != before["refresh_token"], "refreshed")
    expect(os.stat(walt.file).st_mode & 0o777 == 0o600, "the mode stays")
    os.chmod(walt.file, 0o644)
    expect("others may read" in walt("whoami", code=2).stderr, "a file that others may read is not used")
    os.chmod(walt.file, 0o600)
    walt.env["HODEI_SERVER"] = "http://127.0.0.2:1"
    expect("logged in at" in walt("whoami", code=3).stderr, "the token is sent to no other server")
    walt.env["HODEI_SERVER"] = hodei.info["server"]
    walt("logout")
    expect(not os.path.exists(walt.file), "logout removes the file")
    expect("not logged in" in walt("logout").stdout, "twice")
    wait_for(lambda: who(after["access_token"]).status == 401, "the session has ended", 3)


def test_the_command_line_changes_the_password():
    user("vera")
    vera = Terminal()
    said = vera("login", "vera", "--change-password", text=PASSWORD + "\na second password\n").stdout
    expect("the password is changed" in said, said)
    expect("user:vera" in vera("whoami").stdout, "the session goes on")
    vera("login", "vera", text=PASSWORD + "\n", code=3)
    vera("login", "vera", text="a second password\n")


def test_a_session_that_ended_is_said():
    user("xena")
    xena = Terminal()
    xena("login", "xena", text=PASSWORD + "\n")
    hodei.api("DELETE", "/v1/users/xena/sessions")
    xena.later(280)
    expect("hodei login" in xena("whoami", code=3).stderr, "says to log in again")
    expect(not os.path.exists(xena.file), "what is of no use is gone")


def test_the_command_line_steers_users():
    hodei.cli("user", "create", "yves", "--role", "viewer", "-r", role(["log.read"]), text=PASSWORD + "\n")
    expect("yves" in hodei.cli("user", "list").stdout, "user list")
    yves = Terminal()
    yves("login", "yves", text=PASSWORD + "\n")
    yves("user", "list", code=4)
    hodei.cli("user", "set-password", "yves", text="a new password\n")
    wait_for(lambda: yves("whoami", code=3), "sessions end", 5)
    yves("login", "yves", text="a new password\n")
    hodei.cli("user", "disable", "yves")
    yves("login", "yves", text="a new password\n", code=3)
    hodei.cli("user", "enable", "yves")
    hodei.cli("user", "delete", "yves")
    expect("yves" not in hodei.cli("user", "list").stdout, "deleted")
    expect("signs" in hodei.cli("auth", "keys", "list").stdout, "auth keys list")


def test_a_password_is_typed_without_echo():
    user("zoe")
    zoe = Terminal()
    main, child = pty.openpty()
    process = subprocess.Popen([HODEI, "login", "zoe"], env=zoe.env, stdin=child, stdout=child, stderr=child, start_new_session=True)
    shown = b""
    while b"Password" not in shown:
        shown += os.read(main, 1000)
    wait_for(lambda: not termios.tcgetattr(child)[3] & termios.ECHO, "the echo is off")
    os.write(main, PASSWORD.encode() + b"\n")
    expect(process.wait(30) == 0, "login at a terminal")
    while b"logged in" not in shown:
        shown += os.read(main, 1000)
    expect(PASSWORD.encode() not in shown, "the password was shown: %r" % shown)
    expect(termios.tcgetattr(child)[3] & termios.ECHO, "the echo is back")
    process = subprocess.Popen([HODEI, "login", "zoe"], env=zoe.env, stdin=child, stdout=child, stderr=child, start_new_session=True)
    wait_for(lambda: not termios.tcgetattr(child)[3] & termios.ECHO, "the echo is off")
    process.terminate()
    expect(process.wait(30) == -15, "a signal ends it")
    expect(termios.tcgetattr(child)[3] & termios.ECHO, "the echo is back after a signal")
    os.close(main)
    os.close(child)


if __name__ == "__main__":
    hodei.start()
    sys.exit(hodei.finish(run_tests([(n[5:], f) for n, f in list(globals().items()) if n.startswith("test_")], sys.argv)))
