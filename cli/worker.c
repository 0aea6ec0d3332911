// Commands on workers: list, get, cordon, drain, uncordon.
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"

const char *cli_words(struct cli *cli, const cJSON *list) {
    const char *text = "";
    const cJSON *item;

    cJSON_ArrayForEach(item, list) {
        const char *one = cJSON_IsString(item)
                              ? item->valuestring
                              : hd_arena_printf(&cli->arena, "%s=%s", j_text(item, "key"), j_text(item, "value"));
        text = hd_arena_printf(&cli->arena, "%s%s%s", text, text[0] ? "," : "", one);
    }
    return text[0] ? text : "-";
}

// What most concerns whoever wants work done there: the word of people before that of the agent before that of the registry.
static const char *state_of(const cJSON *worker) {
    const char *state = j_text(worker, "state"), *mode = j_text(j_get(worker, "cordon"), "mode");
    if (!hd_streq(state, "online"))
        return state;
    return *mode ? mode : *j_text(worker, "unfit") ? "unfit" : state;
}

static const char *number(struct cli *cli, int64_t n) {
    return hd_arena_printf(&cli->arena, "%" PRId64, n);
}

static const char *bytes(struct cli *cli, int64_t n) {
    if (n < 10 << 20)
        return hd_arena_printf(&cli->arena, "%" PRId64 " KiB", n >> 10);
    if (n < INT64_C(10) << 30)
        return hd_arena_printf(&cli->arena, "%" PRId64 " MiB", n >> 20);
    return hd_arena_printf(&cli->arena, "%" PRId64 " GiB", n >> 30);
}

int cmd_worker_list(struct cli *cli) {
    static const char *const filters[] = {"pool", "state", NULL};
    const cJSON *item;
    cJSON *reply;
    struct table table;

    if (cli_list(cli, cli_filters(cli, "/v1/workers?page_size=1000", filters), "workers", &reply) != HD_OK)
        return cli_failed(cli);
    table_init(&table, &cli->arena, "NAME|POOL|STATE|RUNNING>|SLOTS>|EXECUTORS|LABELS|HEARTBEAT");
    cJSON_ArrayForEach(item, j_get(reply, "workers")) {
        table_cell(&table, j_text(item, "name"));
        table_cell(&table, j_text(item, "pool"));
        table_cell(&table, state_of(item));
        table_cell(&table, number(cli, j_int(item, "running")));
        table_cell(&table, number(cli, j_int(item, "slots")));
        table_cell(&table, cli_words(cli, j_get(item, "executors")));
        table_cell(&table, cli_words(cli, j_get(item, "labels")));
        table_cell(&table, cli_time(cli, j_int(item, "heartbeat_at_ms")));
    }
    if (cli->json)
        cli_print(cli, reply);
    else
        table_print(&table, cli);
    cJSON_Delete(reply);
    return 0;
}

// --- one worker ------------------------------------------------------------------------------------------------------

static void print_line(const char *name, const char *text) {
    printf("%-11s %s\n", name, text);
}

static const char *cpus(struct cli *cli, int64_t milli) {
    return hd_arena_printf(&cli->arena, "%" PRId64 ".%" PRId64, milli / 1000, milli % 1000 / 100);
}

static void print_machine(struct cli *cli, const cJSON *worker) {
    struct hd_arena *arena = &cli->arena;
    const cJSON *capacity = j_get(worker, "capacity"), *load = j_get(worker, "load");
    print_line("for jobs:",
               hd_arena_printf(arena, "%s CPUs, %s memory, %s disk, %" PRId64 " GPUs, %" PRId64 " slots",
                               cpus(cli, j_int(capacity, "cpu_milli")), bytes(cli, j_int(capacity, "memory_bytes")),
                               bytes(cli, j_int(capacity, "disk_bytes")), j_int(capacity, "gpu"),
                               j_int(worker, "slots")));
    if (!load)
        return;
    print_line("machine:",
               hd_arena_printf(arena, "%s of %s CPUs in use, load %s, %s of %s memory free, %s of %s disk free",
                               cpus(cli, j_int(load, "cpu_milli_used")), cpus(cli, j_int(load, "cpu_milli_total")),
                               cpus(cli, j_int(load, "load_milli")), bytes(cli, j_int(load, "memory_bytes_free")),
                               bytes(cli, j_int(load, "memory_bytes_total")),
                               bytes(cli, j_int(load, "disk_bytes_free")),
                               bytes(cli, j_int(load, "disk_bytes_total"))));
}

static void print_jobs(struct cli *cli, const cJSON *jobs) {
    struct table table;
    const cJSON *job;
    if (cJSON_GetArraySize(jobs) == 0)
        return;
    table_init(&table, &cli->arena, "ATTEMPT|CPU TIME>|MEMORY>|PROCESSES>|LOG WAITS>");
    cJSON_ArrayForEach(job, jobs) {
        table_cell(&table, j_text(job, "attempt"));
        table_cell(&table, cli_duration(cli, j_int(job, "cpu_ms")));
        table_cell(&table, bytes(cli, j_int(job, "memory_bytes")));
        table_cell(&table, number(cli, j_int(job, "processes")));
        table_cell(&table, bytes(cli, j_int(job, "spool_bytes")));
    }
    putchar('\n');
    table_print(&table, cli);
}

