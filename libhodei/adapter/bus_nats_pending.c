// Publications and asks under way: two queues in the order of their ids, which are in the reply addresses.
#include "adapter/bus_nats.h"
#include "base/buf.h"

uint64_t nats_pending_add(struct nats_pendings *pendings, const struct nats_pending *item) {
    if (pendings->first + pendings->n == pendings->cap) {
        if (pendings->first > pendings->cap / 2) {
            memmove(pendings->items, pendings->items + pendings->first, pendings->n * sizeof(*pendings->items));
        } else {
            size_t cap = pendings->cap ? pendings->cap * 2 : 64;
            struct nats_pending *grown = hd_calloc(cap, sizeof(*grown));
            if (pendings->n)
                memcpy(grown, pendings->items + pendings->first, pendings->n * sizeof(*grown));
            free(pendings->items);
            pendings->items = grown;
            pendings->cap = cap;
        }
        pendings->first = 0;
    }
    pendings->items[pendings->first + pendings->n] = *item;
    return pendings->base + pendings->n++;
}

// NULL: it is over, or never was.
struct nats_pending *nats_pending_find(struct nats_pendings *pendings, uint64_t id) {
    if (id < pendings->base || id - pendings->base >= pendings->n)
        return NULL;
    struct nats_pending *item = &pendings->items[pendings->first + (size_t)(id - pendings->base)];
    return item->over ? NULL : item;
}

// Takes those that are over from the front; `item` is no longer valid.
void nats_pending_over(struct nats_pendings *pendings, struct nats_pending *item) {
    item->over = true;
    free(item->subject);
    item->subject = NULL;
    while (pendings->n && pendings->items[pendings->first].over) {
        pendings->first++;
        pendings->base++;
        pendings->n--;
    }
}

void nats_pending_free(struct nats_pendings *pendings) {
    for (size_t i = 0; i < pendings->n; i++)
        free(pendings->items[pendings->first + i].subject);
    free(pendings->items);
    *pendings = (struct nats_pendings){0};
}

void nats_publish_over(struct nats_bus *bus, struct nats_pending *item, bool failed) {
    struct nats_arrival *made = hd_calloc(1, sizeof(*made));
    made->arrived =
        (struct hd_arrived){.kind = HD_ARRIVED_PUBLISHED, .failed = failed, .tag = item->tag, .subject = ""};
    nats_pending_over(&bus->publishes, item);
    nats_queue(bus, made);
}

void nats_ask_over(struct nats_bus *bus, struct nats_pending *item, natsMsg *msg) {
    struct nats_arrival *made = hd_calloc(1, sizeof(*made));
    made->msg = msg;
    made->text = HD_STEAL(item->subject);
    made->arrived = (struct hd_arrived){.kind = HD_ARRIVED_ANSWER,
                                        .table = item->kind,
                                        .failed = !msg,
                                        .tag = item->tag,
                                        .subject = made->text,
                                        .data = msg ? (const uint8_t *)natsMsg_GetData(msg) : NULL,
                                        .len = msg ? (size_t)natsMsg_GetDataLength(msg) : 0};
    nats_pending_over(&bus->asks, item);
    nats_queue(bus, made);
}

// Ids of `pendings` that are over may leave its front while it is walked, so it is walked by id.
static int64_t tend(struct nats_bus *bus, struct nats_pendings *pendings, int64_t now, bool lost) {
    int64_t due = INT64_MAX;
    uint64_t end = pendings->base + pendings->n;
    for (uint64_t id = pendings->base; id < end; id++) {
        struct nats_pending *item = nats_pending_find(pendings, id);
        if (!item)
            continue;
        if (item->deadline_mono_ms > now && !(lost && item->sent)) {
            due = item->deadline_mono_ms < due ? item->deadline_mono_ms : due;
            continue;
        }
        if (pendings == &bus->publishes)
            nats_publish_over(bus, item, true);
        else
            nats_ask_over(bus, item, NULL);
    }
    return due;
}

int64_t nats_pending_tend(struct nats_bus *bus, int64_t now, bool lost) {
    int64_t publishes = tend(bus, &bus->publishes, now, lost);
    int64_t asks = tend(bus, &bus->asks, now, lost);
    return publishes < asks ? publishes : asks;
}
