// What was said, until it is in its stream.
//
// In the transaction it becomes one row (several, where it is large); after the commit each message is published; when all of a row are
// in their streams its id joins a list that the next transaction deletes. Rows that a crash left between commit and publish
// are found by a sweep. A message that is published again takes a fresh id, since a burned one would be dropped.
#include <inttypes.h>

#include "base/map.h"
#include "service/runner.h"

#define MESSAGE_MAX ((1u << 20) - 4096) // nats-server takes 1 MiB with headers
#define ROW_BYTES (1u << 20)
#define ROW_MESSAGES 10000u
#define TAG_BITS 20   // of the position within a row
#define ROWS_MAX 4096 // in memory; above these the sweep publishes
#define BYTES_MAX (64u << 20)
#define DONE_MAX 4096 // ids in one statement
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 2000
#define DIRECT_TRIES 8
#define LONE_DELETE_MS 1000
#define STALE_MS 5000
#define AWAY_MS 250

// --- publishing ------------------------------------------------------------------------------------------------------

static struct outbox_row *add_row(struct hd_service *service, int64_t id, const uint8_t *data, size_t len, uint32_t n) {
    struct outbox *outbox = &service->outbox;
    if (outbox->n_rows >= ROWS_MAX || outbox->bytes + len > BYTES_MAX) {
        if (!id)
            hd_warn("%u messages are dropped: too many wait for their streams", n);
        return NULL;
    }
    if (outbox->n_rows == outbox->cap_rows) {
        outbox->cap_rows = outbox->cap_rows ? outbox->cap_rows * 2 : 64;
        outbox->rows = realloc(outbox->rows, outbox->cap_rows * sizeof(*outbox->rows));
        if (!outbox->rows)
            abort();
    }
    struct outbox_row *row = &outbox->rows[outbox->n_rows++];
    *row = (struct outbox_row){.seq = ++outbox->last_seq,
                               .id = id,
                               .n = n,
                               .left = n,
                               .is_failed = hd_calloc(n, sizeof(bool)),
                               .data = hd_calloc(1, len),
                               .len = len};
    memcpy(row->data, data, len);
    outbox->bytes += len;
    return row;
}

static void drop_row(struct outbox *outbox, struct outbox_row *row) {
    outbox->bytes -= row->len;
    free(row->is_failed);
    free(row->data);
    *row = outbox->rows[--outbox->n_rows];
}

static void publish(struct hd_service *service, const struct outbox_row *row, uint32_t n, const char *subject,
                    const uint8_t *data, size_t len, bool again) {
    char id[160];
    char fresh[24] = "";
    if (again)
        snprintf(fresh, sizeof(fresh), ".%" PRIx64, hd_rng_next(service->env.rng));
    if (row->id)
        snprintf(id, sizeof(id), "%s.%" PRId64 ".%u%s", service->def->name, row->id, n, fresh);
    else // no row: the process and the order in it make it unique
        snprintf(id, sizeof(id), "%s.%" PRIx64 "-%" PRIu64 ".%u%s", service->def->name, service->outbox.direct_id,
                 row->seq, n, fresh);
    service->env.bus->ops->publish(service->env.bus, subject, data, len, id, row->seq << TAG_BITS | n);
}

static void publish_staged(struct hd_service *service, const struct outbox_fresh *fresh) {
    const struct outbox_row *row = add_row(service, fresh->id, fresh->data, fresh->len, fresh->n);
    uint32_t n = 0;
    for (const struct hd_staged *staged = fresh->first; row && n < fresh->n; staged = staged->next)
        if (staged->say == HD_SAY_PUBLISH)
            publish(service, row, n++, staged->subject, staged->data, staged->len, false);
}

