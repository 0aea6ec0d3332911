// Who may do what: roles, bindings, groups, service accounts, tokens, tenants, the audit trail.
#include <inttypes.h>
#include <stdio.h>

#include "base/settings.h"
#include "base/uuid.h"
#include "cli/cli.h"

// --- what the commands have in common ---------------------------------------------------------------------------------

static const char *path_of(struct cli *cli, const char *pattern, const char *name) {
    return hd_arena_printf(&cli->arena, "/v1/%s/%s", pattern, cli_escape(cli, name));
}

// A call with an object as its body (taken over), or with none. The reply is NULL where there is no content.
static enum hd_status send_json(struct cli *cli, const char *method, const char *path, cJSON *body, cJSON **ret) {
    HD_AUTO_FREE char *text = body ? cJSON_PrintUnformatted(body) : NULL;
    struct cli_request request = {
        .method = method, .path = path, .body = text, .type = text ? "application/json" : NULL};

    cJSON_Delete(body);
    return cli_call(cli, &request, ret);
}

// A change: prints the answer as JSON, or `words`.
static int change(struct cli *cli, const char *method, const char *path, cJSON *body, const char *words) {
    cJSON *reply = NULL;

    if (send_json(cli, method, path, body, &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print(cli, reply);
    else
        puts(words);
    cJSON_Delete(reply);
    return 0;
}

struct column {
    const char *heading, *field;
    enum { TEXT, TIME, WORDS, NUMBER } kind;
};

static const char *cell_of(struct cli *cli, const cJSON *item, const struct column *column) {
    const char *text = j_text(item, column->field);

    if (column->kind == TIME)
        return cli_time(cli, j_int(item, column->field));
    if (column->kind == WORDS)
        return cli_words(cli, j_get(item, column->field));
    if (column->kind == NUMBER)
        return hd_arena_printf(&cli->arena, "%" PRId64, j_int(item, column->field));
    return *text ? text : "-";
}

static int list(struct cli *cli, const char *path, const char *name, const struct column *columns, size_t n) {
    const char *headings = "";
    const cJSON *item;
    struct table table;
    cJSON *reply;

    if (cli_list(cli, path, name, &reply) != HD_OK)
        return cli_failed(cli);
    for (size_t i = 0; i < n; i++)
        headings = hd_arena_printf(&cli->arena, "%s%s%s", headings, i ? "|" : "", columns[i].heading);
    table_init(&table, &cli->arena, headings);
    cJSON_ArrayForEach(item, j_get(reply, name)) {
        for (size_t i = 0; i < n; i++)
            table_cell(&table, cell_of(cli, item, &columns[i]));
    }
    if (cli->json)
        cli_print(cli, reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}
#define LIST(cli, path, name, columns) list(cli, path, name, columns, sizeof(columns) / sizeof((columns)[0]))

// "?page_size=1000", and a filter where its option is given.
static const char *filtered(struct cli *cli, const char *path, const char *option, const char *field) {
    const char *value = cli_option(cli, option);

    return hd_arena_printf(&cli->arena, "%s?page_size=1000%s%s%s%s", path, value ? "&" : "", value ? field : "",
                           value ? "=" : "", value ? cli_escape(cli, value) : "");
}

static void add_option(struct cli *cli, cJSON *body, const char *option, const char *field) {
    const char *value = cli_option(cli, option);
    if (value)
        cJSON_AddStringToObject(body, field, value);
}

static enum hd_status add_duration(struct cli *cli, cJSON *body, const char *option, const char *field) {
    int64_t ms;
    HD_TRY(cli_option_duration(cli, option, -1, &ms));
    if (ms >= 0)
        cJSON_AddNumberToObject(body, field, (double)ms);
    return HD_OK;
}

// --- roles, bindings, groups --------------------------------------------------------------------------------------------

int cmd_auth_permissions(struct cli *cli) {
    static const struct column columns[] = {
        {"PERMISSION", "name", TEXT}, {"ALLOWS TO", "description", TEXT}, {"ROLES", "roles", WORDS}};
    return LIST(cli, "/v1/permissions", "permissions", columns);
}

static bool may(const cJSON *permissions, const char *wanted) {
    const cJSON *item;
    cJSON_ArrayForEach(item, permissions) {
        if (cJSON_IsString(item) && (hd_streq(item->valuestring, "*") || hd_streq(item->valuestring, wanted)))
            return true;
    }
    return false;
}

// A misspelt permission is not one that is missing.
static enum hd_status permission_check(struct cli *cli, const char *name) {
    const cJSON *item, *found = NULL;
    cJSON *reply;

    HD_TRY(cli_call(cli, CLI_GET("/v1/permissions"), &reply));
    cJSON_ArrayForEach(item, j_get(reply, "permissions")) {
        if (hd_streq(j_text(item, "name"), name))
            found = item;
    }
    bool known = found != NULL;
    cJSON_Delete(reply);
    if (known)
        return HD_OK;
    hd_err_set(&cli->err, HD_INVALID, "there is no permission \"%.60s\"", name);
    hd_err_hint(&cli->err, "hodei auth permissions lists them");
    return HD_INVALID;
}

static const char *asked_where(struct cli *cli) {
    const char *project = cli_option(cli, "project"), *pipeline = cli_option(cli, "pipeline");

    return pipeline  ? hd_arena_printf(&cli->arena, "for the pipeline %s", pipeline)
           : project ? hd_arena_printf(&cli->arena, "in the project %s", project)
                     : "in the tenant";
}

// Whether it may be done in the part that is asked for; *inout_else gets the parts where it may.
static bool may_there(struct cli *cli, const cJSON *scoped, const char *wanted, const char **inout_else) {
    const char *project = cli_option(cli, "project"), *pipeline = cli_option(cli, "pipeline");
    const cJSON *item, *scope;
    bool there = false;

    cJSON_ArrayForEach(item, scoped) {
        if (!may(j_get(item, "permissions"), wanted))
            continue;
        cJSON_ArrayForEach(scope, j_get(item, "within")) {
            const char *name = j_text(scope, "pipeline"), *in = j_text(scope, "project");
            there |= *name ? pipeline && hd_streq(pipeline, name) : project && hd_streq(project, in);
            *inout_else = hd_arena_printf(&cli->arena, "%s%s%s %s", *inout_else, **inout_else ? ", " : "",
                                          *name ? "for the pipeline" : "in the project", *name ? name : in);
        }
    }
    return there;
}

int cmd_auth_can_i(struct cli *cli) {
    const char *wanted = cli->args[0];
    cJSON *reply;

    if (permission_check(cli, wanted) != HD_OK || cli_call(cli, CLI_GET("/v1/whoami"), &reply) != HD_OK)
        return cli_failed(cli);
    const char *parts = "";
    bool there = may_there(cli, j_get(reply, "scoped"), wanted, &parts);
    bool yes = there || may(j_get(reply, "permissions"), wanted);
    if (cli->json)
        puts(yes ? "{\"allowed\":true}" : "{\"allowed\":false}");
    else
        printf("%s: %s %s %s %s%s %s%s%s\n", yes ? "yes" : "no", j_text(reply, "subject"), yes ? "has" : "has not",
               wanted, asked_where(cli),
               cli_option(cli, "project") || cli_option(cli, "pipeline") ? " of the tenant" : "",
               j_text(reply, "tenant"), !yes && *parts ? "; it has it " : "", yes ? "" : parts);
    cJSON_Delete(reply);
    return yes ? 0 : 1;
}

int cmd_role_list(struct cli *cli) {
    static const struct column columns[] = {
        {"ROLE", "name", TEXT}, {"FOR", "description", TEXT}, {"PERMISSIONS", "permissions", WORDS}};
    return LIST(cli, "/v1/roles", "roles", columns);
}

static void add_permissions(struct cli *cli, cJSON *body, int from) {
    cJSON *permissions = cJSON_AddArrayToObject(body, "permissions");
    for (int i = from; i < cli->n_args; i++)
        cJSON_AddItemToArray(permissions, cJSON_CreateString(cli->args[i]));
}

int cmd_role_set(struct cli *cli) {
    cJSON *body = cJSON_CreateObject();

    add_option(cli, body, "description", "description");
    add_permissions(cli, body, 1);
    return change(cli, "PUT", path_of(cli, "roles", cli->args[0]), body,
                  hd_arena_printf(&cli->arena, "role %s has %d permissions", cli->args[0], cli->n_args - 1));
}

int cmd_role_delete(struct cli *cli) {
    return change(cli, "DELETE", path_of(cli, "roles", cli->args[0]), NULL,
                  hd_arena_printf(&cli->arena, "role %s is deleted", cli->args[0]));
}

int cmd_binding_list(struct cli *cli) {
    static const struct column columns[] = {{"ID", "id", TEXT},
                                            {"PRINCIPAL", "principal", TEXT},
                                            {"ROLE", "role", TEXT},
                                            {"PROJECT", "project", TEXT},
                                            {"PIPELINE", "pipeline", TEXT},
                                            {"BY", "created_by", TEXT},
                                            {"SINCE", "created_at_ms", TIME}};
    return LIST(cli, filtered(cli, "/v1/bindings", "principal", "principal"), "bindings", columns);
}

int cmd_binding_create(struct cli *cli) {
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "principal", cli->args[0]);
    cJSON_AddStringToObject(body, "role", cli->args[1]);
    add_option(cli, body, "project", "project");
    add_option(cli, body, "pipeline", "pipeline");
    return change(cli, "POST", "/v1/bindings", body,
                  hd_arena_printf(&cli->arena, "%s has the role %s %s", cli->args[0], cli->args[1], asked_where(cli)));
}

int cmd_binding_delete(struct cli *cli) {
    return change(cli, "DELETE", path_of(cli, "bindings", cli->args[0]), NULL,
                  hd_arena_printf(&cli->arena, "binding %s is deleted", cli->args[0]));
}

int cmd_group_list(struct cli *cli) {
    static const struct column columns[] = {
        {"GROUP", "group", TEXT}, {"MEMBER", "member", TEXT}, {"BY", "added_by", TEXT}, {"SINCE", "added_at_ms", TIME}};
    return LIST(cli, filtered(cli, "/v1/groups", "group", "group"), "members", columns);
}

static int group_change(struct cli *cli, const char *verb, const char *words) {
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "member", cli->args[1]);
    return change(cli, "POST", hd_arena_printf(&cli->arena, "/v1/groups/%s:%s", cli_escape(cli, cli->args[0]), verb),
                  body, hd_arena_printf(&cli->arena, "%s is %s the group %s", cli->args[1], words, cli->args[0]));
}

int cmd_group_add(struct cli *cli) {
    return group_change(cli, "add", "in");
}

int cmd_group_remove(struct cli *cli) {
    return group_change(cli, "remove", "no longer in");
}

// --- service accounts and tokens ------------------------------------------------------------------------------------------

int cmd_service_account_list(struct cli *cli) {
    static const struct column columns[] = {{"NAME", "name", TEXT},
                                            {"DESCRIPTION", "description", TEXT},
                                            {"BY", "created_by", TEXT},
                                            {"SINCE", "created_at_ms", TIME}};
    return LIST(cli, "/v1/service-accounts?page_size=1000", "service_accounts", columns);
}

int cmd_service_account_create(struct cli *cli) {
    cJSON *body = cJSON_CreateObject();

    add_option(cli, body, "description", "description");
    return change(cli, "PUT", path_of(cli, "service-accounts", cli->args[0]), body,
                  hd_arena_printf(&cli->arena,
                                  "service account %s is there; give it a role by\n"
                                  "  hodei binding create service-account:%s ROLE",
                                  cli->args[0], cli->args[0]));
}

int cmd_service_account_delete(struct cli *cli) {
    return change(
        cli, "DELETE", path_of(cli, "service-accounts", cli->args[0]), NULL,
        hd_arena_printf(&cli->arena, "service account %s is deleted, and its tokens are revoked", cli->args[0]));
}

int cmd_token_list(struct cli *cli) {
    static const struct column columns[] = {{"ID", "id", TEXT},
                                            {"NAME", "name", TEXT},
                                            {"SUBJECT", "subject", TEXT},
                                            {"STATE", "state", TEXT},
                                            {"EXPIRES", "expires_at_ms", TIME},
                                            {"LAST USED", "last_used_at_ms", TIME},
                                            {"PERMISSIONS", "permissions", WORDS}};
    return LIST(cli, filtered(cli, "/v1/tokens", "subject", "subject"), "tokens", columns);
}

// The token alone on standard output, so that it can be put where it belongs; what is to be known of it on the other.
static int token_print(struct cli *cli, const char *path, cJSON *body) {
    const cJSON *about;
    cJSON *reply;

    if (send_json(cli, "POST", path, body, &reply) != HD_OK)
        return cli_failed(cli);
    about = j_get(reply, "about");
    if (cli->json) {
        cli_print(cli, reply);
    } else {
        puts(j_text(reply, "token"));
        fprintf(stderr, "token %s (%s) of %s, until %s; it is shown this once\n", j_text(about, "id"),
                j_text(about, "name"), j_text(about, "subject"), cli_time(cli, j_int(about, "expires_at_ms")));
    }
    cJSON_Delete(reply);
    return 0;
}

int cmd_token_create(struct cli *cli) {
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "name", cli->args[0]);
    add_option(cli, body, "for", "subject");
    if (cli->n_args > 1)
        add_permissions(cli, body, 1);
    if (add_duration(cli, body, "expires-in", "ttl_ms") != HD_OK) {
        cJSON_Delete(body);
        return cli_failed(cli);
    }
    return token_print(cli, "/v1/tokens", body);
}

