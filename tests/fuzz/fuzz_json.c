// Text → message → JSON → message → JSON: no crash, and what we write we read back as the same.
// The first byte chooses the message type.
#include "base/pb.h"

#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "hodei/v1/quota.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "hodei/v1/worker.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &hodei__v1__run__descriptor,
    &hodei__v1__compiled_pipeline__descriptor,
    &hodei__v1__grant__descriptor,
    &hodei__v1__log_chunks__descriptor,
    &hodei__v1__start_run_request__descriptor,
    &hodei__v1__fleet__descriptor,
    &hodei__v1__assignment__descriptor,
    &hodei__v1__apply_pipeline_request__descriptor,
    &hodei__v1__set_quota_request__descriptor,
    &hodei__v1__pool_feed__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    const ProtobufCMessageDescriptor *desc = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    struct hd_arena arena;
    hd_arena_init(&arena);
    struct hd_err err = {0};
    ProtobufCMessage *msg, *again;
    if (hd_json_to_pb(&arena, desc, (const char *)data + 1, size - 1, &err, &msg) == HD_OK) {
        HD_AUTO_BUF struct hd_buf first = {0};
        HD_AUTO_BUF struct hd_buf second = {0};
        hd_pb_to_json(msg, &first);
        if (hd_json_to_pb(&arena, desc, first.data, first.len, &err, &again) != HD_OK)
            abort();
        hd_pb_to_json(again, &second);
        if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
            abort();
        uint8_t *packed;
        size_t len;
        hd_pb_pack(&arena, again, &packed, &len);
        if (hd_pb_unpack(&arena, desc, packed, len, &err, &again) != HD_OK)
            abort();
    } else if (err.status != HD_INVALID || !err.text[0] || !hd_utf8_valid(err.field, strlen(err.field)) ||
               !hd_utf8_valid(err.text, strlen(err.text)) || !hd_utf8_valid(err.hint, strlen(err.hint))) {
        abort();
    }
    hd_arena_release(&arena);
    return 0;
}
