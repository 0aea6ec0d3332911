// Follows a run: two requests that wait at the server, one for its state and one for its log, in one curl multi handle.
#include <stdio.h>

#include <curl/curl.h>

#include "base/uuid.h"
#include "cli/view.h"

#define WAIT_MS 20000
#define RETRY_MS 500
#define GIVE_UP_MS 60000  // without an answer
#define LOG_LATE_MS 15000 // after the end of the run

struct poll {
    CURL *easy;
    struct curl_slist *headers;
    struct hd_buf body;
    bool active;
    int64_t not_before; // monotonic
};
struct following {
    struct cli *cli;
    const struct follow *what;
    CURLM *multi;
    struct poll run_poll, log_poll;
    cJSON *run;
    struct hd_buf etag, cursor;
    struct view view;
    bool run_ended, log_seen_end, changed;
    int64_t ended_at, answered_at;
};

static void poll_start(struct following *f, struct poll *poll, const char *path) {
    struct cli_request request = {.method = "GET", .path = path, .wait_ms = WAIT_MS};

    if (cli_session_keep(f->cli) != HD_OK) // the poll will say what is wrong
        hd_err_clear(&f->cli->err);
    cli_curl_setup(f->cli, poll->easy, &request, &poll->body, (void **)&poll->headers);
    curl_multi_add_handle(f->multi, poll->easy);
    poll->active = true;
}

static void poll_stop(struct following *f, struct poll *poll) {
    if (poll->active)
        curl_multi_remove_handle(f->multi, poll->easy);
    poll->active = false;
    curl_slist_free_all(poll->headers);
    poll->headers = NULL;
}

// Both poll again as soon as they have answered. The log is asked for once the names of the jobs are known.
static void polls_start(struct following *f, int64_t now) {
    HD_AUTO_BUF struct hd_buf path = {0};
    const char *id = cli_escape(f->cli, f->what->run);

    if (!f->run_poll.active && !f->run_ended && now >= f->run_poll.not_before) {
        hd_buf_addf(&path, "/v1/runs/%s", id);
        if (f->etag.len)
            hd_buf_addf(&path, "?wait_ms=%d&etag=%s", WAIT_MS, cli_escape(f->cli, f->etag.data));
        poll_start(f, &f->run_poll, path.data);
    }
    if (f->what->logs && f->run && !f->log_poll.active && now >= f->log_poll.not_before) {
        hd_buf_clear(&path);
        hd_buf_addf(&path, "/v1/runs/%s/logs?max_bytes=1048576&wait_ms=%d", id,
                    f->what->once  ? 0
                    : f->run_ended ? 500
                                   : WAIT_MS);
        if (f->cursor.len)
            hd_buf_addf(&path, "&cursor=%s", cli_escape(f->cli, f->cursor.data));
        if (f->what->job)
            hd_buf_addf(&path, "&job=%s", cli_escape(f->cli, f->what->job));
        poll_start(f, &f->log_poll, path.data);
    }
}

static void text_set(struct hd_buf *buf, const char *text) {
    hd_buf_clear(buf);
    hd_buf_adds(buf, text);
}

static void take_run(struct following *f, cJSON *run, int64_t now) {
    cJSON_Delete(f->run);
    f->run = run;
    text_set(&f->etag, j_text(run, "etag"));
    if (run_state_ended(j_text(run, "state"))) {
        f->run_ended = true;
        f->ended_at = now;
    }
    f->changed = true;
}

// A run that has ended, all of it in the answer, and the job is not there: a name that is wrong, not one that has said nothing.
static enum hd_status check_job(struct following *f) {
    const cJSON *jobs = j_get(f->run, "jobs"), *job;

    if (!f->what->job || !f->run_ended || cJSON_GetArraySize(jobs) < j_int(f->run, "jobs_total"))
        return HD_OK;
    cJSON_ArrayForEach(job, jobs) {
        if (hd_streq(j_text(job, "name"), f->what->job))
            return HD_OK;
    }
    hd_err_set(&f->cli->err, HD_MISSING, "the run has no job \"%.140s\"", f->what->job);
    hd_err_hint(&f->cli->err, "hodei run get %s lists its jobs", f->what->run);
    return HD_MISSING;
}

static void take_log(struct following *f, cJSON *reply) {
    const cJSON *entries = j_get(reply, "entries");

    f->log_seen_end = cJSON_GetArraySize(entries) == 0;
    if (!f->log_seen_end) {
        view_erase(&f->view);
        view_logs(&f->view, entries);
        f->changed = true;
    }
    text_set(&f->cursor, j_text(reply, "cursor"));
    cJSON_Delete(reply);
}

