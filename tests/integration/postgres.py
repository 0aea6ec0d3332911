"""PostgreSQL of a test's own, on a port of 127.0.0.1: so that it can have a standby, or too little disk, or live on while `hodei dev` does not."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess

from hodei import expect, wait_for


class Postgres:
    def __init__(self, folder, standby_of=None):
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = one.getsockname()[1]
        self.bin = sorted(x for x in os.listdir("/usr/lib/postgresql"))[-1]
        self.bin = "/usr/lib/postgresql/%s/bin/" % self.bin
        self.folder, self.process, self.options = folder, None, []
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []
        os.makedirs(folder, exist_ok=True)
        if self.user:
            shutil.chown(folder, "postgres", "postgres")
        os.chmod(folder, 0o700)
        self.data, self.log = os.path.join(folder, "data"), folder.rstrip("/") + ".log"
        if standby_of:
            self.tool("pg_basebackup", "-D", self.data, "-h", "127.0.0.1", "-p", str(standby_of.port), "-U", "hodei", "-R", "-X", "stream")
        else:
            self.tool("initdb", "-D", self.data, "-U", "hodei", "-A", "trust", "-E", "UTF8", "--locale=C")

    def tool(self, name, *argv):
        done = subprocess.run([*self.user, self.bin + name, *argv], capture_output=True, text=True, cwd="/", timeout=60)
        expect(done.returncode == 0, "%s: %s" % (name, done.stderr))
        return done.stdout

    def start(self, *options):
        self.options = options or self.options
        argv = [*self.user, self.bin + "postgres", "-D", self.data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                "-c", "unix_socket_directories=", "-c", "shared_buffers=32MB", *self.options]
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/")
        wait_for(self.answers, "PostgreSQL answers", 60)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit("PostgreSQL has ended: see its log beside %s" % self.folder)
        return subprocess.run([self.bin + "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], timeout=10).returncode == 0

    def sql(self, statement):
        return self.tool("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "hodei", "-d", "postgres", "-qAtc", statement)

    def kill(self):
        """With all its processes, as a machine that is gone."""
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            postmaster = int(file.readline())
        children = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True).stdout.split()
        for pid in [postmaster, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)


@contextlib.contextmanager
def folder_of_servers():
    folder = os.path.join("/tmp", "hodei-test-pg-%d" % os.getpid())
    os.makedirs(folder)
    os.chmod(folder, 0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def conninfo(*servers):
    return "host=%s port=%s user=hodei dbname=postgres target_session_attrs=read-write" % (
        ",".join("127.0.0.1" for _ in servers), ",".join(str(x.port) for x in servers))
