#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/doors.h"
#include "cli/dev.h"

static const char *const services[DEV_SERVICES] = {"auth",      "quota",           "pipelines",     "orchestrator",
                                                   "scheduler", "worker-registry", "observability", "api-gateway"};

// The words up to NULL, in the arena.
static const char *const *words(struct dev *dev, ...) {
    const char **list = NULL, *word;
    size_t n = 0, cap = 0;
    va_list ap;

    va_start(ap, dev);
    do {
        word = va_arg(ap, const char *);
        HD_GROW(&dev->cli->arena, list, n, cap);
        list[n++] = word;
    } while (word);
    va_end(ap);
    return list;
}

static const char *const *joined(struct dev *dev, const char *const *a, const char *const *b) {
    const char **list = NULL;
    size_t n = 0, cap = 0;

    for (const char *const *from = a; from; from = from == a ? b : NULL) {
        for (size_t i = 0; from[i]; i++) {
            HD_GROW(&dev->cli->arena, list, n, cap);
            list[n++] = from[i];
        }
        if (from == b)
            break;
    }
    HD_GROW(&dev->cli->arena, list, n, cap);
    list[n] = NULL;
    return list;
}

// PostgreSQL refuses to run as root.
static const char *const *as_pg_user(struct dev *dev, const char *const *argv) {
    if (!dev->pg_user)
        return argv;
    return joined(dev,
                  words(dev, dev->setpriv_bin, hd_arena_printf(&dev->cli->arena, "--reuid=%u", dev->pg_uid),
                        hd_arena_printf(&dev->cli->arena, "--regid=%u", dev->pg_gid), "--clear-groups", "--", NULL),
                  argv);
}

// A cluster is made under another name, so that one which is half made is never used.
const char *const *dev_initdb_argv(struct dev *dev) {
    return as_pg_user(dev, words(dev, hd_arena_printf(&dev->cli->arena, "%s/initdb", dev->pg_bin), "-D",
                                 dev_path(dev, "pg.new"), "-U", "hodei", "-A", "trust", "-E", "UTF8", "--locale=C",
                                 "--no-instructions", NULL));
}

static struct dev_proc *add(struct dev *dev, enum dev_phase phase, const char *name) {
    struct dev_proc *proc = &dev->procs[dev->n_procs++];

    *proc = (struct dev_proc){.name = name, .phase = phase, .held = {-1, -1}};
    return proc;
}

// An element of a list of folders in PostgreSQL's settings.
static const char *pg_quoted(struct dev *dev, const char *path) {
    HD_AUTO_BUF struct hd_buf out = {0};

    hd_buf_addc(&out, '"');
    for (; *path; path++)
        hd_buf_addf(&out, *path == '"' ? "\"\"" : "%c", *path);
    hd_buf_addc(&out, '"');
    return hd_arena_strdup(&dev->cli->arena, out.data);
}

static const char *file_setting(struct dev *dev, const char *what) {
    return hd_arena_printf(&dev->cli->arena, "%s_file=%s/access/pg_%s.conf", what, dev->data, what);
}

// With TLS services come over TCP, as they would from other machines: a Unix socket has no TLS.
static const char *const *tls_settings(struct dev *dev) {
    struct hd_arena *arena = &dev->cli->arena;

    return words(dev, "-c", "listen_addresses=127.0.0.1", "-c", hd_arena_printf(arena, "port=%d", dev->pg_port), "-c",
                 "ssl=on", "-c", "ssl_min_protocol_version=TLSv1.2", "-c",
                 hd_arena_printf(arena, "ssl_cert_file=%s/tls/server.crt", dev->data), "-c",
                 hd_arena_printf(arena, "ssl_key_file=%s/tls/postgres.key", dev->data), NULL);
}

