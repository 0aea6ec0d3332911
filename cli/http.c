#include <curl/curl.h>
#include <inttypes.h>

#include "base/uuid.h"
#include "cli/cli.h"

#define ANSWER_MAX (256u << 20)

static size_t on_data(char *data, size_t size, size_t n, void *to) {
    struct hd_buf *body = to;

    if (body->len + size * n > ANSWER_MAX)
        return 0;
    hd_buf_add(body, data, size * n);
    return size * n;
}

const char *cli_escape(struct cli *cli, const char *text) {
    char *escaped = curl_easy_escape(NULL, text, 0);
    const char *copy = hd_arena_strdup(&cli->arena, escaped);

    curl_free(escaped);
    return copy;
}

const char *cli_filters(struct cli *cli, const char *path, const char *const *names) {
    for (; *names; names++)
        if (cli_option(cli, *names))
            path = hd_arena_printf(&cli->arena, "%s&%s=%s", path, *names, cli_escape(cli, cli_option(cli, *names)));
    return path;
}

const char *cli_ago(struct cli *cli, const char *path, const char *name, const char *field) {
    int64_t ms;
    if (!path || cli_option_duration(cli, name, -1, &ms) != HD_OK)
        return NULL;
    return ms < 0 ? path : hd_arena_printf(&cli->arena, "%s&%s=%" PRId64, path, field, hd_now_read().wall_ms - ms);
}

static void add_header(struct curl_slist **list, const char *name, const char *value) {
    HD_AUTO_BUF struct hd_buf line = {0};

    hd_buf_addf(&line, "%s: %s", name, value);
    *list = curl_slist_append(*list, line.data);
}

void cli_curl_setup(struct cli *cli, void *easy, const struct cli_request *request, struct hd_buf *body,
                    void **headers) {
    HD_AUTO_BUF struct hd_buf url = {0}, bearer = {0};
    struct curl_slist *list = NULL;

    hd_buf_addf(&url, "%s%s", cli->server, request->path);
    if (cli->token) {
        hd_buf_addf(&bearer, "Bearer %s", cli->token);
        add_header(&list, "Authorization", bearer.data);
    }
    list = curl_slist_append(list, "Expect:");
    if (cli->tenant)
        add_header(&list, "Hodei-Tenant", cli->tenant);
    if (request->type)
        add_header(&list, "Content-Type", request->type);
    if (request->key)
        add_header(&list, "Idempotency-Key", request->key);
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url.data);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (cli->cacert)
        curl_easy_setopt(easy, CURLOPT_CAINFO, cli->cacert);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "hodei/" HD_VERSION);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(request->wait_ms + (cli->answer_ms ? cli->answer_ms : 30000)));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
    if (request->body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
    }
    hd_buf_clear(body);
    *headers = list;
}

static enum hd_status status_of(const cJSON *problem, long http) {
    const char *type = j_text(problem, "type"), *prefix = "urn:hodei:problem:";
    enum hd_status by_http = HD_INTERNAL;

    for (int i = HD_STATUS_COUNT - 1; i > HD_OK; i--) {
        const struct hd_status_info *info = hd_status_info((enum hd_status)i);
        if (hd_starts_with(type, prefix) && hd_streq(type + strlen(prefix), info->name))
            return (enum hd_status)i;
        if (info->http == http)
            by_http = (enum hd_status)i;
    }
    return by_http;
}

static enum hd_status problem_take(struct cli *cli, const struct hd_buf *body, long http) {
    cJSON *problem = cJSON_ParseWithLength(body->data ? body->data : "", body->len);
    enum hd_status status = status_of(problem, http);
    const char *detail = j_text(problem, "detail");

    if (detail[0])
        hd_err_set(&cli->err, status, "%s", detail);
    else
        hd_err_set(&cli->err, status, "%s answered with status %ld", cli->server, http);
    hd_err_field(&cli->err, "%s", j_text(problem, "field"));
    if (status == HD_UNAUTHENTICATED && cli->session_until_ms)
        hd_err_hint(&cli->err, "the session has ended: hodei login");
    else if (status == HD_UNAUTHENTICATED &&
             cli->token) // the API says which header; here somebody has a file or a variable
        hd_err_hint(&cli->err, "HODEI_TOKEN, HODEI_TOKEN_FILE or --token-file must be of the platform at %s",
                    cli->server);
    else
        hd_err_hint(&cli->err, "%s", j_text(problem, "hint"));
    hd_err_at(&cli->err, (unsigned)j_int(problem, "line"), (unsigned)j_int(problem, "column"));
    cJSON_Delete(problem);
    return status;
}

