#include "services/pipelines/schema.h"

#include <inttypes.h>
#include <string.h>

#include "base/pb.h"
#include "services/pipelines/compile_impl.h"
#include "services/pipelines/triggers.h"

#define SCALAR "{\"type\":[\"string\",\"number\",\"boolean\"]}"
#define DURATION "{\"type\":\"string\",\"pattern\":\"^([0-9]+(ms|s|m|h|d))+$\"}"

static void add_choices(struct hd_buf *out, const struct pip_choices *choices) {
    const char *comma = "";
    hd_buf_adds(out, "{\"enum\":[");
    for (size_t i = 0; i < choices->n; i++) {
        if (choices->rows[i].later)
            continue;
        hd_buf_addf(out, "%s\"%s\"", comma, choices->rows[i].text);
        comma = ",";
    }
    hd_buf_adds(out, "]}");
}

// What follows from how a value is taken.
static void add_by_take(struct hd_buf *out, const struct pip_key *key) {
    const struct pip_range *range = key->arg;
    if (key->take == pip_take_choice)
        add_choices(out, key->arg);
    else if (key->take == pip_take_int)
        hd_buf_addf(out, "{\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64 "}", range->min,
                    range->max);
    else if (key->take == pip_take_duration)
        hd_buf_adds(out, DURATION);
    else if (key->take == pip_take_bool)
        hd_buf_adds(out, "{\"type\":\"boolean\"}");
    else if (key->take == pip_take_env || key->take == pip_take_labels)
        hd_buf_adds(out, "{\"type\":\"object\",\"additionalProperties\":" SCALAR "}");
    else if (key->take == pip_take_argv)
        hd_buf_adds(out, "{\"type\":\"array\",\"minItems\":1,\"items\":" SCALAR "}");
    else if (key->take == pip_take_name)
        hd_buf_addf(out, "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9._-]{1,%d}$\"}", PIP_NAME_MAX);
    else
        hd_buf_adds(out, "{\"type\":\"string\",\"minLength\":1}");
}

static void add_key(struct hd_buf *out, const struct pip_key *key) {
    size_t at;
    hd_buf_addf(out, "\"%s\":", key->name);
    at = out->len;
    if (key->schema)
        hd_buf_adds(out, key->schema);
    else
        add_by_take(out, key);
    if (!key->help || out->data[at] != '{')
        return;
    out->data[--out->len] = '\0'; // before the closing brace
    hd_buf_adds(out, out->data[out->len - 1] == '{' ? "\"description\":" : ",\"description\":");
    hd_json_add_string(out, key->help, strlen(key->help));
    hd_buf_addc(out, '}');
}

static void add_map(struct hd_buf *out, const struct pip_keys *keys, bool defaults) {
    const char *comma = "";
    hd_buf_adds(out, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (size_t i = 0; i < keys->n; i++) {
        if (!keys->rows[i].take || (defaults && keys->rows[i].no_default))
            continue;
        hd_buf_adds(out, comma);
        add_key(out, &keys->rows[i]);
        comma = ",";
    }
    hd_buf_adds(out, "},\"required\":[");
    comma = "";
    for (size_t i = 0; i < keys->n && !defaults; i++) {
        if (!keys->rows[i].required)
            continue;
        hd_buf_addf(out, "%s\"%s\"", comma, keys->rows[i].name);
        comma = ",";
    }
    hd_buf_adds(out, "]}");
}

void pip_schema(struct hd_buf *out) {
    static const struct {
        const char *name;
        const struct pip_keys *keys;
        bool defaults;
    } defs[] = {{"job", &pip_job_keys, false},
                {"defaults", &pip_job_keys, true},
                {"step", &pip_step_keys, false},
                {"need", &pip_need_keys, false},
                {"matrix", &pip_matrix_keys, false},
                {"retry", &pip_retry_keys, false},
                {"backoff", &pip_backoff_keys, false},
                {"approval", &pip_approval_keys, false},
                {"concurrency", &pip_concurrency_keys, false},
                {"allow_failure", &pip_allow_keys, false},
                {"input", &pip_input_keys, false},
                {"resources", &pip_resource_keys, false},
                {"toleration", &pip_toleration_keys, false},
                {"on", &pip_on_keys, false},
                {"cron", &pip_cron_keys, false},
                {"after", &pip_after_keys, false}};
    size_t start = out->len;
    add_map(out, &pip_pipeline_keys, false);
    out->data[--out->len] = '\0';
    hd_buf_adds(
        out, ",\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"title\":\"Hodei pipeline\",\"$defs\":{");
    (void)start;
    for (size_t i = 0; i < sizeof(defs) / sizeof(*defs); i++) {
        hd_buf_addf(out, "%s\"%s\":", i ? "," : "", defs[i].name);
        add_map(out, defs[i].keys, defs[i].defaults);
    }
    hd_buf_adds(out, "}}");
}
