// The journal: what was appended comes back; torn, hostile and foreign bytes do no harm.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/stream/journal.h"
#include "tests/unit/test.h"

#define KIND(x) HODEI__V1__JOURNAL_RECORD__KIND__KIND_##x

struct seen {
    size_t n;
    int kinds[64];
    char last[HD_UUID_TEXT];
    int64_t floor_ms;
};

static void see(void *arg, const Hodei__V1__JournalRecord *record) {
    struct seen *seen = arg;
    if (seen->n < 64)
        seen->kinds[seen->n] = (int)record->kind;
    seen->n++;
    hd_strlcpy(seen->last, record->attempt, sizeof(seen->last));
    if (record->kind == KIND(FLOOR))
        seen->floor_ms = record->floor_ms;
}

static struct hd_uuid id_of(uint8_t n) {
    struct hd_uuid id = {{1, 2, 3, 4, 5, 6, 0x70, 8, 0x80, 10}};
    id.b[15] = n;
    return id;
}

static void add(struct hd_buf *out, uint8_t n, Hodei__V1__JournalRecord__Kind kind, const char *data) {
    struct hd_uuid id = id_of(n);
    journal_encode(out, &id, kind, data, strlen(data));
}

struct folder {
    char path[64];
    int fd;
    struct hd_arena arena;
};

static void folder_make(struct folder *folder) {
    *folder = (struct folder){.path = "/tmp/hodei-journal-XXXXXX"};
    CHECK(mkdtemp(folder->path) != NULL);
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    hd_arena_init(&folder->arena);
}

static void folder_remove(struct folder *folder) {
    unlinkat(folder->fd, "journal", 0);
    unlinkat(folder->fd, "journal.new", 0);
    close(folder->fd);
    rmdir(folder->path);
    hd_arena_release(&folder->arena);
}

static enum hd_status reopen(struct folder *folder, struct journal *journal, struct seen *seen, bool *damaged) {
    struct hd_err err = {0};
    *seen = (struct seen){0};
    return journal_open(journal, folder->fd, &folder->arena, see, seen, &err, damaged);
}

static void append_raw(struct folder *folder, const void *data, size_t len) {
    HD_AUTO_FD int fd = openat(folder->fd, "journal", O_WRONLY | O_APPEND | O_CLOEXEC);
    CHECK(write(fd, data, len) == (ssize_t)len);
}

TEST(what_was_appended_comes_back) {
    struct folder folder;
    struct journal journal;
    struct seen seen;
    struct hd_err err = {0};
    HD_AUTO_BUF struct hd_buf batch = {0};
    bool damaged = true;
    folder_make(&folder);
    CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
    CHECK(!damaged);
    CHECK_INT(seen.n, 0);
    add(&batch, 1, KIND(TAKEN), "an assignment");
    add(&batch, 1, KIND(ENDED), "a report");
    journal_encode_floor(&batch, 77);
    CHECK_INT(journal_append(&journal, batch.data, batch.len, true, &err), HD_OK);
    hd_buf_clear(&batch);
    add(&batch, 2, KIND(SETTLED), "");
    CHECK_INT(journal_append(&journal, batch.data, batch.len, false, &err), HD_OK);
    journal_close(&journal);

    CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
    CHECK(!damaged);
    CHECK_INT(seen.n, 4);
    CHECK_INT(seen.kinds[0], KIND(TAKEN));
    CHECK_INT(seen.kinds[1], KIND(ENDED));
    CHECK_INT(seen.kinds[2], KIND(FLOOR));
    CHECK_INT(seen.floor_ms, 77);
    CHECK_STR(seen.last, "01020304-0506-7008-800a-000000000002");
    journal_close(&journal);
    folder_remove(&folder);
}

TEST(a_torn_tail_is_cut_off_at_every_length) {
    HD_AUTO_BUF struct hd_buf batch = {0};
    add(&batch, 1, KIND(TAKEN), "first");
    size_t first = batch.len;
    add(&batch, 2, KIND(TAKEN), "second");
    for (size_t len = first + 1; len < batch.len; len++) {
        struct folder folder;
        struct journal journal;
        struct seen seen;
        bool damaged;
        struct hd_err err = {0};
        folder_make(&folder);
        CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
        append_raw(&folder, batch.data, len);
        journal_close(&journal);
        CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
        CHECK(damaged);
        CHECK_INT(seen.n, 1);
        // What is appended next is not behind rubbish.
        CHECK_INT(journal_append(&journal, batch.data + first, batch.len - first, true, &err), HD_OK);
        journal_close(&journal);
        CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
        CHECK(!damaged);
        CHECK_INT(seen.n, 2);
        journal_close(&journal);
        folder_remove(&folder);
    }
}