int cmd_token_rotate(struct cli *cli) {
    cJSON *body = cJSON_CreateObject();

    if (add_duration(cli, body, "overlap", "overlap_ms") != HD_OK) {
        cJSON_Delete(body);
        return cli_failed(cli);
    }
    return token_print(cli, hd_arena_printf(&cli->arena, "/v1/tokens/%s:rotate", cli_escape(cli, cli->args[0])), body);
}

int cmd_token_revoke(struct cli *cli) {
    return change(cli, "DELETE", path_of(cli, "tokens", cli->args[0]), NULL,
                  hd_arena_printf(&cli->arena, "token %s is revoked: within 2 s it works nowhere", cli->args[0]));
}

// --- tenants ----------------------------------------------------------------------------------------------------------------

int cmd_tenant_list(struct cli *cli) {
    static const struct column columns[] = {{"TENANT", "name", TEXT},
                                            {"STATE", "state", TEXT},
                                            {"REASON", "reason", TEXT},
                                            {"SINCE", "created_at_ms", TIME},
                                            {"DELETED ON", "delete_at_ms", TIME}};
    return LIST(cli, "/v1/tenants?page_size=1000", "tenants", columns);
}

int cmd_tenant_create(struct cli *cli) {
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "name", cli->args[0]);
    return change(cli, "POST", "/v1/tenants", body,
                  hd_arena_printf(&cli->arena,
                                  "tenant %s is there; give it an admin by\n"
                                  "  hodei binding create user:NAME admin --tenant %s",
                                  cli->args[0], cli->args[0]));
}

