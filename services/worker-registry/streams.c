// Work streams. A transaction finds the workers whose stream must be made, the streams are made after its commit, and the next
// one notes them. A crash between leaves the row as it was: the stream is made once more, which does no harm.
#include "services/worker-registry/registry.h"

enum hd_status registry_streams(struct hd_ctx *cx, void *self, struct hd_item *items, size_t n) {
    struct registry *registry = self;
    size_t n_made = registry->n_made;
    (void)items;
    (void)n;

    registry->n_made = 0;
    if (n_made)
        HD_TRY(registry_store(cx)->streams_made(cx, registry->made, n_made));
    return registry_store(cx)->streams_due(cx, registry->due, REGISTRY_STREAMS_MAX, &registry->n_due);
}

void registry_after_commit(struct hd_ctx *cx, void *self) {
    struct registry *registry = self;
    size_t n_due = registry->n_due;
    (void)cx;

    struct hd_bus *bus = hd_service_bus(registry->service);
    registry->n_due = 0;
    if (n_due == 0 || !bus->ops->connected(bus))
        return; // the timer comes again
    for (size_t i = 0; i < n_due; i++) {
        struct registry_stream *stream = &registry->due[i];
        char session[HD_UUID_TEXT];
        struct hd_err err = {0};
        hd_uuid_format(stream->session, session);
        enum hd_status status = bus->ops->ensure_work(bus, stream->worker, session, &err);
        if (status == HD_OK) {
            registry->made[registry->n_made++] = *stream;
            hd_metric_add(&registry_metrics[REG_M_STREAMS], 1);
            continue;
        }
        hd_metric_add(&registry_metrics[REG_M_STREAMS_FAILED], 1);
        hd_log(HD_LOG_WARN, &(struct hd_log_fields){.worker = stream->worker}, "its work stream was not made: %s",
               err.text);
        if (status == HD_TIMEOUT || status == HD_UNAVAILABLE)
            break; // the others would wait for the same
    }
    if (registry->n_made)
        hd_service_kick(registry->service, "streams");
}
