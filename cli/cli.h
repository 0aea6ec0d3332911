// The command line program `hodei`: everything a user does, over the HTTP API only; and `hodei dev`.
//
// One command table (commands.c) drives parsing, help and dispatch. A command returns the exit code; an error is put into
// cli->err once and printed by main. Replies are read with cJSON by name and unknown members are ignored, so that an older
// client works with a newer server. Single-threaded; what a command allocates from cli->arena lives until the end.
#ifndef HD_CLI_CLI_H
#define HD_CLI_CLI_H

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/buf.h"
#include "hodei/v1/pipeline.pb-c.h"

#define CLI_OPTIONS_MAX 256 // occurrences on one command line

struct cli_option {
    const char *name;  // "version"
    const char *value; // name of its value for the help; NULL: a switch
    const char *help;
    char letter; // short form; 0: none
};
struct cli;
struct cli_command {
    const char *name; // "pipeline apply"
    const char *args; // "FILE|-", for the help
    const char *about;
    const char *examples; // lines
    const struct cli_option *options;
    size_t n_options;
    int min_args, max_args;
    int (*run)(struct cli *cli);
};
extern const struct cli_command cli_commands[];
extern const size_t cli_commands_len;
extern const struct cli_option cli_global_options[];
extern const size_t cli_global_options_len;

enum cli_format { CLI_TEXT, CLI_JSON, CLI_YAML, CLI_NAME };

struct cli {
    struct hd_arena arena;
    struct hd_err err;
    const struct cli_command *command;
    struct {
        const char *name, *value;
    } given[CLI_OPTIONS_MAX];
    size_t n_given;
    char **args;
    int n_args;
    enum cli_format format;
    bool json;   // -o anything but text: the answer itself, for programs
    bool colour; // standard output is a terminal and NO_COLOR is not set
    const char *server;
    const char *token;        // NULL: none is sent
    const char *tenant;       // that the requests name; NULL: that of the token
    const char *cacert;       // PEM file of who signs the server's certificate; NULL: as the system has it
    int64_t session_until_ms; // wall time at which the token of a session is made anew; 0: the token is of no session
    void *curl;
    int64_t answer_ms; // how long an answer may take; 0: 30 s
};

// args.c
enum hd_status cli_parse(struct cli *cli, int argc, char **argv, bool *ret_help) HD_MUST_USE;
void cli_help(const struct cli_command *command,
              const char *prefix);                               // of one command, or of all that begin with prefix
const char *cli_option(const struct cli *cli, const char *name); // last value given, "" of a switch, NULL
// Where it is not given: `usual_ms`.
enum hd_status cli_option_duration(struct cli *cli, const char *name, int64_t usual_ms, int64_t *ret_ms) HD_MUST_USE;
// Options as parameters of the same name (NULL ends them) behind a path that has a "?"; and one that says how long ago, as a time. NULL
// in, NULL out; and NULL where it is no duration, with the error set.
const char *cli_filters(struct cli *cli, const char *path, const char *const *names);
const char *cli_ago(struct cli *cli, const char *path, const char *name, const char *field);
enum hd_status cli_option_int(struct cli *cli, const char *name, int64_t min, int64_t max, int64_t fallback,
                              int64_t *ret) HD_MUST_USE;
int cli_failed(const struct cli *cli); // the exit code of cli->err

// config.c: server, token and tenant from flags, environment and the settings file, in this order.
enum hd_status cli_connect(struct cli *cli) HD_MUST_USE;
enum hd_status cli_token_read(struct cli *cli, const char *path) HD_MUST_USE;
enum hd_status cli_server(struct cli *cli) HD_MUST_USE;         // the server alone, without a token
const char *cli_config_path(struct cli *cli, const char *name); // in the folder of the settings
const char *cli_address(struct cli *cli, const char *text);     // of a server, in one spelling

// session.c: the session of `hodei login`, in the file "session" beside the settings, for its owner's eyes only.
//
// A session belongs to one server: its token is sent nowhere else. Several programs may use it at once: who refreshes holds a
// lock, and who has waited for it takes what is there then.
struct cli_session {
    const char *server, *subject, *tenant, *access, *refresh;
    int64_t until_ms; // of the access token
};
enum hd_status cli_session_load(struct cli *cli, struct cli_session *ret) HD_MUST_USE; // HD_MISSING: there is none
enum hd_status cli_session_save(struct cli *cli, const cJSON *reply) HD_MUST_USE;      // of a TokenReply
void cli_session_forget(struct cli *cli);
enum hd_status cli_session_keep(struct cli *cli) HD_MUST_USE; // refreshes the token where it is soon over