TEST(a_changed_byte_is_noticed_wherever_it_is) {
    HD_AUTO_BUF struct hd_buf batch = {0};
    add(&batch, 1, KIND(TAKEN), "first");
    size_t first = batch.len;
    add(&batch, 2, KIND(TAKEN), "second");
    struct hd_arena arena;
    hd_arena_init(&arena);
    for (size_t i = first; i < batch.len; i++) {
        struct seen seen = {0};
        batch.data[i] ^= 0x20;
        CHECK_INT(journal_decode(&arena, (uint8_t *)batch.data, batch.len, see, &seen), first);
        CHECK_INT(seen.n, 1);
        batch.data[i] ^= 0x20;
    }
    hd_arena_release(&arena);
}

TEST(hostile_bytes_are_no_records) {
    struct hd_arena arena;
    struct seen seen = {0};
    uint8_t zeros[4096] = {0}, ones[4096];
    memset(ones, 0xff, sizeof(ones));
    hd_arena_init(&arena);
    CHECK_INT(journal_decode(&arena, zeros, sizeof(zeros), see, &seen), 0);
    CHECK_INT(journal_decode(&arena, ones, sizeof(ones), see, &seen), 0);
    struct hd_rng rng;
    hd_rng_seed(&rng, 1);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof(ones); i++)
            ones[i] = (uint8_t)hd_rng_next(&rng);
        ones[0] = (uint8_t)round, ones[1] = ones[2] = ones[3] = 0; // a length that fits
        CHECK_INT(journal_decode(&arena, ones, sizeof(ones), see, &seen), 0);
    }
    CHECK_INT(seen.n, 0);
    hd_arena_release(&arena);
}

TEST(rewriting_replaces_the_whole) {
    struct folder folder;
    struct journal journal;
    struct seen seen;
    struct stat before, after;
    struct hd_err err = {0};
    HD_AUTO_BUF struct hd_buf batch = {0}, all = {0};
    bool damaged;
    folder_make(&folder);
    CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
    char text[1000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    add(&batch, 1, KIND(TAKEN), text);
    CHECK(!journal_large(&journal));
    while (!journal_large(&journal))
        CHECK_INT(journal_append(&journal, batch.data, batch.len, false, &err), HD_OK);
    CHECK(fstat(journal.fd, &before) == 0);
    add(&all, 9, KIND(TOMBSTONE), "");
    CHECK_INT(journal_rewrite(&journal, all.data, all.len, &err), HD_OK);
    CHECK(!journal_large(&journal));
    CHECK(fstat(journal.fd, &after) == 0);
    CHECK(after.st_size < 100 && before.st_size >= (off_t)JOURNAL_REWRITE_BYTES);
    CHECK_INT(journal_append(&journal, all.data, all.len, true, &err), HD_OK);
    journal_close(&journal);
    CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
    CHECK_INT(seen.n, 2);
    CHECK_INT(seen.kinds[1], KIND(TOMBSTONE));
    journal_close(&journal);
    folder_remove(&folder);
}

TEST(a_failed_append_leaves_what_was_there) {
    struct folder folder;
    struct journal journal;
    struct seen seen;
    struct hd_err err = {0};
    HD_AUTO_BUF struct hd_buf batch = {0};
    bool damaged;
    folder_make(&folder);
    CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
    add(&batch, 1, KIND(TAKEN), "kept");
    CHECK_INT(journal_append(&journal, batch.data, batch.len, true, &err), HD_OK);
    int good = journal.fd;
    journal.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK_INT(journal_append(&journal, batch.data, batch.len, true, &err), HD_UNAVAILABLE);
    CHECK(strstr(err.text, "No space left") != NULL);
    close(journal.fd);
    journal.fd = good;
    journal_close(&journal);
    CHECK_INT(reopen(&folder, &journal, &seen, &damaged), HD_OK);
    CHECK(!damaged);
    CHECK_INT(seen.n, 1);
    journal_close(&journal);
    folder_remove(&folder);
}

TEST_MAIN