// Those that failed, or all of a row that a sweep found.
static void publish_again(struct hd_service *service, struct outbox_row *row, bool all) {
    ProtobufCMessage *msg;
    struct hd_err err;
    if (hd_pb_unpack(&service->arena, &hodei__v1__outbox_batch__descriptor, row->data, row->len, &err, &msg) != HD_OK)
        return; // was read before it came here
    const Hodei__V1__OutboxBatch *batch = (const Hodei__V1__OutboxBatch *)msg;
    row->failed = 0;
    for (uint32_t n = 0; n < row->n && n < batch->n_messages; n++) {
        const Hodei__V1__OutboxMessage *said = batch->messages[n];
        if (!all && !row->is_failed[n])
            continue;
        row->is_failed[n] = false;
        publish(service, row, n, said->subject, said->body.data, said->body.len, true);
    }
}

// --- writing ---------------------------------------------------------------------------------------------------------

static void pack_fresh(struct hd_service *service, struct outbox_fresh *fresh) {
    struct hd_arena *arena = &service->arena;
    Hodei__V1__OutboxBatch batch = HODEI__V1__OUTBOX_BATCH__INIT;
    Hodei__V1__OutboxMessage *messages = HD_NEW_ARRAY(arena, fresh->n, Hodei__V1__OutboxMessage);
    const struct hd_staged *staged = fresh->first;
    uint8_t *data;
    batch.messages = HD_NEW_ARRAY(arena, fresh->n, Hodei__V1__OutboxMessage *);
    for (; batch.n_messages < fresh->n; staged = staged->next) {
        if (staged->say != HD_SAY_PUBLISH)
            continue;
        Hodei__V1__OutboxMessage *message = &messages[batch.n_messages];
        hodei__v1__outbox_message__init(message);
        message->subject = (char *)(uintptr_t)staged->subject;
        message->body = (ProtobufCBinaryData){staged->len, (uint8_t *)(uintptr_t)staged->data};
        batch.messages[batch.n_messages++] = message;
    }
    hd_pb_pack(arena, &batch.base, &data, &fresh->len);
    fresh->data = data;
}

// Cuts what is staged into rows of a bounded size.
static enum hd_status collect(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    struct outbox_fresh *fresh = NULL;
    size_t bytes = 0;
    outbox->fresh = NULL;
    outbox->n_fresh = outbox->cap_fresh = 0;
    for (const struct hd_staged *staged = service->env.bus->staged; staged; staged = staged->next) {
        if (staged->say != HD_SAY_PUBLISH)
            continue;
        if (staged->len > MESSAGE_MAX)
            return hd_fail(&service->cx, HD_LIMITED, "the message for %s has %zu bytes, above the most of %u",
                           staged->subject, staged->len, MESSAGE_MAX);
        if (!fresh || bytes + staged->len > ROW_BYTES || fresh->n >= ROW_MESSAGES) {
            HD_GROW(&service->arena, outbox->fresh, outbox->n_fresh, outbox->cap_fresh);
            fresh = &outbox->fresh[outbox->n_fresh++];
            *fresh = (struct outbox_fresh){.first = staged};
            bytes = 0;
        }
        fresh->n++;
        bytes += staged->len + strlen(staged->subject) + 16;
    }
    for (size_t i = 0; i < outbox->n_fresh; i++)
        pack_fresh(service, &outbox->fresh[i]);
    return HD_OK;
}

enum hd_status outbox_write(struct hd_service *service) {
    const struct hd_tx_ops *tx = service->env.tx;
    struct outbox *outbox = &service->outbox;
    HD_TRY(collect(service));
    for (size_t i = 0; i < outbox->n_fresh; i++)
        HD_TRY(tx->outbox_add(&service->cx, service->env.store, outbox->fresh[i].data, outbox->fresh[i].len,
                              &outbox->fresh[i].id));
    outbox->n_done_in_tx = outbox->n_done < DONE_MAX ? outbox->n_done : DONE_MAX;
    if (outbox->n_done_in_tx)
        HD_TRY(tx->outbox_done(&service->cx, service->env.store, outbox->done, outbox->n_done_in_tx));
    return HD_OK;
}

void outbox_forget(struct hd_service *service) {
    service->outbox.fresh = NULL;
    service->outbox.n_fresh = service->outbox.cap_fresh = 0;
    service->outbox.n_done_in_tx = 0;
}

