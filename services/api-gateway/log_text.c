#include "services/api-gateway/gateway.h"

#include "base/log.h"
#include "hodei/v1/log.pb-c.h"

static bool send_entries(struct exchange *ex, const Hodei__V1__ReadLogReply *reply) {
    HD_AUTO_BUF struct hd_buf out = {0};

    for (size_t i = 0; i < reply->n_entries; i++)
        for (size_t j = 0; j < reply->entries[i]->n_frames; j++) {
            const ProtobufCBinaryData *data = &reply->entries[i]->frames[j]->data;
            hd_buf_add(&out, data->data, data->len);
        }
    exchange_phase(ex, CONN_SENDING, out.len);
    bool sent = out.len == 0 || mg_send_chunk(ex->conn, out.data, (unsigned)out.len) > 0;
    exchange_phase(ex, CONN_WORKING, 0);
    return sent;
}

// One read and its bytes. *ret_cursor is where to go on, NULL at the end; free() it.
static enum hd_status relay(struct exchange *ex, Hodei__V1__ReadLogRequest *request, bool *begun, char **ret_cursor) {
    ProtobufCMessage *reply;

    HD_TRY(route_call(ex, &request->base, &reply));
    const Hodei__V1__ReadLogReply *read = (const void *)reply;
    if (!*begun)
        reply_text_begin(ex);
    *begun = true;
    if (!send_entries(ex, read))
        return hd_err_set(&ex->err, HD_UNAVAILABLE, "the reader went away");
    bool end = read->n_entries == 0 || hd_streq(read->cursor, request->cursor);
    *ret_cursor = end ? NULL : strdup(read->cursor);
    return HD_OK;
}

// The first read decides the status; after that the only way to say that something went wrong is to break off. Each read
// has an arena of its own, so that a long log takes no more memory than a short one.
int reply_log_text(struct exchange *ex, ProtobufCMessage *message) {
    Hodei__V1__ReadLogRequest *request = (Hodei__V1__ReadLogRequest *)message;
    struct hd_arena whole = ex->arena;
    HD_AUTO_FREE char *cursor = NULL;
    enum hd_status status;
    bool begun = false;

    hd_arena_init(&ex->arena);
    do {
        char *next = NULL;
        status = relay(ex, request, &begun, &next);
        hd_arena_reset(&ex->arena);
        free(cursor);
        cursor = next;
        request->cursor = cursor;
        request->wait_ms = 0; // only the first read waits
    } while (status == HD_OK && cursor);
    hd_arena_release(&ex->arena);
    ex->arena = whole;
    if (status == HD_OK) {
        mg_send_chunk(ex->conn, "", 0);
        return 200;
    }
    if (!begun)
        return reply_problem(ex);
    mg_disable_connection_keep_alive(ex->conn);
    hd_info("log of run %s was broken off: %s", request->run, ex->err.text);
    return 200;
}
