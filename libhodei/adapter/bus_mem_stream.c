// Streams and consumers of the in-memory twin.
#include "adapter/bus_mem.h"
#include "base/buf.h"
#include "base/map.h"

bool mem_subject_matches(const char *filter, const char *subject) {
    if (!*filter)
        return true;
    for (;;) {
        size_t f = strcspn(filter, "."), s = strcspn(subject, ".");
        if (f == 1 && *filter == '>')
            return *subject;
        if (!(f == 1 && *filter == '*') && (f != s || memcmp(filter, subject, f) != 0))
            return false;
        filter += f;
        subject += s;
        if (!*filter || !*subject)
            return !*filter && !*subject;
        filter++;
        subject++;
    }
}

static char *copy(const char *text) {
    char *made = strdup(text ? text : "");
    if (!made)
        abort();
    return made;
}

static void *grow(void *items, size_t n, size_t *cap, size_t size) {
    if (n < *cap)
        return items;
    *cap = *cap ? *cap * 2 : 16;
    void *grown = realloc(items, *cap * size);
    if (!grown)
        abort();
    return grown;
}

// --- streams ---------------------------------------------------------------------------------------------------------

struct mem_stream *mem_stream_find(struct hd_memnet *net, const char *name) {
    struct mem_stream *stream = net->streams;
    while (stream && !hd_streq(stream->name, name))
        stream = stream->next;
    return stream;
}

struct mem_stream *mem_stream_make(struct hd_memnet *net, const char *name, const char *subjects, bool work_queue) {
    struct mem_stream *stream = mem_stream_find(net, name);
    if (stream)
        return stream;
    stream = hd_calloc(1, sizeof(*stream));
    *stream = (struct mem_stream){
        .next = net->streams, .name = copy(name), .subjects = copy(subjects), .work_queue = work_queue};
    net->streams = stream;
    return stream;
}

static void msg_free(struct mem_msg *msg) {
    free(msg->subject);
    free(msg->data);
    free(msg);
}

void mem_stream_wipe(struct mem_stream *stream) {
    for (size_t i = 0; i < stream->n_msgs; i++)
        msg_free(stream->msgs[i]);
    stream->n_msgs = 0;
    for (struct mem_consumer *consumer = stream->consumers; consumer; consumer = consumer->next)
        consumer->n_pending = 0;
}

void mem_stream_free(struct mem_stream *stream) {
    mem_stream_wipe(stream);
    while (stream->consumers) {
        struct mem_consumer *consumer = stream->consumers;
        stream->consumers = consumer->next;
        free(consumer->name);
        free(consumer->filter);
        free(consumer->pending);
        free(consumer);
    }
    free(stream->name);
    free(stream->subjects);
    free(stream->msgs);
    free(stream->seen_ids);
    free(stream);
}

// True when it is new. 0 marks an empty slot, so no hash is 0.
static bool note_id(struct mem_stream *stream, const char *msg_id) {
    if ((stream->n_seen + 1) * 2 > stream->cap_seen) {
        uint64_t *old = stream->seen_ids;
        size_t old_cap = stream->cap_seen;
        stream->cap_seen = old_cap ? old_cap * 2 : 256;
        stream->seen_ids = hd_calloc(stream->cap_seen, sizeof(uint64_t));
        for (size_t i = 0; i < old_cap; i++) {
            size_t at = old[i] & (stream->cap_seen - 1);
            while (old[i] && stream->seen_ids[at])
                at = (at + 1) & (stream->cap_seen - 1);
            if (old[i])
                stream->seen_ids[at] = old[i];
        }
        free(old);
    }
    uint64_t hash = hd_hash(msg_id, strlen(msg_id), 1) | 1;
    size_t at = hash & (stream->cap_seen - 1);
    for (; stream->seen_ids[at]; at = (at + 1) & (stream->cap_seen - 1))
        if (stream->seen_ids[at] == hash)
            return false;
    stream->seen_ids[at] = hash;
    stream->n_seen++;
    return true;
}

static void remove_at(struct mem_stream *stream, size_t i) {
    msg_free(stream->msgs[i]);
    stream->n_msgs--;
    memmove(&stream->msgs[i], &stream->msgs[i + 1], (stream->n_msgs - i) * sizeof(*stream->msgs));
}

bool mem_stream_publish(struct hd_memnet *net, const char *subject, const void *data, size_t len, const char *msg_id) {
    struct mem_stream *stream = net->streams;
    while (stream && !mem_subject_matches(stream->subjects, subject))
        stream = stream->next;
    if (!stream)
        return false;
    if (!note_id(stream, msg_id))
        return true;
    if (stream->n_msgs >= MEM_STREAM_MAX)
        remove_at(stream, 0);
    struct mem_msg *msg = hd_calloc(1, sizeof(*msg));
    *msg = (struct mem_msg){.seq = ++stream->last_seq, .subject = copy(subject), .data = hd_calloc(1, len), .len = len};
    if (len)
        memcpy(msg->data, data, len);
    stream->msgs = grow(stream->msgs, stream->n_msgs, &stream->cap_msgs, sizeof(*stream->msgs));
    stream->msgs[stream->n_msgs++] = msg;
    return true;
}

