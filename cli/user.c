// Logging in and out; sessions, users, and the keys of access tokens.
#include <stdio.h>

#include "base/pb.h"
#include "cli/cli.h"

static void add_text(struct hd_buf *out, const char *name, const char *text) {
    hd_buf_addf(out, "%s\"%s\":", out->len > 1 ? "," : "", name);
    hd_json_add_string(out, text, strlen(text));
}

static enum hd_status send_json(struct cli *cli, const char *method, const char *path, const char *body, cJSON **ret) {
    struct cli_request request = {
        .method = method, .path = path, .body = body, .type = body ? "application/json" : NULL};

    return cli_call(cli, &request, ret);
}

// --- the session -----------------------------------------------------------------------------------------------------

int cmd_login(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf body = {0};
    const char *password, *fresh = NULL, *tenant = cli_option(cli, "tenant");
    cJSON *reply;

    if (cli_server(cli) != HD_OK || cli_password(cli, "Password", false, &password) != HD_OK ||
        (cli_option(cli, "change-password") && cli_password(cli, "New password", true, &fresh) != HD_OK))
        return cli_failed(cli);
    hd_buf_addc(&body, '{');
    add_text(&body, "user", cli->args[0]);
    add_text(&body, "password", password);
    if (fresh)
        add_text(&body, "new_password", fresh);
    if (tenant)
        add_text(&body, "tenant", tenant);
    hd_buf_addc(&body, '}');
    if (send_json(cli, "POST", "/v1/login", body.data, &reply) != HD_OK)
        return cli_failed(cli);
    enum hd_status status = cli_session_save(cli, reply);
    if (status == HD_OK && cli->json)
        printf("{\"subject\":\"%s\",\"tenant\":\"%s\"}\n", j_text(reply, "subject"), j_text(reply, "tenant"));
    else if (status == HD_OK)
        printf("logged in at %s as %s of tenant %s%s\n", cli->server, j_text(reply, "subject"), j_text(reply, "tenant"),
               fresh ? "; the password is changed, other sessions have ended" : "");
    cJSON_Delete(reply);
    if (status == HD_OK && (getenv("HODEI_TOKEN") || getenv("HODEI_TOKEN_FILE")))
        fprintf(stderr, "note: HODEI_TOKEN or HODEI_TOKEN_FILE is set and goes before the session\n");
    return status == HD_OK ? 0 : cli_failed(cli);
}

int cmd_logout(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf body = {0};
    struct cli_session session;
    cJSON *reply;
    enum hd_status status = cli_session_load(cli, &session);

    if (status == HD_MISSING) {
        puts("not logged in");
        return 0;
    }
    if (status != HD_OK)
        return cli_failed(cli);
    cli->server = session.server;
    hd_buf_addc(&body, '{');
    add_text(&body, "refresh_token", session.refresh);
    hd_buf_addc(&body, '}');
    if (send_json(cli, "POST", "/v1/logout", body.data, &reply) != HD_OK)
        return cli_failed(cli); // the file stays, so that it can be tried again
    cli_session_forget(cli);
    printf("logged out at %s\n", session.server);
    return 0;
}

