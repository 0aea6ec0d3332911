// Inside the in-memory twin only: streams, consumers and buses on one network.
#ifndef HD_ADAPTER_BUS_MEM_H
#define HD_ADAPTER_BUS_MEM_H

#include "adapter/bus.h"

#define MEM_ACK_WAIT_MS 30000
#define MEM_STREAM_MAX 65536 // messages a stream keeps; the oldest go

struct mem_msg {
    uint64_t seq;
    char *subject;
    uint8_t *data;
    size_t len;
};

struct mem_pending { // delivered at least once, and not acknowledged
    uint64_t seq;
    uint64_t deliveries;
    bool out;       // at a client; else to be delivered again
    int64_t due_ms; // when it is taken back, or delivered again
};

struct mem_consumer {
    struct mem_consumer *next;
    char *name;
    char *filter; // "": all
    uint64_t next_seq;
    struct mem_pending *pending;
    size_t n_pending, cap_pending;
};

struct mem_stream {
    struct mem_stream *next;
    char *name, *subjects;
    bool work_queue;
    uint64_t last_seq;
    struct mem_msg **msgs; // in order of seq
    size_t n_msgs, cap_msgs;
    uint64_t *seen_ids; // hashes of message ids, open addressing; they stay burned after a wipe
    size_t n_seen, cap_seen;
    struct mem_consumer *consumers;
};

struct mem_sub { // of core NATS
    struct mem_sub *next;
    enum hd_arrival kind; // HD_ARRIVED_RPC or HD_ARRIVED_HINT
    char *subject;
    char *queue; // NULL: none
    int table;
};

struct mem_feed {
    struct mem_feed *next;
    char *stream, *consumer, *filter;
    bool make, closed; // a closed one is kept until what it delivered is done
    unsigned window, out;
    int table;
};

struct mem_arrival { // the handle of an arrival; owns its bytes
    struct mem_arrival *next;
    struct hd_arrived arrived;
    struct mem_feed *feed;
    uint64_t seq;
    char *stream, *consumer;
};

struct mem_ask {
    struct mem_ask *next;
    uint64_t id;
    struct mem_bus *bus;
    int answer_kind;
    uint64_t tag;
    int64_t deadline_ms;
    char *subject;
};

struct mem_bus {
    struct hd_bus base;
    struct mem_bus *next;
    struct hd_memnet *net;
    char *name;
    struct mem_sub *subs;
    struct mem_feed *feeds;
    struct mem_arrival *inbox; // core messages, answers, publications
    size_t n_inbox;
};

struct hd_memnet {
    struct hd_rng *rng;
    int64_t mono_ms;
    struct hd_memnet_faults faults;
    struct mem_stream *streams;
    struct mem_bus *buses;
    struct mem_ask *asks;
    uint64_t last_ask;
};

bool mem_chance(struct hd_memnet *net, unsigned percent);
bool mem_subject_matches(const char *filter, const char *subject); // "" matches all
void mem_arrival_free(struct mem_arrival *arrival);

// Streams: bus_mem_stream.c.
struct mem_stream *mem_stream_make(struct hd_memnet *net, const char *name, const char *subjects, bool work_queue);
struct mem_stream *mem_stream_find(struct hd_memnet *net, const char *name);
struct mem_consumer *mem_consumer_find(struct mem_stream *stream, const char *name);
struct mem_consumer *mem_consumer_make(struct mem_stream *stream, const char *name, const char *filter);
void mem_stream_free(struct mem_stream *stream);
void mem_stream_wipe(struct mem_stream *stream);
// False when no stream takes the subject. A message id that was seen before counts as published.
bool mem_stream_publish(struct hd_memnet *net, const char *subject, const void *data, size_t len, const char *msg_id);
// The next message that may go to this consumer now; NULL: none.
const struct mem_msg *mem_consumer_next(struct hd_memnet *net, struct mem_stream *stream, struct mem_consumer *consumer,
                                        uint64_t *ret_deliveries);
void mem_consumer_ack(struct hd_memnet *net, struct mem_stream *stream, struct mem_consumer *consumer, uint64_t seq);
void mem_consumer_nak(struct hd_memnet *net, struct mem_consumer *consumer, uint64_t seq, int64_t delay_ms);
void mem_consumer_tick(struct hd_memnet *net, struct mem_consumer *consumer);
bool mem_consumer_idle(const struct mem_stream *stream, const struct mem_consumer *consumer);

#endif