// password.c: from the terminal without echo (twice, with `again`), else the first line of standard input; in the arena.
enum hd_status cli_password(struct cli *cli, const char *prompt, bool again, const char **ret) HD_MUST_USE;

// http.c
struct cli_request {
    const char *method, *path; // path with query, escaped
    const char *body;          // NULL: none
    const char *type;          // of the body
    const char *key;           // Idempotency-Key; NULL: none
    int64_t wait_ms;           // how long the server may take beyond its own time
};
// `*ret` is the reply (cJSON_Delete it), or NULL where there is no body.
enum hd_status cli_call(struct cli *cli, const struct cli_request *request, cJSON **ret) HD_MUST_USE;
const char *cli_escape(struct cli *cli, const char *text); // for a path or query, in the arena
void cli_curl_setup(struct cli *cli, void *easy, const struct cli_request *request, struct hd_buf *body,
                    void **headers);
// Reads the answer of a finished transfer: a curl code and the body.
enum hd_status cli_answer(struct cli *cli, void *easy, int curl_code, const struct hd_buf *body,
                          cJSON **ret) HD_MUST_USE;
#define CLI_GET(p) (&(struct cli_request){.method = "GET", .path = (p)})
// Every page of a list: `name` is the repeated field, `path` has no page_token. The result has all items in that field.
enum hd_status cli_list(struct cli *cli, const char *path, const char *name, cJSON **ret) HD_MUST_USE;

// json.c: members by exact name; what is missing or of another type is "", 0 or an empty list.
const char *j_text(const cJSON *object, const char *name);
int64_t j_int(const cJSON *object, const char *name);
const cJSON *j_get(const cJSON *object, const char *name);

// worker.c: the words of a list, or key=value of labels and taints, with commas; "-" where it is empty.
const char *cli_words(struct cli *cli, const cJSON *list);

// print.c: an answer as -o asks for it: as JSON, as YAML, or the names in it, a line each.
void cli_print(const struct cli *cli, const cJSON *value);

// output.c

const char *cli_time(struct cli *cli, int64_t wall_ms);           // local time, "-" for 0
const char *cli_duration(struct cli *cli, int64_t ms);            // "850ms", "1.2s", "2m03s"; "-" below 0
const char *cli_colour(const struct cli *cli, const char *state); // escape sequence or ""
#define CLI_RESET(cli) ((cli)->colour ? "\033[0m" : "")
// A table whose columns are as wide as their widest cell. Headings: "NAME|VERSION>|…"; '>' aligns to the right.
struct table {
    const char *headings[12];
    bool right[12];
    size_t columns;
    const char **cells;
    size_t n, cap;
    struct hd_arena *arena;
};
void table_init(struct table *table, struct hd_arena *arena, const char *headings);
void table_cell(struct table *table, const char *text);
void table_format(const struct table *table, const struct cli *cli, struct hd_buf *out);
void table_print(const struct table *table, const struct cli *cli);

// run.c
void run_print(struct cli *cli, const cJSON *run, struct hd_buf *out); // the summary table of a run
bool run_state_ended(const char *state);

// follow.c: follows a run until its end; 0 only when it succeeded (with only logs: when they are whole).
struct follow {
    const char *run, *job; // job NULL: all
    bool states, logs;
    bool once; // only the log that is there now
};
int follow_run(struct cli *cli, const struct follow *what);

// quota.c
void quota_print(struct cli *cli, const cJSON *quota, struct hd_buf *out); // a bar for each limit

// pipeline.c: a file, or "-", as a C string.
enum hd_status cli_read_source(struct cli *cli, const char *path, struct hd_buf *ret) HD_MUST_USE;

// lint.c: as the server compiles it, with the time zones of this machine.
enum hd_status cli_compile(struct cli *cli, const char *source, struct hd_err *err,
                           Hodei__V1__CompiledPipeline **ret) HD_MUST_USE;

