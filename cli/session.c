#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/pb.h"
#include "base/uuid.h"
#include "cli/cli.h"

#define FILE_MAX (16u << 10)
#define EARLY_MS 30000 // so long before its end is a token made anew

static enum hd_status failed(struct cli *cli, const char *path) {
    return hd_err_set(&cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
}

static enum hd_status read_private(struct cli *cli, const char *path, char **ret) {
    HD_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat info;

    if (fd < 0 && errno == ENOENT)
        return HD_MISSING;
    if (fd < 0 || fstat(fd, &info) != 0)
        return failed(cli, path);
    if (info.st_uid != geteuid() || (info.st_mode & 077)) {
        hd_err_set(&cli->err, HD_INVALID, "%s holds your tokens, and others may read it", path);
        hd_err_hint(&cli->err, "chmod 600 it; if somebody may have read it: hodei logout");
        return HD_INVALID;
    }
    char *text = hd_arena_alloc(&cli->arena, FILE_MAX + 1);
    ssize_t n = read(fd, text, FILE_MAX);
    if (n < 0)
        return failed(cli, path);
    text[n] = '\0';
    *ret = text;
    return HD_OK;
}

enum hd_status cli_session_load(struct cli *cli, struct cli_session *ret) {
    const char *path = cli_config_path(cli, "session");
    char *text = NULL;

    HD_TRY(read_private(cli, path, &text));
    cJSON *json = cJSON_ParseWithLength(text, strlen(text));
    struct cli_session session = {.server = hd_arena_strdup(&cli->arena, j_text(json, "server")),
                                  .subject = hd_arena_strdup(&cli->arena, j_text(json, "subject")),
                                  .tenant = hd_arena_strdup(&cli->arena, j_text(json, "tenant")),
                                  .access = hd_arena_strdup(&cli->arena, j_text(json, "access_token")),
                                  .refresh = hd_arena_strdup(&cli->arena, j_text(json, "refresh_token")),
                                  .until_ms = j_int(json, "until_ms")};
    cJSON_Delete(json);
    if (!*session.server || !*session.access || !*session.refresh || session.until_ms <= 0) {
        hd_err_set(&cli->err, HD_INVALID, "%s is not what `hodei login` writes", path);
        hd_err_hint(&cli->err, "remove it and log in again");
        return HD_INVALID;
    }
    *ret = session;
    return HD_OK;
}

// The folder, and those above it.
static void make_folder(struct cli *cli) {
    char *path = hd_arena_strdup(&cli->arena, cli_config_path(cli, ""));

    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0700); // what is wrong with it shows when the file is made
            *p = '/';
        }
}

// As a whole or not at all, readable by nobody else at any moment.
static enum hd_status write_private(struct cli *cli, const char *path, const struct hd_buf *text) {
    const char *fresh = hd_arena_printf(&cli->arena, "%s.%d", path, (int)getpid());

    make_folder(cli);
    (void)unlink(fresh); // of a process of this number that died
    HD_AUTO_FD int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(cli, fresh);
    bool done = write(fd, text->data, text->len) == (ssize_t)text->len && fsync(fd) == 0 && rename(fresh, path) == 0;
    if (done)
        return HD_OK;
    enum hd_status status = failed(cli, path);
    (void)unlink(fresh);
    return status;
}

static void add_text(struct hd_buf *out, const char *name, const char *text) {
    hd_buf_addf(out, "\"%s\":", name);
    hd_json_add_string(out, text, strlen(text));
    hd_buf_addc(out, ',');
}

enum hd_status cli_session_save(struct cli *cli, const cJSON *reply) {
    HD_AUTO_BUF struct hd_buf json = {0};
    int64_t life_ms = j_int(reply, "expires_in_s") * 1000;

    cli->token = hd_arena_strdup(&cli->arena, j_text(reply, "access_token"));
    cli->session_until_ms = hd_now_read().wall_ms + life_ms;
    hd_buf_addc(&json, '{');
    add_text(&json, "server", cli->server);
    add_text(&json, "subject", j_text(reply, "subject"));
    add_text(&json, "tenant", j_text(reply, "tenant"));
    add_text(&json, "access_token", cli->token);
    add_text(&json, "refresh_token", j_text(reply, "refresh_token"));
    hd_buf_addf(&json, "\"until_ms\":%lld}\n", (long long)cli->session_until_ms);
    return write_private(cli, cli_config_path(cli, "session"), &json);
}

void cli_session_forget(struct cli *cli) {
    (void)unlink(cli_config_path(cli, "session"));
}

static enum hd_status refresh(struct cli *cli, const struct cli_session *session) {
    HD_AUTO_BUF struct hd_buf body = {0};
    struct cli_request request = {.method = "POST", .path = "/v1/refresh", .type = "application/json"};
    cJSON *reply;

    hd_buf_adds(&body, "{\"refresh_token\":");
    hd_json_add_string(&body, session->refresh, strlen(session->refresh));
    hd_buf_addc(&body, '}');
    request.body = body.data;
    const char *token = cli->token;
    int64_t until_ms = cli->session_until_ms;
    cli->token = NULL;
    cli->session_until_ms = 0; // this request has no session to keep
    enum hd_status status = cli_call(cli, &request, &reply);
    cli->token = token;
    cli->session_until_ms = until_ms;
    if (status == HD_UNAUTHENTICATED) {
        cli_session_forget(cli);
        hd_err_hint(&cli->err, "hodei login USER");
    }
    HD_TRY(status);
    status = cli_session_save(cli, reply);
    cJSON_Delete(reply);
    return status;
}

enum hd_status cli_session_keep(struct cli *cli) {
    struct cli_session session;

    if (!cli->session_until_ms || hd_now_read().wall_ms < cli->session_until_ms - EARLY_MS)
        return HD_OK;
    // A refresh token is good for one use: who comes second takes what the first has got.
    const char *path = cli_config_path(cli, "session.lock");
    HD_AUTO_FD int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        return failed(cli, path);
    enum hd_status status = cli_session_load(cli, &session);
    if (status == HD_MISSING || (status == HD_OK && !hd_streq(session.server, cli->server))) {
        hd_err_set(&cli->err, HD_UNAUTHENTICATED, "the session has ended");
        hd_err_hint(&cli->err, "hodei login USER");
        return HD_UNAUTHENTICATED;
    }
    HD_TRY(status);
    if (hd_now_read().wall_ms >= session.until_ms - EARLY_MS)
        return refresh(cli, &session);
    cli->token = session.access;
    cli->session_until_ms = session.until_ms;
    return HD_OK;
}