static int tenant_steer(struct cli *cli, const char *verb, const char *words) {
    cJSON *body = cJSON_CreateObject();

    add_option(cli, body, "reason", "reason");
    if (add_duration(cli, body, "grace", "grace_ms") != HD_OK) {
        cJSON_Delete(body);
        return cli_failed(cli);
    }
    return change(cli, "POST", hd_arena_printf(&cli->arena, "/v1/tenants/%s:%s", cli_escape(cli, cli->args[0]), verb),
                  body, hd_arena_printf(&cli->arena, "tenant %s %s", cli->args[0], words));
}

int cmd_tenant_suspend(struct cli *cli) {
    return tenant_steer(cli, "suspend", "is suspended: its requests are refused, its runs stay");
}

int cmd_tenant_resume(struct cli *cli) {
    return tenant_steer(cli, "resume", "is active");
}

int cmd_tenant_delete(struct cli *cli) {
    return tenant_steer(cli, "delete",
                        "is being deleted; until the grace is over hodei tenant undelete brings it back");
}

int cmd_tenant_undelete(struct cli *cli) {
    return tenant_steer(cli, "undelete", "is active");
}

// --- the audit trail ----------------------------------------------------------------------------------------------------------

static const char *audit_path(struct cli *cli) {
    static const char *const filters[] = {"actor", "action", "target", "outcome", NULL};
    return cli_ago(cli, cli_filters(cli, "/v1/audit?page_size=1000", filters), "since", "since_ms");
}