static void settle_postgres(struct dev *dev, struct dev_proc *proc) {
    const char *sockets =
        hd_arena_printf(&dev->cli->arena, "unix_socket_directories=%s", pg_quoted(dev, dev->socket_dir));
    const char *const *argv =
        words(dev, hd_arena_printf(&dev->cli->arena, "%s/postgres", dev->pg_bin), "-D", dev_path(dev, "pg"), "-c",
              sockets, "-c", "unix_socket_permissions=0700", "-c", "shared_buffers=32MB", "-c", "max_connections=100",
              "-c", "jit=off", "-c", file_setting(dev, "hba"), "-c", file_setting(dev, "ident"), "-c",
              "max_wal_size=512MB", "-c", "checkpoint_timeout=10min", "-c", "huge_pages=off", NULL);

    proc->argv =
        as_pg_user(dev, joined(dev, argv, dev->tls ? tls_settings(dev) : words(dev, "-c", "listen_addresses=", NULL)));
    proc->env = words(dev, NULL);
}

// A value of libpq's connection strings.
static void add_value(struct hd_buf *out, const char *text) {
    hd_buf_addc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            hd_buf_addc(out, '\\');
        hd_buf_addc(out, *text);
    }
    hd_buf_addc(out, '\'');
}

// Of somebody else's cluster the last word of each kind counts.
const char *dev_conninfo(struct dev *dev, const char *service) {
    HD_AUTO_BUF struct hd_buf out = {0};

    if (dev->postgres && !service)
        return dev->postgres;
    if (dev->postgres) {
        hd_buf_addf(&out, "%s user=hodei-%s passfile=", dev->postgres, service);
        add_value(&out, dev_path(dev, hd_arena_printf(&dev->cli->arena, "secrets/postgres-%s", service)));
        return hd_arena_strdup(&dev->cli->arena, out.data);
    }
    hd_buf_adds(&out, "host=");
    add_value(&out, service && dev->tls ? "127.0.0.1" : dev->socket_dir);
    if (dev->tls)
        hd_buf_addf(&out, " port=%d", dev->pg_port);
    if (service && dev->tls) {
        hd_buf_adds(&out, " sslmode=verify-full sslrootcert=");
        add_value(&out, dev_path(dev, "tls/ca.crt"));
    }
    hd_buf_addf(&out, " user=hodei%s%s dbname=postgres", service ? "-" : "", service ? service : "");
    if (service) {
        hd_buf_adds(&out, " passfile=");
        add_value(&out, dev_path(dev, hd_arena_printf(&dev->cli->arena, "secrets/postgres-%s", service)));
    }
    return hd_arena_strdup(&dev->cli->arena, out.data);
}

enum hd_status dev_read_secret(struct dev *dev, const char *name, char ret[128]) {
    FILE *file = fopen(dev_path(dev, name), "re");

    if (!file || !fgets(ret, 128, file)) {
        if (file)
            fclose(file);
        return hd_err_set(&dev->cli->err, HD_INVALID, "%s/%s cannot be read", dev->data, name);
    }
    fclose(file);
    ret[strcspn(ret, "\n")] = '\0';
    return HD_OK;
}

// A path in a quoted string of the nats-server's settings.
static const char *quoted(struct dev *dev, const char *path) {
    HD_AUTO_BUF struct hd_buf out = {0};

    hd_buf_addc(&out, '"');
    for (; *path; path++) {
        if (*path == '"' || *path == '\\')
            hd_buf_addc(&out, '\\');
        hd_buf_addc(&out, *path);
    }
    hd_buf_addc(&out, '"');
    return hd_arena_strdup(&dev->cli->arena, out.data);
}

static const char *nats_conf(struct dev *dev, const struct dev_proc *proc) {
    return dev_path(dev, hd_arena_printf(&dev->cli->arena, "nats/%s.conf", proc->name));
}

// Servers know each other by the operator's password.
static enum hd_status add_cluster(struct dev *dev, const struct dev_proc *proc, struct hd_buf *out) {
    char secret[128];

    HD_TRY(dev_read_secret(dev, "secrets/nats-operator", secret));
    hd_buf_addf(out,
                "cluster { name: hodei, listen: \"127.0.0.1:%d\", authorization { user: operator, password: \"%s\" }\n"
                "  routes: [ ",
                proc->more_port, secret);
    for (size_t i = 0; i < dev->n_procs; i++)
        if (dev->procs[i].phase == DEV_NATS && &dev->procs[i] != proc)
            hd_buf_addf(out, "\"nats://operator:%s@127.0.0.1:%d\", ", secret, dev->procs[i].more_port);
    hd_buf_adds(out, "] }\n");
    return HD_OK;
}

