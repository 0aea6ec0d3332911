#include "base/pb.h"

#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "tests/unit/test.h"

// A message with the shape that an attacker would want, which our schemas do not have: one that holds itself.
struct nest {
    ProtobufCMessage base;
    struct nest *inner;
};
static const ProtobufCMessageDescriptor nest_descriptor;
static const ProtobufCFieldDescriptor nest_fields[] = {{
    .name = "inner",
    .id = 1,
    .label = PROTOBUF_C_LABEL_NONE,
    .type = PROTOBUF_C_TYPE_MESSAGE,
    .offset = offsetof(struct nest, inner),
    .descriptor = &nest_descriptor,
}};
static const unsigned nest_by_name[] = {0};
static const ProtobufCIntRange nest_ranges[] = {{1, 0}, {0, 1}};
static void nest_init(ProtobufCMessage *msg) {
    memset(msg, 0, sizeof(struct nest));
    msg->descriptor = &nest_descriptor;
}
static const ProtobufCMessageDescriptor nest_descriptor = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "Nest",
    .short_name = "Nest",
    .c_name = "Nest",
    .package_name = "",
    .sizeof_message = sizeof(struct nest),
    .n_fields = 1,
    .fields = nest_fields,
    .fields_sorted_by_name = nest_by_name,
    .n_field_ranges = 1,
    .field_ranges = nest_ranges,
    .message_init = nest_init,
};

static struct hd_arena arena;
static struct hd_err err;
static ProtobufCMessage *msg;

static enum hd_status unpack(const ProtobufCMessageDescriptor *desc, const void *data, size_t len) {
    hd_arena_release(&arena);
    hd_arena_init(&arena);
    hd_err_clear(&err);
    msg = NULL;
    return hd_pb_unpack(&arena, desc, data, len, &err, &msg);
}
#define UNPACK(desc, literal) unpack(&(desc), (literal), sizeof(literal) - 1)

TEST(round_trip) {
    unpack(&hodei__v1__pool_feed__descriptor, NULL, 0);
    Hodei__V1__PoolFeed *feed = (Hodei__V1__PoolFeed *)hd_pb_new(&arena, &hodei__v1__pool_feed__descriptor);
    CHECK_STR(feed->pool, "");
    feed->pool = hd_arena_strdup(&arena, "gpu \xC3\xA9");
    feed->epoch = UINT64_MAX;
    feed->n_withdrawn = 2;
    feed->withdrawn = HD_NEW_ARRAY(&arena, 2, uint64_t);
    feed->withdrawn[1] = 0x0123456789ABCDEF;
    uint8_t *data;
    size_t len;
    hd_pb_pack(&arena, &feed->base, &data, &len);
    ProtobufCMessage *copy;
    CHECK_INT(hd_pb_unpack(&arena, &hodei__v1__pool_feed__descriptor, data, len, &err, &copy), HD_OK);
    const Hodei__V1__PoolFeed *got = (const Hodei__V1__PoolFeed *)copy;
    CHECK_STR(got->pool, "gpu \xC3\xA9");
    CHECK(got->epoch == UINT64_MAX);
    CHECK_INT(got->n_withdrawn, 2);
    CHECK(got->withdrawn[0] == 0 && got->withdrawn[1] == 0x0123456789ABCDEF);
    CHECK_INT(arena.budget_bytes, 0);
}

TEST(empty_input_is_a_message_of_defaults) {
    CHECK_INT(unpack(&hodei__v1__env_var__descriptor, NULL, 0), HD_OK);
    CHECK_STR(((Hodei__V1__EnvVar *)msg)->name, "");
}

TEST(unknown_fields_survive) {
    // Field 100 of each wire type beside the name; a release that knows them may be next in the chain.
    static const char wire[] = "\x0A\x01x\xA0\x06\x07\xA1\x06"
                               "abcdefgh\xA2\x06\x02hi\xA5\x06"
                               "abcd";
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, wire), HD_OK);
    CHECK_STR(((Hodei__V1__EnvVar *)msg)->name, "x");
    uint8_t *data;
    size_t len;
    hd_pb_pack(&arena, msg, &data, &len);
    CHECK_INT(len, sizeof(wire) - 1);
    CHECK(memcmp(data, wire, len) == 0);
}

TEST(broken_bytes_are_refused) {
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x0A\x05x"), HD_INVALID); // ends within the text
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x0A"), HD_INVALID);      // ends within the length
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"), HD_INVALID);
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), HD_INVALID);
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x02\x00"), HD_INVALID); // field number 0
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x0B\x0C"), HD_INVALID); // a group
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x08\x01"), HD_INVALID); // a number where a text is due
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\xFA\xFF\xFF\xFF\x1F\x00"), HD_INVALID); // number above 2^29-1
    CHECK(err.text[0] != '\0');
}