void outbox_committed(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    outbox->n_done -= outbox->n_done_in_tx;
    if (outbox->n_done_in_tx)
        memmove(outbox->done, outbox->done + outbox->n_done_in_tx, outbox->n_done * sizeof(*outbox->done));
    for (size_t i = 0; i < outbox->n_fresh; i++)
        publish_staged(service, &outbox->fresh[i]);
    bool written = service->env.tx != NULL;
    outbox_forget(service);
    if (written) // their place in the list is taken: only tells and asks are left for settle_said
        for (struct hd_staged *staged = service->env.bus->staged; staged; staged = staged->next)
            staged->written = true;
}

void outbox_direct(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    bool any = false;
    for (const struct hd_staged *staged = service->env.bus->staged; staged && !any; staged = staged->next)
        any = staged->say == HD_SAY_PUBLISH && !staged->written;
    if (!any)
        return;
    if (collect(service) != HD_OK)
        hd_error("dropped: %s", service->cx.err.text);
    for (size_t i = 0; i < outbox->n_fresh; i++)
        publish_staged(service, &outbox->fresh[i]);
    outbox_forget(service);
}

// --- in their streams ------------------------------------------------------------------------------------------------

static void note_done(struct hd_service *service, int64_t id) {
    struct outbox *outbox = &service->outbox;
    if (outbox->n_done == outbox->cap_done) {
        outbox->cap_done = outbox->cap_done ? outbox->cap_done * 2 : 64;
        outbox->done = realloc(outbox->done, outbox->cap_done * sizeof(*outbox->done));
        if (!outbox->done)
            abort();
    }
    if (!outbox->n_done)
        outbox->done_mono_ms = service->cx.now.mono_ms;
    outbox->done[outbox->n_done++] = id;
}

static struct outbox_row *find_row(struct outbox *outbox, uint64_t seq) {
    for (size_t i = 0; i < outbox->n_rows; i++)
        if (outbox->rows[i].seq == seq)
            return &outbox->rows[i];
    return NULL;
}

void outbox_published(struct hd_service *service, uint64_t tag, bool failed) {
    struct outbox_row *row = find_row(&service->outbox, tag >> TAG_BITS);
    uint32_t n = (uint32_t)(tag & ((1u << TAG_BITS) - 1));
    if (!row || n >= row->n)
        return;
    hd_metric_add(&service->metrics[failed ? RM_PUBLISH_FAILED : RM_PUBLISHED], 1);
    if (!failed) {
        if (--row->left)
            return;
        if (row->id)
            note_done(service, row->id);
        drop_row(&service->outbox, row);
        return;
    }
    if (!row->failed) {
        int64_t delay = (int64_t)RETRY_FIRST_MS << (row->tries < 5 ? row->tries : 5);
        row->tries++;
        row->retry_mono_ms = service->cx.now.mono_ms + (delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS);
    }
    row->is_failed[n] = true;
    row->failed++;
}

static bool retry_failed(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    int64_t now = service->cx.now.mono_ms;
    bool did = false;
    for (size_t i = 0; i < outbox->n_rows; i++) {
        struct outbox_row *row = &outbox->rows[i];
        if (!row->failed || row->retry_mono_ms > now)
            continue;
        did = true;
        if (!row->id && row->tries > DIRECT_TRIES) {
            hd_warn("%u messages are dropped: no stream took them", row->failed);
            drop_row(outbox, row);
            i--;
        } else if (!service->env.bus->ops->connected(service->env.bus)) {
            row->retry_mono_ms = now + AWAY_MS;
        } else {
            publish_again(service, row, false);
        }
    }
    return did;
}

// --- rows that a crash left ------------------------------------------------------------------------------------------

static bool in_flight(const struct outbox *outbox, int64_t id) {
    for (size_t i = 0; i < outbox->n_rows; i++)
        if (outbox->rows[i].id == id)
            return true;
    for (size_t i = 0; i < outbox->n_done; i++)
        if (outbox->done[i] == id)
            return true;
    return false;
}

