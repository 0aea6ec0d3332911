#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"

#define FILE_MAX (64u << 10)

static enum hd_status read_small(struct cli *cli, const char *path, char **ret) {
    FILE *file = fopen(path, "re");

    if (!file)
        return hd_err_set(&cli->err, HD_INVALID, "%s: %s", path, strerror(errno));
    char *text = hd_arena_alloc(&cli->arena, FILE_MAX + 1);
    size_t n = fread(text, 1, FILE_MAX, file);
    fclose(file);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    text[n] = '\0';
    *ret = text;
    return HD_OK;
}

const char *cli_config_path(struct cli *cli, const char *name) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");

    return xdg && xdg[0] ? hd_arena_printf(&cli->arena, "%s/hodei/%s", xdg, name)
                         : hd_arena_printf(&cli->arena, "%s/.config/hodei/%s", home ? home : "", name);
}

// "key: value" lines; '#' begins a comment. Keys: server, token, token-file, tenant, cacert.
static enum hd_status read_config(struct cli *cli, const char **server, const char **token, const char **token_file,
                                  const char **tenant) {
    char *text = NULL, *save = NULL;
    const char *path = cli_config_path(cli, "config");

    if (read_small(cli, path, &text) != HD_OK) {
        hd_err_clear(&cli->err);
        return HD_OK; // it need not be there
    }
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        if (*line == '#' || !*line)
            continue;
        char *colon = strchr(line, ':');
        if (!colon)
            return hd_err_set(&cli->err, HD_INVALID, "%s: a line is not \"key: value\": %.60s", path, line);
        *colon++ = '\0';
        colon += strspn(colon, " \t");
        const char **to = hd_streq(line, "server")       ? server
                          : hd_streq(line, "token")      ? token
                          : hd_streq(line, "token-file") ? token_file
                          : hd_streq(line, "tenant")     ? tenant
                          : hd_streq(line, "cacert")     ? &cli->cacert
                                                         : NULL;
        if (!to)
            return hd_err_set(&cli->err, HD_INVALID,
                              "%s: unknown key \"%.40s\" (server, token, token-file, tenant, cacert)", path, line);
        *to = colon;
    }
    return HD_OK;
}

enum hd_status cli_token_read(struct cli *cli, const char *path) {
    char *text;

    if (read_small(cli, path, &text) != HD_OK) {
        hd_err_wrap(&cli->err, "the token file");
        hd_err_hint(&cli->err, "HODEI_TOKEN_FILE or --token-file names it; `hodei dev` prints where its own is");
        return cli->err.status;
    }
    cli->token = text;
    return HD_OK;
}

static bool set(const char *text) {
    return text && text[0];
}

const char *cli_address(struct cli *cli, const char *text) {
    char *copy = hd_arena_strdup(&cli->arena, text);

    for (size_t n = strlen(copy); n && copy[n - 1] == '/';)
        copy[--n] = '\0';
    return strstr(copy, "://") ? copy : hd_arena_printf(&cli->arena, "http://%s", copy);
}

// What is said of them, and by whom last; each may stay NULL.
static enum hd_status find(struct cli *cli, const char **server, const char **token, const char **token_file,
                           const char **tenant) {
    HD_TRY(read_config(cli, server, token, token_file, tenant));
    if (set(getenv("HODEI_SERVER")))
        *server = getenv("HODEI_SERVER");
    if (set(getenv("HODEI_TOKEN_FILE")))
        *token_file = getenv("HODEI_TOKEN_FILE"), *token = NULL;
    if (set(getenv("HODEI_TOKEN")))
        *token = getenv("HODEI_TOKEN");
    if (cli_option(cli, "server"))
        *server = cli_option(cli, "server");
    if (cli_option(cli, "token-file"))
        *token_file = cli_option(cli, "token-file"), *token = NULL;
    if (set(getenv("HODEI_CACERT")))
        cli->cacert = getenv("HODEI_CACERT");
    if (cli_option(cli, "cacert"))
        cli->cacert = cli_option(cli, "cacert");
    if (set(getenv("HODEI_TENANT")))
        *tenant = getenv("HODEI_TENANT");
    if (cli_option(cli, "tenant"))
        *tenant = cli_option(cli, "tenant");
    return HD_OK;
}

enum hd_status cli_server(struct cli *cli) {
    const char *server = NULL, *token = NULL, *token_file = NULL, *tenant = NULL;

    HD_TRY(find(cli, &server, &token, &token_file, &tenant));
    cli->server = cli_address(cli, set(server) ? server : "http://127.0.0.1:8080");
    return HD_OK;
}

// Without a token of another kind: that of the session, at its own server alone.
static enum hd_status session_connect(struct cli *cli, const char *server) {
    struct cli_session session;
    enum hd_status status = cli_session_load(cli, &session);

    if (status != HD_OK && status != HD_MISSING)
        return status;
    if (status == HD_OK && (!set(server) || hd_streq(cli_address(cli, server), session.server))) {
        cli->server = session.server;
        cli->token = session.access;
        cli->session_until_ms = session.until_ms;
        return HD_OK;
    }
    if (status == HD_OK)
        hd_err_set(&cli->err, HD_UNAUTHENTICATED, "there is no token for %s: you are logged in at %s",
                   cli_address(cli, server), session.server);
    else
        hd_err_set(&cli->err, HD_UNAUTHENTICATED, "there is no token");
    hd_err_hint(&cli->err, "hodei login USER; or the export line that `hodei dev` prints, HODEI_TOKEN or --token-file");
    return HD_UNAUTHENTICATED;
}

enum hd_status cli_connect(struct cli *cli) {
    const char *server = NULL, *token = NULL, *token_file = NULL, *tenant = NULL;

    HD_TRY(find(cli, &server, &token, &token_file, &tenant));
    cli->tenant = set(tenant) ? tenant : NULL;
    if (!set(token) && set(token_file)) {
        HD_TRY(cli_token_read(cli, token_file));
        token = cli->token;
    }
    if (!set(token) && !set(token_file))
        return session_connect(cli, server);
    if (!set(token))
        return hd_err_set(&cli->err, HD_UNAUTHENTICATED, "the token file %s is empty", token_file);
    cli->server = cli_address(cli, set(server) ? server : "http://127.0.0.1:8080");
    cli->token = token;
    return HD_OK;
}