TEST(texts_must_be_utf8_without_zero_bytes_and_the_place_is_named) {
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x0A\x02x\xFF"), HD_INVALID);
    CHECK_STR(err.field, "name");
    CHECK_INT(UNPACK(hodei__v1__env_var__descriptor, "\x12\x03x\0y"), HD_INVALID);
    CHECK_STR(err.field, "value");
    // Work.assignments.env.value
    CHECK_INT(UNPACK(hodei__v1__work__descriptor, "\x0A\x05\x52\x03\x12\x01\x80"), HD_INVALID);
    CHECK_STR(err.field, "assignments.env.value");
    // Bytes may be anything.
    CHECK_INT(UNPACK(hodei__v1__log_frame__descriptor, "\x1A\x03\xFF\x00\x80"), HD_OK);
}

TEST(a_message_in_pieces_is_refused) {
    // AttemptReport.usage twice.
    CHECK_INT(UNPACK(hodei__v1__attempt_report__descriptor, "\x52\x02\x08\x01"), HD_OK);
    CHECK_INT(UNPACK(hodei__v1__attempt_report__descriptor, "\x52\x02\x08\x01\x52\x02\x10\x01"), HD_INVALID);
    CHECK_STR(err.field, "usage");
}

// Wire bytes of `depth` messages, each in the one before; returns the length. Built from the innermost.
static size_t nest_bytes(uint8_t *buf, size_t size, unsigned depth) {
    size_t at = size, len = 0;
    for (unsigned i = 1; i < depth; i++) {
        uint8_t head[6];
        size_t n = 0;
        head[n++] = 0x0A;
        size_t left = len;
        do {
            head[n] = (uint8_t)(left & 0x7F);
            left >>= 7;
            head[n] |= left ? 0x80 : 0;
            n++;
        } while (left);
        at -= n;
        memcpy(buf + at, head, n);
        len += n;
    }
    memmove(buf, buf + at, len);
    return len;
}

TEST(depth_is_bounded) {
    static uint8_t wire[1u << 20];
    CHECK_INT(unpack(&nest_descriptor, wire, nest_bytes(wire, sizeof(wire), HD_PB_MAX_DEPTH)), HD_OK);
    CHECK_INT(unpack(&nest_descriptor, wire, nest_bytes(wire, sizeof(wire), HD_PB_MAX_DEPTH + 1)), HD_INVALID);
    CHECK_INT(unpack(&nest_descriptor, wire, nest_bytes(wire, sizeof(wire), 200000)), HD_INVALID); // the known overflow
    CHECK(strstr(err.text, "too deeply") != NULL);
}

TEST(size_and_memory_are_bounded) {
    size_t max = HD_PB_MAX_BYTES;
    char *wire = calloc(1, max + 1);
    CHECK_INT(unpack(&hodei__v1__work__descriptor, wire, max + 1), HD_INVALID);
    // 2 bytes a message of about 250 in memory: stopped long before it is all made.
    for (size_t i = 0; i < max; i += 2)
        wire[i] = 0x0A;
    CHECK_INT(unpack(&hodei__v1__work__descriptor, wire, max), HD_INVALID);
    CHECK(strstr(err.text, "memory") != NULL);
    CHECK(arena.used_bytes <= (65u << 20));
    // A budget of the caller is kept, and is still there afterwards.
    hd_arena_reset(&arena);
    arena.budget_bytes = 2000;
    CHECK_INT(hd_pb_unpack(&arena, &hodei__v1__work__descriptor, wire, 4000, &err, &msg), HD_INVALID);
    CHECK(arena.used_bytes <= 2048);
    CHECK_INT(arena.budget_bytes, 2000);
    free(wire);
}

TEST(honest_lists_of_small_messages_fit_the_budget) {
    // The most memory for its bytes that the platform itself sends: 4 MiB of freed places.
    size_t n = HD_PB_MAX_BYTES / 11;
    uint8_t *wire = malloc(n * 11);
    for (size_t i = 0; i < n; i++)
        memcpy(wire + i * 11, "\x3A\x09\x09\x01\x02\x03\x04\x05\x06\x07\x08", 11);
    CHECK_INT(unpack(&hodei__v1__pool_feed__descriptor, wire, n * 11), HD_OK);
    CHECK_INT(((Hodei__V1__PoolFeed *)msg)->n_freed, (int64_t)n);
    free(wire);
}

TEST(mutations_of_real_messages_never_crash) {
    static const char wire[] = "\x0A\x0B\x0A\x01w\x52\x06\x0A\x01x\x12\x01y\x12\x05\x0A\x01"
                               "a\x10\x01";
    uint64_t state = 1;
    for (int i = 0; i < 20000; i++) {
        char copy[sizeof(wire)];
        memcpy(copy, wire, sizeof(wire));
        for (int k = 0; k < 3; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            copy[(state >> 33) % (sizeof(wire) - 1)] = (char)(state >> 50);
        }
        enum hd_status status = unpack(&hodei__v1__work__descriptor, copy, sizeof(wire) - 1 - (size_t)(i % 5));
        CHECK(status == HD_OK || status == HD_INVALID);
    }
    hd_arena_release(&arena);
}

TEST_MAIN