// Sizes are accounts and not reservations of memory: every work stream may hold 64 MiB, and there may be many.
static enum hd_status write_nats_conf(struct dev *dev, const struct dev_proc *proc) {
    HD_AUTO_BUF struct hd_buf out = {0};
    const char *js = hd_arena_printf(&dev->cli->arena, "nats/js%s", proc->name + strlen("nats"));

    hd_buf_addf(&out,
                "listen: \"127.0.0.1:%d\"\nserver_name: hodei-dev%s\nmax_payload: 4MB\nports_file_dir: %s\n"
                "jetstream { store_dir: %s, max_mem: 1TB, max_file: 1TB }\n",
                proc->port, proc->name + strlen("nats"), quoted(dev, dev_path(dev, "nats")),
                quoted(dev, dev_path(dev, js)));
    if (dev->nats_servers > 1)
        HD_TRY(add_cluster(dev, proc, &out));
    if (dev->tls)
        hd_buf_addf(&out, "tls { cert_file: %s, key_file: %s }\n", quoted(dev, dev_path(dev, "tls/server.crt")),
                    quoted(dev, dev_path(dev, "tls/server.key")));
    HD_TRY(dev_doors_nats(dev, &out));
    return dev_write(dev, nats_conf(dev, proc), 0600, &out);
}

const char *dev_nats_url(struct dev *dev) {
    HD_AUTO_BUF struct hd_buf out = {0};

    for (size_t i = 0; i < dev->n_procs; i++)
        if (dev->procs[i].phase == DEV_NATS)
            hd_buf_addf(&out, "%s%s://127.0.0.1:%d", out.len ? "," : "", dev->tls ? "tls" : "nats", dev->procs[i].port);
    return hd_arena_strdup(&dev->cli->arena, out.data);
}

static enum hd_status settle_nats(struct dev *dev, struct dev_proc *proc) {
    proc->argv = words(dev, dev->nats_bin, "-c", nats_conf(dev, proc), NULL);
    proc->env = words(dev, NULL);
    return write_nats_conf(dev, proc);
}

static const char *env_path(struct dev *dev, const char *name, const char *what) {
    return hd_arena_printf(&dev->cli->arena, "%s=%s/%s", name, dev->data, what);
}

static const char *const *env_bus(struct dev *dev, const struct dev_proc *proc, const char *user) {
    struct hd_arena *arena = &dev->cli->arena;

    return words(dev, hd_arena_printf(arena, "HODEI_NATS=%s", dev_nats_url(dev)),
                 hd_arena_printf(arena, "HODEI_NATS_USER=%s", user),
                 hd_arena_printf(arena, "HODEI_NATS_PASSWORD_FILE=%s/secrets/nats-%s", dev->data, user),
                 hd_arena_printf(arena, "HODEI_LISTEN=127.0.0.1:%d", proc->port),
                 dev->tls ? env_path(dev, "HODEI_NATS_CA", "tls/ca.crt") : NULL, NULL);
}

static void settle_service(struct dev *dev, struct dev_proc *proc) {
    struct hd_arena *arena = &dev->cli->arena;
    const char *const *own =
        words(dev, hd_arena_printf(arena, "HODEI_POSTGRES=%s", dev_conninfo(dev, proc->service)), NULL);

    if (!hd_door_find(proc->service)->schema)
        own = words(dev, NULL);
    if (hd_streq(proc->service, "api-gateway"))
        own = words(dev, hd_arena_printf(arena, "HODEI_HTTP=127.0.0.1:%d", proc->more_port), "HODEI_RATE_ADDRESS=0",
                    dev->replicas > 1 ? "HODEI_DRAIN=2s" : "HODEI_DRAIN=0s",
                    "HODEI_RATE_TOKEN=0", // only this machine can ask
                    dev->tls ? env_path(dev, "HODEI_TLS_CERT", "tls/server.crt") : NULL,
                    env_path(dev, "HODEI_TLS_KEY", "tls/server.key"), NULL);
    else if (hd_streq(proc->service, "auth"))
        own = joined(dev, own, words(dev, env_path(dev, "HODEI_ADMIN_TOKEN_FILE", "secrets/admin-token"), NULL));
    else if (hd_streq(proc->service, "worker-registry")) // a handful of workers: all of them may be lost at once
        own = joined(dev, own,
                     words(dev, env_path(dev, "HODEI_JOIN_TOKEN_FILE", "secrets/join-token"),
                           "HODEI_LOST_PERCENT_MAX=100", NULL));
    proc->argv = words(dev, hd_arena_printf(arena, "%s/hodei-%s", dev->bin, proc->service), NULL);
    own = joined(dev, own,
                 words(dev, hd_arena_printf(arena, "HODEI_NATS_REPLICAS=%lld", (long long)dev->nats_servers), NULL));
    proc->env = joined(dev, env_bus(dev, proc, proc->service), own);
}