// Position of the first message with this seq or a later one.
static size_t lower_bound(const struct mem_stream *stream, uint64_t seq) {
    size_t low = 0, high = stream->n_msgs;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (stream->msgs[mid]->seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const struct mem_msg *message(const struct mem_stream *stream, uint64_t seq) {
    size_t i = lower_bound(stream, seq);
    return i < stream->n_msgs && stream->msgs[i]->seq == seq ? stream->msgs[i] : NULL;
}

// --- consumers -------------------------------------------------------------------------------------------------------

struct mem_consumer *mem_consumer_find(struct mem_stream *stream, const char *name) {
    struct mem_consumer *consumer = stream->consumers;
    while (consumer && !hd_streq(consumer->name, name))
        consumer = consumer->next;
    return consumer;
}

struct mem_consumer *mem_consumer_make(struct mem_stream *stream, const char *name, const char *filter) {
    struct mem_consumer *consumer = mem_consumer_find(stream, name);
    if (consumer)
        return consumer;
    consumer = hd_calloc(1, sizeof(*consumer));
    *consumer =
        (struct mem_consumer){.next = stream->consumers, .name = copy(name), .filter = copy(filter), .next_seq = 1};
    stream->consumers = consumer;
    return consumer;
}

static struct mem_pending *pending(const struct mem_consumer *consumer, uint64_t seq) {
    for (size_t i = 0; i < consumer->n_pending; i++)
        if (consumer->pending[i].seq == seq)
            return &consumer->pending[i];
    return NULL;
}

static void forget(struct mem_consumer *consumer, struct mem_pending *entry) {
    size_t i = (size_t)(entry - consumer->pending);
    consumer->n_pending--;
    memmove(entry, entry + 1, (consumer->n_pending - i) * sizeof(*entry));
}

static const struct mem_msg *again(struct hd_memnet *net, const struct mem_stream *stream,
                                   struct mem_consumer *consumer, uint64_t *ret_deliveries) {
    for (size_t i = 0; i < consumer->n_pending; i++) {
        struct mem_pending *entry = &consumer->pending[i];
        if (entry->out || entry->due_ms > net->mono_ms)
            continue;
        const struct mem_msg *msg = message(stream, entry->seq);
        if (!msg) { // too old, dropped
            forget(consumer, entry);
            i--;
            continue;
        }
        entry->out = true;
        entry->due_ms = net->mono_ms + MEM_ACK_WAIT_MS;
        *ret_deliveries = ++entry->deliveries;
        return msg;
    }
    return NULL;
}

static struct mem_pending *add_pending(struct mem_consumer *consumer, uint64_t seq) {
    consumer->pending =
        grow(consumer->pending, consumer->n_pending, &consumer->cap_pending, sizeof(*consumer->pending));
    struct mem_pending *entry = &consumer->pending[consumer->n_pending++];
    *entry = (struct mem_pending){.seq = seq};
    return entry;
}

const struct mem_msg *mem_consumer_next(struct hd_memnet *net, struct mem_stream *stream, struct mem_consumer *consumer,
                                        uint64_t *ret_deliveries) {
    const struct mem_msg *msg = again(net, stream, consumer, ret_deliveries);
    if (msg)
        return msg;
    for (size_t i = lower_bound(stream, consumer->next_seq); i < stream->n_msgs; i++) {
        msg = stream->msgs[i];
        consumer->next_seq = msg->seq + 1;
        if (!mem_subject_matches(consumer->filter, msg->subject))
            continue;
        struct mem_pending *entry = add_pending(consumer, msg->seq);
        // Overtaken: this one is held back for a moment, and those behind it go first.
        if (mem_chance(net, net->faults.reorder)) {
            entry->due_ms = net->mono_ms + 1 + (int64_t)hd_rng_below(net->rng, 50);
            continue;
        }
        *entry = (struct mem_pending){
            .seq = msg->seq, .deliveries = 1, .out = true, .due_ms = net->mono_ms + MEM_ACK_WAIT_MS};
        *ret_deliveries = 1;
        return msg;
    }
    return NULL;
}

void mem_consumer_ack(struct hd_memnet *net, struct mem_stream *stream, struct mem_consumer *consumer, uint64_t seq) {
    struct mem_pending *entry = pending(consumer, seq);
    if (!entry)
        return;
    if (mem_chance(net, net->faults.redeliver_acked)) { // the server lost the acknowledgement
        entry->out = false;
        entry->due_ms = net->mono_ms + 1 + (int64_t)hd_rng_below(net->rng, 200);
        return;
    }
    forget(consumer, entry);
    size_t i = lower_bound(stream, seq);
    if (stream->work_queue && i < stream->n_msgs && stream->msgs[i]->seq == seq)
        remove_at(stream, i);
}

void mem_consumer_nak(struct hd_memnet *net, struct mem_consumer *consumer, uint64_t seq, int64_t delay_ms) {
    struct mem_pending *entry = pending(consumer, seq);
    if (!entry)
        return;
    entry->out = false;
    entry->due_ms = net->mono_ms + delay_ms;
}

void mem_consumer_tick(struct hd_memnet *net, struct mem_consumer *consumer) {
    for (size_t i = 0; i < consumer->n_pending; i++)
        if (consumer->pending[i].out && consumer->pending[i].due_ms <= net->mono_ms)
            consumer->pending[i].out = false;
}

bool mem_consumer_idle(const struct mem_stream *stream, const struct mem_consumer *consumer) {
    if (consumer->n_pending)
        return false;
    for (size_t i = lower_bound(stream, consumer->next_seq); i < stream->n_msgs; i++)
        if (mem_subject_matches(consumer->filter, stream->msgs[i]->subject))
            return false;
    return true;
}
