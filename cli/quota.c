// What the tenant may use and uses: hodei quota show|set.
#include <inttypes.h>
#include <stdio.h>

#include "base/quota.h"
#include "cli/cli.h"

#define BAR 20 // characters

static const struct {
    const char *option, *label;
} dims[HD_QUOTA_DIMS] = {
    [HD_QUOTA_JOBS] = {"jobs", "concurrent jobs"},
    [HD_QUOTA_CPU] = {"cpu", "CPUs"},
    [HD_QUOTA_MEMORY] = {"memory", "memory"},
    [HD_QUOTA_GPU] = {"gpu", "GPUs"},
    [HD_QUOTA_QUEUED] = {"queued-jobs", "queued jobs"},
    [HD_QUOTA_RUNS_DAY] = {"runs-day", "runs today (UTC)"},
    [HD_QUOTA_PIPELINES] = {"pipelines", "pipelines"},
    [HD_QUOTA_LOG_BYTES_DAY] = {"log-bytes-day", "logs today (UTC)"},
    [HD_QUOTA_MINUTES_MONTH] = {"job-minutes-month", "job minutes this month (UTC)"},
};

static bool is_bytes(enum hd_quota_dim dim) {
    return dim == HD_QUOTA_MEMORY || dim == HD_QUOTA_LOG_BYTES_DAY;
}

// --- show --------------------------------------------------------------------------------------------------------------

// The number, with the unit of bytes: the label says the rest.
static void add_amount(struct hd_buf *out, enum hd_quota_dim dim, int64_t amount) {
    HD_AUTO_BUF struct hd_buf text = {0};
    hd_quota_format(dim, amount, &text);
    size_t len = strcspn(text.data, " ");
    if (is_bytes(dim))
        len += 1 + strcspn(text.data + len + 1, " ");
    hd_buf_add(out, text.data, len);
}

static void add_bar(const struct cli *cli, struct hd_buf *out, int64_t used, int64_t limit) {
    int64_t percent = limit > 0 ? (used >= limit ? 100 : (int64_t)((double)used / (double)limit * 100)) : 100;
    int full = (int)(percent * BAR / 100);
    hd_buf_adds(out, percent >= 100 ? cli_colour(cli, "failed") : percent >= 80 ? cli_colour(cli, "cancelling") : "");
    hd_buf_adds(out, cli->colour ? "" : "[");
    for (int i = 0; i < BAR; i++)
        hd_buf_adds(out, i < full ? (cli->colour ? "█" : "#") : cli->colour ? "░" : ".");
    hd_buf_adds(out, cli->colour ? "" : "]");
    hd_buf_addf(out, "%s %3" PRId64 " %%  ", percent >= 80 ? CLI_RESET(cli) : "", percent);
}

void quota_print(struct cli *cli, const cJSON *quota, struct hd_buf *out) {
    const cJSON *usage = j_get(quota, "usage");
    const char *project = j_text(quota, "project");
    hd_buf_addf(out, "tenant %s", j_text(quota, "tenant"));
    if (*project)
        hd_buf_addf(out, ", project %s", project);
    else
        hd_buf_addf(out, ", weight %" PRId64, j_int(quota, "weight"));
    hd_buf_addf(out, "%s%s\n", cJSON_IsTrue(j_get(quota, "borrow")) ? ", may borrow" : "",
                cJSON_IsTrue(j_get(quota, "enforced")) ? "" : " (not in force yet)");
    for (unsigned i = 0; i < HD_QUOTA_DIMS; i++) {
        const char *field = hd_quota_field((enum hd_quota_dim)i);
        bool limited = i == HD_QUOTA_JOBS || j_get(quota, field);
        if (*project && i == HD_QUOTA_LOG_BYTES_DAY) // is the tenant's
            continue;
        int64_t used = j_int(usage, field), limit = j_int(quota, field);
        hd_buf_addf(out, "  %-30s", dims[i].label);
        if (limited && usage)
            add_bar(cli, out, used, limit);
        else
            hd_buf_addf(out, "%*s", BAR + (cli->colour ? 8 : 10), "");
        if (usage)
            add_amount(out, (enum hd_quota_dim)i, used);
        hd_buf_adds(out, usage && limited ? " of " : usage ? ", no limit\n" : limited ? "limit " : "no limit\n");
        if (limited) {
            add_amount(out, (enum hd_quota_dim)i, limit);
            hd_buf_addc(out, '\n');
        }
    }
    if (!usage)
        hd_buf_adds(out, "what is used is not known: the orchestrator does not answer\n");
}