static void settle_agent(struct dev *dev, struct dev_proc *proc) {
    struct hd_arena *arena = &dev->cli->arena;
    const char *const *own =
        words(dev, hd_arena_printf(arena, "HODEI_NAME=%s", proc->name),
              hd_arena_printf(arena, "HODEI_STATE=%s/%s", dev->data, proc->name),
              env_path(dev, "HODEI_JOIN_TOKEN_FILE", "secrets/join-token"), "HODEI_ON_STOP=stop", NULL);

    if (dev->slots)
        own = joined(dev, own, words(dev, hd_arena_printf(arena, "HODEI_SLOTS=%lld", (long long)dev->slots), NULL));
    proc->argv = words(dev, hd_arena_printf(arena, "%s/hodei-agent", dev->bin), NULL);
    proc->env = joined(dev, env_bus(dev, proc, hd_arena_printf(arena, "agent-%s", proc->name)), own);
}

static enum hd_status check_program(struct dev *dev, const char *path) {
    if (access(path, X_OK) == 0)
        return HD_OK;
    hd_err_set(&dev->cli->err, HD_PRECONDITION, "%s is not there, or not a program", path);
    hd_err_hint(&dev->cli->err, "the programs of the platform stand together in one folder: `make` builds all of them");
    return HD_PRECONDITION;
}

// The first of each has the name of its service alone.
static void plan_services(struct dev *dev, int64_t replica) {
    for (size_t i = 0; i < DEV_SERVICES; i++) {
        const char *name =
            replica == 1 ? services[i] : hd_arena_printf(&dev->cli->arena, "%s-%lld", services[i], (long long)replica);
        add(dev, DEV_SERVICE, name)->service = services[i];
    }
}

enum hd_status dev_plan(struct dev *dev) {
    if (!dev->postgres)
        add(dev, DEV_POSTGRES, "postgres");
    for (int64_t n = 1; n <= dev->nats_servers; n++)
        add(dev, DEV_NATS, n == 1 ? "nats" : hd_arena_printf(&dev->cli->arena, "nats-%lld", (long long)n));
    for (int64_t n = 1; n <= dev->replicas; n++)
        plan_services(dev, n);
    for (int64_t i = 1; i <= dev->agents; i++)
        add(dev, DEV_AGENT, hd_arena_printf(&dev->cli->arena, "agent-%lld", (long long)i));
    HD_TRY(dev_ports(dev));
    for (size_t i = 0; i < dev->n_procs; i++) {
        if (dev->procs[i].phase == DEV_POSTGRES)
            settle_postgres(dev, &dev->procs[i]);
        if (dev->procs[i].phase == DEV_NATS)
            HD_TRY(settle_nats(dev, &dev->procs[i]));
        if (dev->procs[i].phase == DEV_SERVICE)
            settle_service(dev, &dev->procs[i]);
        if (dev->procs[i].phase == DEV_AGENT)
            settle_agent(dev, &dev->procs[i]);
        if (dev->procs[i].phase == DEV_POSTGRES && !dev->tls)
            dev->procs[i].port = 0;
        HD_TRY(check_program(dev, dev->procs[i].argv[0]));
    }
    return dev->postgres ? HD_OK : dev_doors_hba(dev);
}