// A platform that is away for a moment is waited for; anything else ends it.
static enum hd_status take_answer(struct following *f, struct poll *poll, int code, int64_t now) {
    cJSON *reply = NULL;
    enum hd_status status = cli_answer(f->cli, poll->easy, code, &poll->body, &reply);

    poll_stop(f, poll);
    if (status == HD_UNAVAILABLE || status == HD_TIMEOUT) {
        if (!f->run || now - f->answered_at > GIVE_UP_MS)
            return status;
        hd_err_clear(&f->cli->err);
        poll->not_before = now + RETRY_MS;
        return HD_OK;
    }
    HD_TRY(status);
    f->answered_at = now;
    if (poll != &f->run_poll) {
        take_log(f, reply);
        return HD_OK;
    }
    take_run(f, reply, now);
    return check_job(f);
}

static bool done(const struct following *f, int64_t now) {
    if (!f->what->logs)
        return f->run_ended;
    if (f->what->once)
        return f->log_seen_end;
    return f->run_ended && (view_logs_whole(&f->view, f->run, f->what->job) || now - f->ended_at > LOG_LATE_MS);
}

static enum hd_status turn(struct following *f) {
    int running, left;
    CURLMsg *msg;

    polls_start(f, hd_now_read().mono_ms);
    curl_multi_perform(f->multi, &running);
    while ((msg = curl_multi_info_read(f->multi, &left)))
        if (msg->msg == CURLMSG_DONE) {
            struct poll *poll = msg->easy_handle == f->run_poll.easy ? &f->run_poll : &f->log_poll;
            HD_TRY(take_answer(f, poll, (int)msg->data.result, hd_now_read().mono_ms));
        }
    if (f->run && f->what->states && (f->changed || f->view.live)) {
        view_erase(&f->view);
        view_changes(&f->view, f->run);
        view_block(&f->view, f->run, hd_now_read().wall_ms);
    } else if (f->run && f->changed) {
        view_changes(&f->view, f->run);
    }
    view_flush(&f->view);
    if (!f->changed) // also the beat of the clocks on a terminal
        curl_multi_poll(f->multi, NULL, 0,
                        f->run_poll.active && (f->log_poll.active || !f->what->logs) ? 1000 : RETRY_MS, NULL);
    f->changed = false;
    return HD_OK;
}

static void finish(struct following *f) {
    view_erase(&f->view);
    view_logs_end(&f->view);
    if (f->what->states && f->cli->json) {
        cli_print(f->cli, f->run);
    } else if (f->what->states) {
        hd_buf_addc(&f->view.out, '\n');
        run_print(f->cli, f->run, &f->view.out);
    }
    view_flush(&f->view);
    if (f->what->logs && !f->what->once && !view_logs_whole(&f->view, f->run, f->what->job))
        fprintf(stderr, "warning: the end of the log has not arrived yet; try `hodei logs %s` later\n", f->what->run);
}

static int result(struct following *f) {
    const char *state = j_text(f->run, "state");

    if (!f->what->states || hd_streq(state, "succeeded"))
        return 0;
    hd_err_set(&f->cli->err, HD_PRECONDITION, "the run has %s",
               hd_streq(state, "cancelled") ? "been cancelled" : state);
    hd_err_hint(&f->cli->err, "hodei logs %s", f->what->run);
    return 1;
}

int follow_run(struct cli *cli, const struct follow *what) {
    struct following f = {.cli = cli, .what = what};
    enum hd_status status = HD_OK;

    if (!cli->server && cli_connect(cli) != HD_OK)
        return cli_failed(cli);
    view_init(&f.view, cli, what->logs && !what->job);
    if (!what->states)
        f.view.live = false;
    f.view.quiet = !what->states && what->job;
    f.multi = curl_multi_init();
    f.run_poll.easy = curl_easy_init();
    f.log_poll.easy = curl_easy_init();
    f.answered_at = hd_now_read().mono_ms;
    while (status == HD_OK && !done(&f, hd_now_read().mono_ms))
        status = turn(&f);
    if (status == HD_OK)
        finish(&f);
    int code = status == HD_OK ? result(&f) : cli_failed(cli);
    poll_stop(&f, &f.run_poll);
    poll_stop(&f, &f.log_poll);
    curl_easy_cleanup(f.run_poll.easy);
    curl_easy_cleanup(f.log_poll.easy);
    curl_multi_cleanup(f.multi);
    hd_buf_release(&f.run_poll.body);
    hd_buf_release(&f.log_poll.body);
    hd_buf_release(&f.etag);
    hd_buf_release(&f.cursor);
    view_release(&f.view);
    cJSON_Delete(f.run);
    return code;
}