// One that cannot be read would come again for ever: it goes to the dead letters.
static enum hd_status bury_unreadable(struct hd_service *service, int64_t id, struct hd_bytes data,
                                      const struct hd_err *why) {
    const struct hd_tx_ops *tx = service->env.tx;
    hd_error("row %" PRId64 " of the outbox cannot be read: %s", id, why->text);
    HD_TRY(tx->dead_letter(&service->cx, service->env.store, "outbox", data.data, data.len, why));
    return tx->outbox_done(&service->cx, service->env.store, &id, 1);
}

static enum hd_status sweep_inside(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    const struct hd_tx_ops *tx = service->env.tx;
    HD_TRY(tx->outbox_stale(&service->cx, service->env.store, service->cx.now.wall_ms - STALE_MS, &outbox->stale));
    for (size_t i = 0; i < outbox->stale.n; i++) {
        struct hd_bytes data = hd_row_bytes(&outbox->stale, i, 1);
        ProtobufCMessage *msg;
        struct hd_err err = {0};
        if (hd_pb_unpack(&service->arena, &hodei__v1__outbox_batch__descriptor, data.data, data.len, &err, &msg) !=
            HD_OK)
            HD_TRY(bury_unreadable(service, hd_row_int(&outbox->stale, i, 0), data, &err));
    }
    return HD_OK;
}

static void publish_stale(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    for (size_t i = 0; i < outbox->stale.n; i++) {
        int64_t id = hd_row_int(&outbox->stale, i, 0);
        struct hd_bytes data = hd_row_bytes(&outbox->stale, i, 1);
        ProtobufCMessage *msg;
        struct hd_err err;
        if (in_flight(outbox, id) || hd_pb_unpack(&service->arena, &hodei__v1__outbox_batch__descriptor, data.data,
                                                  data.len, &err, &msg) != HD_OK)
            continue;
        size_t n = ((const Hodei__V1__OutboxBatch *)msg)->n_messages;
        struct outbox_row *row = n <= ROW_MESSAGES ? add_row(service, id, data.data, data.len, (uint32_t)n) : NULL;
        if (row)
            publish_again(service, row, true);
    }
    outbox->stale = (struct hd_rows){0};
}

static enum hd_status delete_inside(struct hd_service *service) {
    (void)service; // outbox_write deletes
    return HD_OK;
}

bool outbox_tend(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    int64_t now = service->cx.now.mono_ms;
    bool did = retry_failed(service);
    if (!service->env.tx || service->crashed)
        return did;
    bool full = outbox->n_done >= DONE_MAX;
    if (outbox->n_done && (full || service->stopping || now >= outbox->done_mono_ms + LONE_DELETE_MS)) {
        did = true;
        if (batch_alone(service, delete_inside) != HD_OK)
            outbox->done_mono_ms = now; // tried again after a while
    }
    if (now >= outbox->sweep_mono_ms && !service->crashed && service->env.bus->ops->connected(service->env.bus)) {
        bool swept = batch_alone(service, sweep_inside) == HD_OK && !service->crashed;
        outbox->sweep_mono_ms = now + (swept ? STALE_MS : LONE_DELETE_MS);
        did |= swept && outbox->stale.n;
        if (swept)
            publish_stale(service);
        outbox->stale = (struct hd_rows){0};
    }
    return did;
}

int64_t outbox_due_mono_ms(const struct hd_service *service) {
    const struct outbox *outbox = &service->outbox;
    int64_t due = service->env.tx ? outbox->sweep_mono_ms : INT64_MAX;
    if (service->env.tx && due <= service->cx.now.mono_ms) // waits for the bus
        due = service->cx.now.mono_ms + AWAY_MS;
    if (outbox->n_done && outbox->done_mono_ms + LONE_DELETE_MS < due)
        due = outbox->done_mono_ms + LONE_DELETE_MS;
    for (size_t i = 0; i < outbox->n_rows; i++)
        if (outbox->rows[i].failed && outbox->rows[i].retry_mono_ms < due)
            due = outbox->rows[i].retry_mono_ms;
    return due;
}

void outbox_release(struct hd_service *service) {
    struct outbox *outbox = &service->outbox;
    while (outbox->n_rows)
        drop_row(outbox, &outbox->rows[outbox->n_rows - 1]);
    free(outbox->rows);
    free(outbox->done);
    *outbox = (struct outbox){0};
}
