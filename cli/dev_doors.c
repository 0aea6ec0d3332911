// What nats-server and PostgreSQL are told of who may do what: the table of base/doors.h with this folder's passwords.
#include <errno.h>
#include <openssl/sha.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/db_script.h"
#include "base/doors.h"
#include "cli/dev.h"

// --- nats-server -----------------------------------------------------------------------------------------------------

static const char *quoted_secret(struct dev *dev, const char *name, enum hd_status *status) {
    char secret[128] = "";

    if (*status == HD_OK)
        *status = dev_read_secret(dev, hd_arena_printf(&dev->cli->arena, "secrets/nats-%s", name), secret);
    return hd_arena_printf(&dev->cli->arena, "\"%s\"", secret);
}

enum hd_status dev_doors_nats(struct dev *dev, struct hd_buf *out) {
    struct hd_arena *arena = &dev->cli->arena;
    enum hd_status status = HD_OK;

    hd_buf_addf(out, "authorization { users: [\n  { user: operator, password: %s }\n",
                quoted_secret(dev, "operator", &status));
    for (size_t i = 0; i < hd_doors_len; i++) {
        const struct hd_door *door = &hd_doors[i];
        bool agent = hd_streq(door->name, "agent");
        for (int64_t n = 1; n <= (agent ? dev->agents : 1); n++) {
            const char *worker = agent ? hd_arena_printf(arena, "agent-%lld", (long long)n) : NULL;
            const char *user = agent ? hd_arena_printf(arena, "agent-%s", worker) : door->name;
            hd_buf_adds(out, "  ");
            hd_door_nats(out, door, worker, quoted_secret(dev, user, &status));
        }
    }
    hd_buf_adds(out, "] }\n");
    return status;
}

// --- PostgreSQL ------------------------------------------------------------------------------------------------------

// The owner of the cluster is whoever runs this program; roles come with their passwords, and to this database only.
enum hd_status dev_doors_hba(struct dev *dev) {
    HD_AUTO_BUF struct hd_buf hba = {0}, ident = {0};
    const struct passwd *self = getpwuid(geteuid());
    const char *folder = dev_path(dev, "access");

    if (mkdir(folder, 0755) < 0 && errno != EEXIST)
        return hd_err_set(&dev->cli->err, HD_INVALID, "%s: %s", folder, strerror(errno));
    hd_buf_adds(&hba, "local all hodei peer map=hodei\n");
    for (size_t i = 0; i < hd_doors_len; i++)
        if (hd_doors[i].schema)
            hd_buf_addf(&hba, "%s postgres \"hodei-%s\"%s scram-sha-256\n", dev->tls ? "hostssl" : "local",
                        hd_doors[i].name, dev->tls ? " 127.0.0.1/32" : "");
    hd_buf_adds(&hba, "local all all reject\n");
    hd_buf_addf(&ident, "hodei \"%s\" hodei\n", self ? self->pw_name : "root");
    HD_TRY(dev_write(dev, dev_path(dev, "access/pg_hba.conf"), 0644, &hba)); // read by the user of PostgreSQL
    return dev_write(dev, dev_path(dev, "access/pg_ident.conf"), 0644, &ident);
}

static const char *role_password(struct dev *dev, const char *name, enum hd_status *status) {
    char line[128] = "";

    if (*status == HD_OK)
        *status = dev_read_secret(dev, hd_arena_printf(&dev->cli->arena, "secrets/postgres-%s", name), line);
    const char *colon = strrchr(line, ':');
    return hd_arena_printf(&dev->cli->arena, "'%s'", colon ? colon + 1 : "");
}

// A mark in the cluster, made of all that is run, says that it has been run; so a start costs one question.
enum hd_status dev_doors_postgres(struct dev *dev) {
    HD_AUTO_BUF struct hd_buf sql = {0}, mark = {0};
    const char **passwords = HD_NEW_ARRAY(&dev->cli->arena, hd_doors_len, const char *);
    uint8_t hash[SHA256_DIGEST_LENGTH];
    enum hd_status status = HD_OK;

    for (size_t i = 0; i < hd_doors_len; i++)
        passwords[i] = hd_doors[i].schema ? role_password(dev, hd_doors[i].name, &status) : NULL;
    HD_TRY(status);
    hd_doors_sql(&sql, passwords);
    SHA256((const uint8_t *)sql.data, sql.len, hash);
    hd_buf_add_hex(&mark, hash, sizeof(hash));
    hd_buf_addf(&sql, "DO $$ BEGIN EXECUTE format('COMMENT ON ROLE %%I IS %%L', current_user, 'doors %s'); END $$;\n",
                mark.data);
    const char *probe = hd_arena_printf(&dev->cli->arena,
                                        "SELECT FROM pg_roles WHERE rolname = current_user"
                                        " AND shobj_description(oid, 'pg_authid') = 'doors %s'",
                                        mark.data);
    status = hd_db_script(dev_conninfo(dev, NULL), probe, sql.data, &dev->cli->err);
    if (status != HD_OK)
        hd_err_hint(&dev->cli->err, "%s%s",
                    dev->postgres ? "--postgres: how a superuser reaches it, as psql takes it" : dev->data,
                    dev->postgres ? "" : "/log/postgres.log says more");
    return status;
}
