#include "agent/process.h"

static const struct hd_setting settings[] = {
    {"name", HD_SET_TEXT, NULL, "of the worker, 1 to 64 of A-Z a-z 0-9 _ -; empty: the machine's name"},
    {"state", HD_SET_TEXT, "/var/lib/hodei-agent", "state folder; its id is the worker's session"},
    {"pool", HD_SET_TEXT, "default", "pool that the worker belongs to"},
    {"labels", HD_SET_TEXT, NULL, "key=value, separated by commas"},
    {"slots", HD_SET_INT, "0", "jobs at once; 0: two for each processor, at least 4", .min = 0, .max = 8000},
    {"taints", HD_SET_TEXT, NULL, "key=value, separated by commas; jobs that do not tolerate them stay away"},
    {"cpu", HD_SET_TEXT, NULL, "CPUs for jobs, as 4, 1.5 or 500m; empty: those that the agent may use"},
    {"memory", HD_SET_TEXT, NULL,
     "memory for jobs, as 512Mi or 16Gi; empty: the machine's, or its control group's limit"},
    {"disk", HD_SET_TEXT, NULL, "disk for jobs, as 100Gi; empty: what is free beside the state folder at the start"},
    {"gpu", HD_SET_TEXT, NULL, "GPUs for jobs; empty: the devices /dev/nvidia0, /dev/nvidia1 and so on"},
    {"disk-floor", HD_SET_TEXT, "512Mi",
     "with less disk free beside the state folder it takes no work; 0: it always does"},
    {"spool-max", HD_SET_TEXT, "1Gi",
     "what logs may take on the disk while the worker is cut off; the oldest output goes first"},
    {"join-token", HD_SET_TEXT, NULL, "token that lets it join", .secret = true},
    {"user", HD_SET_TEXT, NULL, "user that jobs run as, for an agent of root; empty: the agent's own"},
    {"cgroups", HD_SET_TEXT, "auto", "auto: control groups for jobs where they can be had; off: none"},
    {"processes", HD_SET_INT, "4096", "of one job at once: one with more is ended; 0: any number", .min = 0,
     .max = 1 << 22},
    {"keep-workspaces", HD_SET_TEXT, "never", "never, failed (those of jobs that did not succeed) or always"},
    {"kept-workspaces", HD_SET_INT, "10", "as many are kept, the newest", .min = 1, .max = 10000},
    {"shim", HD_SET_TEXT, NULL, "program of the shim; empty: hodei-shim beside this program"},
    {"on-stop", HD_SET_TEXT, "drain",
     "SIGTERM: drain waits for the jobs to end, leave lets them go on without the agent, "
     "stop stops them"},
    {"stop-timeout", HD_SET_DURATION, "0s",
     "SIGTERM waits that long; 0s: with drain as long as jobs run, with stop 12s", .min = 0,
     .max = INT64_C(7) * 24 * 3600 * 1000},
    {"nats", HD_SET_TEXT, "nats://127.0.0.1:4222", "addresses of nats-server, separated by commas"},
    {"nats-user", HD_SET_TEXT, NULL, "user at nats-server"},
    {"nats-password", HD_SET_TEXT, NULL, "its password", .secret = true},
    {"nats-ca", HD_SET_TEXT, NULL,
     "PEM file of who signs nats-server's certificate; with it the connection must be TLS"},
    {"reconnect-max", HD_SET_DURATION, "10s", "longest pause between two tries to reach NATS, less a random part",
     .min = 100, .max = 3600000},
    {"nats-inbox", HD_SET_TEXT, NULL, "prefix of its inboxes; empty: _INBOX.agent. and its name"},
    {"listen", HD_SET_TEXT, "127.0.0.1:0", "host:port of /livez, /readyz, /metrics; empty: none, port 0: a free one"},
    {"log-level", HD_SET_TEXT, "info", "debug, info, warn or error"},
};

int main(int argc, char **argv) {
    return agent_main(settings, sizeof(settings) / sizeof(settings[0]), argc, argv);
}
