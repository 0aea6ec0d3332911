// Bytes → guarded unpack → pack → unpack → pack: no crash, no leak past the budget, and a packed message stays the same.
// The first byte chooses the message type.
#include "base/pb.h"

#include "hodei/v1/common.pb-c.h"
#include "hodei/v1/flow.pb-c.h"
#include "hodei/v1/log.pb-c.h"
#include "hodei/v1/pipeline.pb-c.h"
#include "hodei/v1/run.pb-c.h"
#include "hodei/v1/shim.pb-c.h"
#include "hodei/v1/worker.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &hodei__v1__rpc_request__descriptor,
    &hodei__v1__rpc_reply__descriptor,
    &hodei__v1__pool_feed__descriptor,
    &hodei__v1__placements__descriptor,
    &hodei__v1__work__descriptor,
    &hodei__v1__attempt_reports__descriptor,
    &hodei__v1__compiled_pipeline__descriptor,
    &hodei__v1__log_chunks__descriptor,
    &hodei__v1__shim_message__descriptor,
    &hodei__v1__heartbeat_request__descriptor,
    &hodei__v1__run__descriptor,
    &hodei__v1__fleet__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size)
        return 0;
    const ProtobufCMessageDescriptor *desc = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    struct hd_arena arena;
    hd_arena_init(&arena);
    struct hd_err err = {0};
    ProtobufCMessage *msg, *again;
    if (hd_pb_unpack(&arena, desc, data + 1, size - 1, &err, &msg) == HD_OK) {
        uint8_t *packed, *repacked;
        size_t len, again_len;
        hd_pb_pack(&arena, msg, &packed, &len);
        // A packed message may be larger than what it came from, hence the cap; where it is smaller (numbers that were written
        // longer than they need), so is what it may take of memory.
        if (len <= HD_PB_MAX_BYTES &&
            (hd_pb_unpack(&arena, desc, packed, len, &err, &again) == HD_OK || !arena.over_budget)) {
            if (err.status != HD_OK)
                abort();
            hd_pb_pack(&arena, again, &repacked, &again_len);
            if (again_len != len || memcmp(packed, repacked, len) != 0)
                abort();
        }
        HD_AUTO_BUF struct hd_buf json = {0};
        hd_pb_to_json(msg, &json);
        if (!hd_utf8_valid(json.data, json.len))
            abort();
    } else if (err.status != HD_INVALID || !err.text[0]) {
        abort();
    }
    hd_arena_release(&arena);
    return 0;
}