int cmd_session_list(struct cli *cli) {
    struct table table;
    cJSON *reply;

    if (cli_call(cli, CLI_GET("/v1/sessions"), &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json) {
        cli_print(cli, reply);
    } else {
        table_init(&table, &cli->arena, "ID|ADDRESS|BEGUN|REFRESHED|ENDS");
        for (const cJSON *s = j_get(reply, "sessions") ? j_get(reply, "sessions")->child : NULL; s; s = s->next) {
            table_cell(&table, j_text(s, "id"));
            table_cell(&table, j_text(s, "address"));
            table_cell(&table, cli_time(cli, j_int(s, "created_at_ms")));
            table_cell(&table, cli_time(cli, j_int(s, "refreshed_at_ms")));
            table_cell(&table, cli_time(cli, j_int(s, "expires_at_ms")));
        }
        table_print(&table, cli);
    }
    cJSON_Delete(reply);
    return 0;
}

int cmd_session_end(struct cli *cli) {
    const char *path = hd_arena_printf(&cli->arena, "/v1/sessions/%s", cli_escape(cli, cli->args[0]));
    cJSON *reply;

    if (send_json(cli, "DELETE", path, NULL, &reply) != HD_OK)
        return cli_failed(cli);
    printf("session %s has ended\n", cli->args[0]);
    return 0;
}

// --- users -----------------------------------------------------------------------------------------------------------

static const char *user_path(struct cli *cli, const char *verb) {
    return hd_arena_printf(&cli->arena, "/v1/users/%s%s", cli_escape(cli, cli->args[0]), verb);
}

static int user_print(struct cli *cli, cJSON *user, const char *done) {
    if (cli->json)
        cli_print(cli, user);
    else
        printf("user %s %s\n", cli->args[0], done);
    cJSON_Delete(user);
    return 0;
}

int cmd_user_create(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf body = {0};
    const char *password;
    bool first = true;
    cJSON *reply;

    if (cli_password(cli, "Password of the new user", true, &password) != HD_OK)
        return cli_failed(cli);
    hd_buf_addc(&body, '{');
    add_text(&body, "name", cli->args[0]);
    add_text(&body, "password", password);
    hd_buf_adds(&body, ",\"roles\":[");
    for (size_t i = 0; i < cli->n_given; i++)
        if (hd_streq(cli->given[i].name, "role")) {
            hd_buf_adds(&body, first ? "" : ",");
            hd_json_add_string(&body, cli->given[i].value, strlen(cli->given[i].value));
            first = false;
        }
    hd_buf_adds(&body, "]}");
    if (send_json(cli, "POST", "/v1/users", body.data, &reply) != HD_OK)
        return cli_failed(cli);
    return user_print(cli, reply, "is made");
}

int cmd_user_list(struct cli *cli) {
    struct table table;
    cJSON *reply;

    if (cli_list(cli, "/v1/users", "users", &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json) {
        cli_print(cli, reply);
    } else {
        table_init(&table, &cli->arena, "NAME|STATE|MADE|PASSWORD SET|ROLES");
        for (const cJSON *u = j_get(reply, "users")->child; u; u = u->next) {
            table_cell(&table, j_text(u, "name"));
            table_cell(&table, cJSON_IsTrue(j_get(u, "disabled")) ? "disabled" : "enabled");
            table_cell(&table, cli_time(cli, j_int(u, "created_at_ms")));
            table_cell(&table, cli_time(cli, j_int(u, "password_at_ms")));
            table_cell(&table, cli_words(cli, j_get(u, "roles")));
        }
        table_print(&table, cli);
    }
    cJSON_Delete(reply);
    return 0;
}

static int steer(struct cli *cli, const char *verb, const char *done) {
    cJSON *reply;

    if (send_json(cli, "POST", user_path(cli, verb), NULL, &reply) != HD_OK)
        return cli_failed(cli);
    return user_print(cli, reply, done);
}

int cmd_user_disable(struct cli *cli) {
    return steer(cli, ":disable", "is disabled, its sessions have ended");
}

int cmd_user_enable(struct cli *cli) {
    return steer(cli, ":enable", "is enabled");
}

int cmd_user_set_password(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf body = {0};
    const char *password;
    cJSON *reply;

    if (cli_password(cli, "New password", true, &password) != HD_OK)
        return cli_failed(cli);
    hd_buf_addc(&body, '{');
    add_text(&body, "password", password);
    hd_buf_addc(&body, '}');
    if (send_json(cli, "POST", user_path(cli, ":set-password"), body.data, &reply) != HD_OK)
        return cli_failed(cli);
    return user_print(cli, reply, "has the new password, its sessions have ended");
}

int cmd_user_delete(struct cli *cli) {
    cJSON *reply;

    if (send_json(cli, "DELETE", user_path(cli, ""), NULL, &reply) != HD_OK)
        return cli_failed(cli);
    printf("user %s is deleted\n", cli->args[0]);
    return 0;
}

// --- keys ------------------------------------------------------------------------------------------------------------

static int keys_print(struct cli *cli, cJSON *reply) {
    struct table table;

    if (cli->json) {
        cli_print(cli, reply);
    } else {
        table_init(&table, &cli->arena, "KEY|STATE|SIGNS FROM");
        for (const cJSON *k = j_get(reply, "keys") ? j_get(reply, "keys")->child : NULL; k; k = k->next) {
            table_cell(&table, j_text(k, "kid"));
            table_cell(&table, cJSON_IsTrue(j_get(k, "signs")) ? "signs" : "verifies");
            table_cell(&table, cli_time(cli, j_int(k, "signs_from_ms")));
        }
        table_print(&table, cli);
    }
    cJSON_Delete(reply);
    return 0;
}

int cmd_auth_keys_list(struct cli *cli) {
    cJSON *reply;

    if (cli_call(cli, CLI_GET("/v1/auth/keys"), &reply) != HD_OK)
        return cli_failed(cli);
    return keys_print(cli, reply);
}

int cmd_auth_keys_rotate(struct cli *cli) {
    cJSON *reply;

    if (send_json(cli, "POST", "/v1/auth/keys:rotate", NULL, &reply) != HD_OK)
        return cli_failed(cli);
    return keys_print(cli, reply);
}