// JSON lines page by page, so that a long trail needs no memory.
static int audit_export(struct cli *cli, const char *path) {
    const char *token = "";

    do {
        const char *full = *token ? hd_arena_printf(&cli->arena, "%s&page_token=%s", path, token) : path;
        const cJSON *item;
        cJSON *page;
        if (cli_call(cli, CLI_GET(full), &page) != HD_OK)
            return cli_failed(cli);
        cJSON_ArrayForEach(item, j_get(page, "entries")) {
            HD_AUTO_FREE char *line = cJSON_PrintUnformatted(item);
            puts(line);
        }
        token = hd_arena_strdup(&cli->arena, j_text(page, "next_page_token"));
        cJSON_Delete(page);
    } while (*token);
    return 0;
}

int cmd_audit(struct cli *cli) {
    static const struct column columns[] = {{"TIME", "at_ms", TIME},      {"ACTOR", "actor", TEXT},
                                            {"ACTION", "action", TEXT},   {"TARGET", "target", TEXT},
                                            {"OUTCOME", "outcome", TEXT}, {"TIMES>", "count", NUMBER},
                                            {"DETAIL", "detail", TEXT}};
    const char *path = audit_path(cli);

    if (!path)
        return cli_failed(cli);
    return cli_option(cli, "jsonl") ? audit_export(cli, path) : LIST(cli, path, "entries", columns);
}