static int show(struct cli *cli, cJSON *reply) {
    HD_AUTO_BUF struct hd_buf out = {0};
    if (cli->json) {
        cli_print(cli, reply);
    } else {
        quota_print(cli, reply, &out);
        fwrite(out.data, 1, out.len, stdout);
    }
    cJSON_Delete(reply);
    return 0;
}

static const char *path_of(struct cli *cli) {
    const char *project = cli_option(cli, "project");
    return project ? hd_arena_printf(&cli->arena, "/v1/projects/%s/quota", cli_escape(cli, project)) : "/v1/quota";
}

int cmd_quota_show(struct cli *cli) {
    cJSON *reply;

    if (cli_call(cli, CLI_GET(path_of(cli)), &reply) != HD_OK)
        return cli_failed(cli);
    return show(cli, reply);
}

// --- set ---------------------------------------------------------------------------------------------------------------

static enum hd_status parse(struct cli *cli, enum hd_quota_dim dim, const char *text, int64_t *ret) {
    if (hd_streq(text, "none") && dim != HD_QUOTA_JOBS) {
        *ret = HD_QUOTA_UNLIMITED;
        return HD_OK;
    }
    enum hd_status status = dim == HD_QUOTA_CPU ? hd_cpu_parse(text, ret)
                            : is_bytes(dim)     ? hd_bytes_parse(text, ret)
                                                : hd_parse_i64(text, ret);
    if (status == HD_OK && *ret >= 0)
        return HD_OK;
    hd_err_set(&cli->err, HD_INVALID, "--%s: \"%.40s\" is not an amount", dims[dim].option, text);
    hd_err_hint(&cli->err, "%s",
                dim == HD_QUOTA_CPU    ? "for example 16 or 500m, or none for no limit"
                : is_bytes(dim)        ? "for example 64Gi, or none for no limit"
                : dim == HD_QUOTA_JOBS ? "a whole number"
                                       : "a whole number, or none for no limit");
    return HD_INVALID;
}

// What stands, with what is asked for over it.
static enum hd_status merge(struct cli *cli, const cJSON *now, struct hd_buf *body) {
    int64_t weight;
    const char *first = cli->n_args ? cli->args[0] : NULL;
    hd_buf_addf(body, "{\"if_version\":%" PRId64, j_int(now, "version"));
    for (unsigned i = 0; i < HD_QUOTA_DIMS; i++) {
        const char *field = hd_quota_field((enum hd_quota_dim)i), *given = cli_option(cli, dims[i].option);
        int64_t value = i == HD_QUOTA_JOBS || j_get(now, field) ? j_int(now, field) : HD_QUOTA_UNLIMITED;
        given = given || i != HD_QUOTA_JOBS ? given : first;
        if (given)
            HD_TRY(parse(cli, (enum hd_quota_dim)i, given, &value));
        if (value >= 0)
            hd_buf_addf(body, ",\"%s\":%" PRId64, field, value);
    }
    HD_TRY(cli_option_int(cli, "weight", 1, 1000, j_int(now, "weight"), &weight));
    const char *borrow = cli_option(cli, "borrow");
    if (borrow && !hd_streq(borrow, "yes") && !hd_streq(borrow, "no"))
        return hd_err_set(&cli->err, HD_INVALID, "--borrow is yes or no");
    bool borrows = borrow ? hd_streq(borrow, "yes") : cJSON_IsTrue(j_get(now, "borrow"));
    hd_buf_addf(body, ",\"weight\":%" PRId64 ",\"borrow\":%s}", weight, borrows ? "true" : "false");
    return HD_OK;
}

int cmd_quota_set(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf body = {0};
    cJSON *now, *reply;

    if (cli->n_args == 0 && cli->n_given == 0) {
        hd_err_set(&cli->err, HD_INVALID, "nothing is to be set");
        hd_err_hint(&cli->err, "for example hodei quota set --jobs 50 --memory 64Gi");
        return cli_failed(cli);
    }
    if (cli_call(cli, CLI_GET(path_of(cli)), &now) != HD_OK)
        return cli_failed(cli);
    enum hd_status status = merge(cli, now, &body);
    cJSON_Delete(now);
    struct cli_request request = {.method = "PUT", .path = path_of(cli), .body = body.data, .type = "application/json"};
    if (status != HD_OK || cli_call(cli, &request, &reply) != HD_OK)
        return cli_failed(cli);
    if (cli->json) {
        cli_print(cli, reply);
        cJSON_Delete(reply);
        return 0;
    }
    cJSON_Delete(reply);
    return cmd_quota_show(cli);
}
