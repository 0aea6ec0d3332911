// What an agent says about itself, checked before anything is done with it. Pure.
#include "base/buf.h"
#include "base/names.h"
#include "base/resources.h"
#include "services/worker-registry/registry.h"

#define LABELS_MAX 32
#define TAINTS_MAX 32
#define LABEL_BYTES 128
#define SLOTS_MAX 10000
#define EXECUTORS_MAX 8
#define VERSION_BYTES 64
#define ATTEMPTS_MAX 10000
#define UNFIT_BYTES 500
#define JOBS_MAX 100

static bool printable(const char *text, size_t max) {
    size_t n = 0;
    for (; text[n]; n++)
        if (n == max || (unsigned char)text[n] < ' ' || text[n] == 0x7f)
            return false;
    return true;
}

static enum hd_status invalid(struct hd_err *err, const char *field, const char *text) {
    hd_err_set(err, HD_INVALID, "%s", text);
    hd_err_field(err, "%s", field);
    return HD_INVALID;
}

static enum hd_status check_labels(const Hodei__V1__JoinRequest *request, struct hd_err *err) {
    if (request->n_labels > LABELS_MAX)
        return invalid(err, "labels", "a worker has at most 32 labels");
    for (size_t i = 0; i < request->n_labels; i++) {
        const Hodei__V1__Label *label = request->labels[i];
        const char *problem = NULL;
        if (!*label->key || !printable(label->key, LABEL_BYTES))
            problem = "a label's key has 1 to 128 bytes and no control characters";
        else if (!printable(label->value, LABEL_BYTES))
            problem = "a label's value has at most 128 bytes and no control characters";
        for (size_t j = 0; !problem && j < i; j++)
            if (strcmp(label->key, request->labels[j]->key) == 0)
                problem = "a label's key stands there twice";
        if (problem) {
            hd_err_set(err, HD_INVALID, "%s", problem);
            hd_err_field(err, "labels[%zu]", i);
            return HD_INVALID;
        }
    }
    return HD_OK;
}

static enum hd_status check_taints(const Hodei__V1__JoinRequest *request, struct hd_err *err) {
    if (request->n_taints > TAINTS_MAX)
        return invalid(err, "taints", "a worker has at most 32 taints");
    for (size_t i = 0; i < request->n_taints; i++) {
        const Hodei__V1__Taint *taint = request->taints[i];
        if (*taint->key && printable(taint->key, LABEL_BYTES) && printable(taint->value, LABEL_BYTES))
            continue;
        hd_err_set(err, HD_INVALID,
                   "a taint's key has 1 to 128 bytes, its value at most 128, without control characters");
        hd_err_field(err, "taints[%zu]", i);
        return HD_INVALID;
    }
    return HD_OK;
}

static enum hd_status check_capacity(const Hodei__V1__Resources *capacity, struct hd_err *err) {
    const struct hd_resources amounts = hd_resources_read(capacity);
    Hodei__V1__Resources read;
    hd_resources_write(&amounts, &read);
    if (!capacity || (read.cpu_milli == capacity->cpu_milli && read.memory_bytes == capacity->memory_bytes &&
                      read.disk_bytes == capacity->disk_bytes && read.gpu == capacity->gpu))
        return HD_OK;
    return invalid(err, "capacity", "an amount is negative or larger than 2^50");
}

static enum hd_status check_executors(const Hodei__V1__JoinRequest *request, struct hd_err *err) {
    if (request->n_executors == 0 || request->n_executors > EXECUTORS_MAX)
        return invalid(err, "executors", "a worker has 1 to 8 executors");
    for (size_t i = 0; i < request->n_executors; i++)
        if (request->executors[i] == HODEI__V1__EXECUTOR__EXECUTOR_UNSPECIFIED)
            return invalid(err, "executors", "an executor is not named");
    return HD_OK;
}

enum hd_status registry_check_join(const Hodei__V1__JoinRequest *request, struct hd_err *err,
                                   struct hd_uuid *ret_session) {
    struct hd_uuid session;

    if (!hd_token_valid(request->name))
        return invalid(err, "name", "a worker's name is 1 to 64 of A-Z a-z 0-9 _ -");
    if (hd_uuid_parse(request->session, &session) != HD_OK || hd_uuid_zero(session))
        return invalid(err, "session", "the session is not a UUID");
    if (!hd_token_valid(request->pool))
        return invalid(err, "pool", "a pool's name is 1 to 64 of A-Z a-z 0-9 _ -");
    if (request->slots < 1 || request->slots > SLOTS_MAX)
        return invalid(err, "slots", "a worker has 1 to 10000 slots");
    if (!printable(request->agent_version, VERSION_BYTES))
        return invalid(err, "agent_version", "the version has at most 64 bytes and no control characters");
    HD_TRY(check_executors(request, err));
    HD_TRY(check_labels(request, err));
    HD_TRY(check_taints(request, err));
    HD_TRY(check_capacity(request->capacity, err));
    *ret_session = session;
    return HD_OK;
}

enum hd_status registry_check_heartbeat(const Hodei__V1__HeartbeatRequest *request, struct hd_err *err,
                                        struct hd_uuid *ret_session) {
    struct hd_uuid session, attempt;

    if (!hd_token_valid(request->worker))
        return invalid(err, "worker", "a worker's name is 1 to 64 of A-Z a-z 0-9 _ -");
    if (hd_uuid_parse(request->session, &session) != HD_OK || hd_uuid_zero(session))
        return invalid(err, "session", "the session is not a UUID");
    if (request->n_attempts > ATTEMPTS_MAX)
        return invalid(err, "attempts", "a worker holds at most 10000 attempts");
    for (size_t i = 0; i < request->n_attempts; i++)
        if (hd_uuid_parse(request->attempts[i], &attempt) != HD_OK)
            return invalid(err, "attempts", "an attempt is not a UUID");
    if (!printable(request->unfit, UNFIT_BYTES))
        return invalid(err, "unfit", "why it takes no work has at most 500 bytes and no control characters");
    if (request->n_jobs > JOBS_MAX)
        return invalid(err, "jobs", "a heartbeat names at most 100 jobs with what they use");
    *ret_session = session;
    return HD_OK;
}
