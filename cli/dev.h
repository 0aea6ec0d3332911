// `hodei dev`: the whole platform on one machine, supervised by one single-threaded process.
//
// Everything lies in one data folder, which one dev at a time may use (flock on `lock`). Children are started by posix_spawn, each
// in a session of its own, with its log in log/<name>.log and its process id in pids/<name>. A dev that was killed leaves them
// running; the next one stops them by those files (with the start time of the process, so that no stranger is hit) and begins
// anew; agents are killed so that their jobs live on in the shims, which the new agents adopt. With --replicas each service runs that
// often, and one that somebody asks to end (SIGTERM) stays away as long as another of its service runs, or until SIGUSR1. Secrets travel in files of mode
// 0600 only, named by the environment. All memory is the arena of struct cli, until the end of the process.
#ifndef HD_CLI_DEV_H
#define HD_CLI_DEV_H

#include <sys/types.h>

#include "cli/cli.h"

enum dev_phase { DEV_POSTGRES, DEV_NATS, DEV_SERVICE, DEV_AGENT, DEV_PHASES }; // stopped from the last to the first

struct dev_proc {
    const char *name;    // "scheduler", "scheduler-2", "agent-1"
    const char *service; // of a service what it is, whichever replica; else NULL
    enum dev_phase phase;
    const char *const *argv;
    const char *const *env; // added to the cleaned environment
    int port;               // of its health page or its service; 0: none
    int more_port;          // of a gateway: the API's; of one of several nats-servers: for the others; else 0
    int held[2];            // sockets that keep the two ports until it is started; -1: none
    pid_t pid;              // 0: not running
    bool wanted;            // started again when it ends
    int64_t backoff_ms, started_mono_ms, start_at_mono_ms;
    unsigned starts;
};
#define DEV_SERVICES 8
#define DEV_AGENTS_MAX 32
#define DEV_REPLICAS_MAX 8
#define DEV_NATS_MAX 5
#define DEV_PROCS_MAX (1 + DEV_NATS_MAX + DEV_SERVICES * DEV_REPLICAS_MAX + DEV_AGENTS_MAX)

struct dev {
    struct cli *cli;
    const char *data; // absolute
    const char *bin;  // folder of this program
    int lock_fd, signal_fd, watch_fd;
    const char *pg_user; // NULL: ours; else what PostgreSQL drops to, as we are root
    const char *pg_bin, *nats_bin, *setpriv_bin, *socket_dir;
    uid_t pg_uid;
    gid_t pg_gid;
    bool tls; // of the API, nats-server and PostgreSQL
    int http_port, pg_port;
    const char *postgres;    // somebody else's, as its superuser; NULL: our own
    const char *server;      // the API's address
    int64_t tls_due_mono_ms; // when the certificate is looked at
    int64_t agents, slots, replicas, nats_servers;
    struct dev_proc procs[DEV_PROCS_MAX];
    size_t n_procs;
    pid_t initdb;
    unsigned interrupts; // SIGINT and SIGTERM so far
    bool services_started, ready, failed;
    size_t answered; // of the services that the API asks, while starting
    int64_t began_mono_ms;
};

// dev_files.c: the data folder. Paths below are "<data>/<what>" in the arena.
const char *dev_path(struct dev *dev, const char *what);
enum hd_status dev_folders(struct dev *dev) HD_MUST_USE; // makes them, takes the lock, makes the secrets
enum hd_status dev_write(struct dev *dev, const char *path, mode_t mode, const struct hd_buf *text) HD_MUST_USE;
enum hd_status dev_describe(struct dev *dev) HD_MUST_USE; // dev.json and env
bool dev_exists(const char *path);
const char *dev_shell_word(struct dev *dev, const char *text); // quoted

// dev_find.c: what the machine has.
enum hd_status dev_find(struct dev *dev) HD_MUST_USE;  // programs, user of PostgreSQL, socket folder
enum hd_status dev_ports(struct dev *dev) HD_MUST_USE; // of the API, nats and every process

// dev_tls.c: the CA and the certificate; nothing without --tls.
enum hd_status dev_tls(struct dev *dev) HD_MUST_USE; // makes what is missing or soon over
void dev_tls_tend(struct dev *dev);                  // the same while all runs, and tells the servers

// dev_plan.c: which processes, with which settings.
enum hd_status dev_plan(struct dev *dev) HD_MUST_USE;
const char *const *dev_initdb_argv(struct dev *dev);
const char *dev_nats_url(struct dev *dev);
const char *dev_conninfo(struct dev *dev, const char *service); // NULL: of the cluster's owner
enum hd_status dev_read_secret(struct dev *dev, const char *name, char ret[128]) HD_MUST_USE; // without its newline

// dev_doors.c: users and roles of base/doors.h.
enum hd_status dev_doors_nats(struct dev *dev, struct hd_buf *out) HD_MUST_USE; // into nats-server's settings
enum hd_status dev_doors_hba(struct dev *dev) HD_MUST_USE;                      // before PostgreSQL starts
enum hd_status dev_doors_postgres(struct dev *dev) HD_MUST_USE; // once it answers, before services start

// dev_proc.c: starting and stopping.
enum hd_status dev_spawn(struct dev *dev, const char *name, const char *const *argv, const char *const *env,
                         pid_t *ret) HD_MUST_USE;
void dev_start(struct dev *dev, struct dev_proc *proc); // a failure is said and tried again
void dev_ended(struct dev *dev, pid_t pid, int status);
void dev_forget(struct dev *dev, const char *name); // its pid file
void dev_stop_leftovers(struct dev *dev);
size_t dev_running(const struct dev *dev, enum dev_phase phase);
void dev_signal(struct dev *dev, enum dev_phase phase, int signo);
size_t
dev_kill_strays(int signo); // children that are not ours by name: shims and jobs that came to us; how many there are
void dev_say(struct dev *dev, const char *fmt, ...) HD_PRINTF(2, 3);

#endif
