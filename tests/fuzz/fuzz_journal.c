// A journal file as a crash may have left it: what is whole is replayed, the rest is cut; a snapshot of that is a whole journal.
// Input that begins with 'r' is records (2 bytes of length, then the message), for which lengths and checksums
// are made here, so that the fuzzer gets past them.
#include "agent/stream/journal.c"
#include "agent/stream/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct hd_now now = {.wall_ms = 1700000000000, .mono_ms = 1000000};
static const struct hd_uuid id = {{1}};

static void make_file(struct hd_buf *file, const uint8_t *data, size_t size) {
    for (size_t at = 0; size - at >= 2;) {
        size_t len = (size_t)data[at] | (size_t)data[at + 1] << 8;
        uint8_t header[HEADER];
        at += 2;
        len = len < size - at ? len : size - at;
        put_u32(header, (uint32_t)len);
        put_u32(header + 4, checksum(data + at, len));
        hd_buf_add(file, header, HEADER);
        hd_buf_add(file, data + at, len);
        at += len;
    }
}

static void each(void *session, const Hodei__V1__JournalRecord *record) {
    session_replay(session, record);
}

// Replays a journal; returns what was used of it, and the snapshot.
static size_t replay(const uint8_t *data, size_t size, struct hd_buf *ret_snapshot) {
    struct hd_arena records, arena;
    struct session session;
    hd_arena_init(&records);
    hd_arena_init(&arena);
    session_init(&session, id, "w", 4, NULL);
    session_begin(&session, &arena, now);
    size_t used = journal_decode(&records, data, size, each, &session);
    if (used < size)
        session_distrust(&session);
    session_snapshot(&session, ret_snapshot);
    session_release(&session);
    hd_arena_release(&arena);
    hd_arena_release(&records);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    HD_AUTO_BUF struct hd_buf file = {0};
    HD_AUTO_BUF struct hd_buf first = {0};
    HD_AUTO_BUF struct hd_buf second = {0};

    if (size && data[0] == 'r')
        make_file(&file, data + 1, size - 1);
    else
        hd_buf_add(&file, data, size);
    if (replay((const uint8_t *)file.data, file.len, &first) > file.len)
        abort();
    if (replay((const uint8_t *)first.data, first.len, &second) != first.len)
        abort();
    return 0;
}