// A certificate that is not trusted is not a server that is away.
static void connect_hint(struct cli *cli, CURLcode code) {
    bool tls = hd_starts_with(cli->server, "https:");

    if (code == CURLE_PEER_FAILED_VERIFICATION)
        hd_err_hint(
            &cli->err,
            "name who signs its certificate with HODEI_CACERT or --cacert; `hodei dev --tls` has it in tls/ca.crt");
    else if (code == CURLE_SSL_CACERT_BADFILE)
        hd_err_hint(&cli->err, "HODEI_CACERT or --cacert must be a file in PEM form: %s", cli->cacert);
    else if (code == CURLE_SSL_CONNECT_ERROR || (!tls && (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR)))
        hd_err_hint(&cli->err, tls ? "does the server speak TLS? otherwise its address begins with http://"
                                   : "does the server speak TLS? then its address begins with https://");
    else
        hd_err_hint(&cli->err, "is the platform running there? `hodei dev` starts one here");
}

enum hd_status cli_answer(struct cli *cli, void *easy, int curl_code, const struct hd_buf *body, cJSON **ret) {
    long http = 0;

    if (curl_code == CURLE_OPERATION_TIMEDOUT)
        return hd_err_set(&cli->err, HD_TIMEOUT, "%s did not answer in time", cli->server);
    if (curl_code != CURLE_OK) {
        hd_err_set(&cli->err, HD_UNAVAILABLE, "%s: %s", cli->server, curl_easy_strerror((CURLcode)curl_code));
        connect_hint(cli, (CURLcode)curl_code);
        return HD_UNAVAILABLE;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &http);
    if (http < 200 || http > 299)
        return problem_take(cli, body, http);
    *ret = NULL;
    if (body->len == 0)
        return HD_OK;
    *ret = cJSON_ParseWithLength(body->data, body->len);
    if (!*ret)
        return hd_err_set(&cli->err, HD_INTERNAL, "%s did not answer in JSON: is it a Hodei server?", cli->server);
    return HD_OK;
}

enum hd_status cli_call(struct cli *cli, const struct cli_request *request, cJSON **ret) {
    HD_AUTO_BUF struct hd_buf body = {0};
    void *headers;

    if (!cli->server)
        HD_TRY(cli_connect(cli));
    HD_TRY(cli_session_keep(cli));
    if (!cli->curl)
        cli->curl = curl_easy_init();
    cli_curl_setup(cli, cli->curl, request, &body, &headers);
    CURLcode code = curl_easy_perform(cli->curl);
    curl_slist_free_all(headers);
    return cli_answer(cli, cli->curl, code, &body, ret);
}

enum hd_status cli_list(struct cli *cli, const char *path, const char *name, cJSON **ret) {
    cJSON *all = cJSON_CreateObject(), *items = cJSON_AddArrayToObject(all, name), *page = NULL;
    const char *token = "";

    do {
        const char *full = token[0] ? hd_arena_printf(&cli->arena, "%s%cpage_token=%s", path,
                                                      strchr(path, '?') ? '&' : '?', cli_escape(cli, token))
                                    : path;
        enum hd_status status = cli_call(cli, CLI_GET(full), &page);
        if (status != HD_OK) {
            cJSON_Delete(all);
            return status;
        }
        cJSON *list = cJSON_DetachItemFromObjectCaseSensitive(page, name);
        for (cJSON *item = list ? list->child : NULL; item; item = list->child)
            cJSON_AddItemToArray(items, cJSON_DetachItemViaPointer(list, item));
        cJSON_Delete(list);
        token = hd_arena_strdup(&cli->arena, j_text(page, "next_page_token"));
        cJSON_Delete(page);
    } while (token[0]);
    *ret = all;
    return HD_OK;
}