// The commands.
int cmd_render(struct cli *cli);
int cmd_pipeline_versions(struct cli *cli);
int cmd_pipeline_diff(struct cli *cli);
int cmd_lint(struct cli *cli);
int cmd_schema(struct cli *cli);
int cmd_explain(struct cli *cli);
int cmd_run_pause(struct cli *cli);
int cmd_run_resume(struct cli *cli);
int cmd_run_rerun(struct cli *cli);
int cmd_run_priority(struct cli *cli);
int cmd_job_cancel(struct cli *cli);
int cmd_job_retry(struct cli *cli);
int cmd_job_done(struct cli *cli);
int cmd_job_skip(struct cli *cli);
int cmd_job_approve(struct cli *cli);
int cmd_job_reject(struct cli *cli);
int cmd_pipeline_apply(struct cli *cli);
int cmd_pipeline_list(struct cli *cli);
int cmd_pipeline_get(struct cli *cli);
int cmd_pipeline_delete(struct cli *cli);
int cmd_schedule_list(struct cli *cli);
int cmd_schedule_pause(struct cli *cli);
int cmd_schedule_resume(struct cli *cli);
int cmd_run_start(struct cli *cli);
int cmd_run_list(struct cli *cli);
int cmd_run_get(struct cli *cli);
int cmd_run_watch(struct cli *cli);
int cmd_run_cancel(struct cli *cli);
int cmd_logs(struct cli *cli);
int cmd_worker_list(struct cli *cli);
int cmd_worker_get(struct cli *cli);
int cmd_worker_cordon(struct cli *cli);
int cmd_worker_drain(struct cli *cli);
int cmd_worker_uncordon(struct cli *cli);
int cmd_quota_show(struct cli *cli);
int cmd_quota_set(struct cli *cli);
int cmd_login(struct cli *cli);
int cmd_logout(struct cli *cli);
int cmd_session_list(struct cli *cli);
int cmd_session_end(struct cli *cli);
int cmd_user_create(struct cli *cli);
int cmd_user_list(struct cli *cli);
int cmd_user_disable(struct cli *cli);
int cmd_user_enable(struct cli *cli);
int cmd_user_set_password(struct cli *cli);
int cmd_user_delete(struct cli *cli);
int cmd_auth_keys_list(struct cli *cli);
int cmd_auth_keys_rotate(struct cli *cli);
int cmd_whoami(struct cli *cli);
int cmd_completion_bash(struct cli *cli);
int cmd_completion_zsh(struct cli *cli);
int cmd_completion_fish(struct cli *cli);
int cmd_completion_words(struct cli *cli);
int cmd_auth_can_i(struct cli *cli);
int cmd_auth_permissions(struct cli *cli);
int cmd_role_list(struct cli *cli);
int cmd_role_set(struct cli *cli);
int cmd_role_delete(struct cli *cli);
int cmd_binding_list(struct cli *cli);
int cmd_binding_create(struct cli *cli);
int cmd_binding_delete(struct cli *cli);
int cmd_group_list(struct cli *cli);
int cmd_group_add(struct cli *cli);
int cmd_group_remove(struct cli *cli);
int cmd_service_account_list(struct cli *cli);
int cmd_service_account_create(struct cli *cli);
int cmd_service_account_delete(struct cli *cli);
int cmd_token_list(struct cli *cli);
int cmd_token_create(struct cli *cli);
int cmd_token_rotate(struct cli *cli);
int cmd_token_revoke(struct cli *cli);
int cmd_tenant_list(struct cli *cli);
int cmd_tenant_create(struct cli *cli);
int cmd_tenant_suspend(struct cli *cli);
int cmd_tenant_resume(struct cli *cli);
int cmd_tenant_delete(struct cli *cli);
int cmd_tenant_undelete(struct cli *cli);
int cmd_audit(struct cli *cli);
int cmd_version(struct cli *cli);
int cmd_dev(struct cli *cli);
int cmd_access_nats(struct cli *cli);
int cmd_access_postgres(struct cli *cli);
// admin.c
int cmd_admin_doctor(struct cli *cli);
int cmd_admin_dead_list(struct cli *cli);
int cmd_admin_dead_show(struct cli *cli);
int cmd_admin_dead_drop(struct cli *cli);
int cmd_admin_dead_replay(struct cli *cli);
const char *cli_postgres(struct cli *cli); // --postgres or HODEI_POSTGRES; NULL: neither, and cli->err says so

// backup.c
int cmd_admin_backup(struct cli *cli);
int cmd_admin_restore(struct cli *cli);
// `replace`: even where there are runs. All or nothing, whenever it ends.
enum hd_status backup_restore(struct cli *cli, const char *conninfo, const char *path, bool replace) HD_MUST_USE;

#endif