static void print_actions(struct cli *cli, const cJSON *actions) {
    const cJSON *action;
    if (cJSON_GetArraySize(actions) > 0)
        putchar('\n');
    cJSON_ArrayForEach(action, actions) {
        const char *reason = j_text(action, "reason");
        printf("%s  %s by %s%s%s\n", cli_time(cli, j_int(action, "at_ms")), j_text(action, "action"),
               j_text(action, "actor"), *reason ? ": " : "", reason);
    }
}

static void print_worker(struct cli *cli, const cJSON *worker) {
    const cJSON *cordon = j_get(worker, "cordon");
    print_line("name:", j_text(worker, "name"));
    print_line("pool:", j_text(worker, "pool"));
    print_line("state:", j_text(worker, "state"));
    if (*j_text(cordon, "mode"))
        print_line("cordon:", hd_arena_printf(&cli->arena, "%s since %s by %s%s%s", j_text(cordon, "mode"),
                                              cli_time(cli, j_int(cordon, "at_ms")), j_text(cordon, "actor"),
                                              *j_text(cordon, "reason") ? ": " : "", j_text(cordon, "reason")));
    if (*j_text(worker, "unfit"))
        print_line("unfit:", j_text(worker, "unfit"));
    print_line("running:", number(cli, j_int(worker, "running")));
    print_machine(cli, worker);
    print_line("executors:", cli_words(cli, j_get(worker, "executors")));
    print_line("labels:", cli_words(cli, j_get(worker, "labels")));
    print_line("taints:", cli_words(cli, j_get(worker, "taints")));
    print_line("agent:", hd_arena_printf(&cli->arena, "%s, session %s", j_text(worker, "agent_version"),
                                         j_text(worker, "session")));
    print_line("joined:", cli_time(cli, j_int(worker, "joined_at_ms")));
    print_line("heartbeat:", cli_time(cli, j_int(worker, "heartbeat_at_ms")));
    print_jobs(cli, j_get(worker, "jobs"));
    print_actions(cli, j_get(worker, "actions"));
}

int cmd_worker_get(struct cli *cli) {
    cJSON *reply;
    if (cli_call(cli, CLI_GET(hd_arena_printf(&cli->arena, "/v1/workers/%s", cli_escape(cli, cli->args[0]))), &reply) !=
        HD_OK)
        return cli_failed(cli);
    if (cli->json)
        cli_print(cli, reply);
    else
        print_worker(cli, reply);
    cJSON_Delete(reply);
    return 0;
}

#define WAIT_MS 20000

// Until it is drained, or somebody lets it take jobs again. `worker` is replaced.
static enum hd_status wait_drained(struct cli *cli, cJSON **worker) {
    while (hd_streq(j_text(j_get(*worker, "cordon"), "mode"), "draining")) {
        const char *path =
            hd_arena_printf(&cli->arena, "/v1/workers/%s?wait_ms=%d&etag=%s", cli_escape(cli, cli->args[0]), WAIT_MS,
                            cli_escape(cli, j_text(*worker, "etag")));
        struct cli_request request = {.method = "GET", .path = path, .wait_ms = WAIT_MS};
        cJSON *next;
        HD_TRY(cli_call(cli, &request, &next));
        cJSON_Delete(*worker);
        *worker = next;
    }
    if (hd_streq(j_text(j_get(*worker, "cordon"), "mode"), "drained"))
        return HD_OK;
    return hd_err_set(&cli->err, HD_CONFLICT, "worker %s is not being drained any more: it is %s", cli->args[0],
                      state_of(*worker));
}

static int steer(struct cli *cli, const char *command) {
    const char *reason = cli_option(cli, "reason");
    cJSON *body = cJSON_CreateObject(), *reply;
    if (reason)
        cJSON_AddStringToObject(body, "reason", reason);
    char *text = cJSON_PrintUnformatted(body);
    const char *path = hd_arena_printf(&cli->arena, "/v1/workers/%s:%s", cli_escape(cli, cli->args[0]), command);
    struct cli_request request = {.method = "POST", .path = path, .body = text, .type = "application/json"};
    enum hd_status status = cli_call(cli, &request, &reply);
    free(text);
    cJSON_Delete(body);
    if (status != HD_OK)
        return cli_failed(cli);
    if (cli_option(cli, "wait") && wait_drained(cli, &reply) != HD_OK) {
        cJSON_Delete(reply);
        return cli_failed(cli);
    }
    if (cli->json)
        cli_print(cli, reply);
    else
        printf("%s %s, %" PRId64 " jobs there\n", cli->args[0], state_of(reply), j_int(reply, "running"));
    cJSON_Delete(reply);
    return 0;
}

int cmd_worker_cordon(struct cli *cli) {
    return steer(cli, "cordon");
}

int cmd_worker_drain(struct cli *cli) {
    return steer(cli, "drain");
}

int cmd_worker_uncordon(struct cli *cli) {
    return steer(cli, "uncordon");
}
