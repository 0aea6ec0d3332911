#include "agent/stream/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/pb.h"

#define FILE_NAME "journal"
#define FILE_NEW "journal.new"
#define HEADER 8

// --- records ---------------------------------------------------------------------------------------------------------

static void put_u32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_u32(const uint8_t *from) {
    return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

// Not zero for no bytes: a file of zeros, as file systems leave after a crash, is not made of records.
static uint32_t checksum(const void *data, size_t len) {
    return (uint32_t)hd_hash(data, len, 0x686f646569) | 1;
}

static void add(struct hd_buf *out, const Hodei__V1__JournalRecord *record) {
    size_t len = protobuf_c_message_get_packed_size(&record->base);
    hd_buf_reserve(out, HEADER + len);
    uint8_t *at = (uint8_t *)out->data + out->len;
    protobuf_c_message_pack(&record->base, at + HEADER);
    put_u32(at, (uint32_t)len);
    put_u32(at + 4, checksum(at + HEADER, len));
    out->len += HEADER + len;
    out->data[out->len] = '\0';
}

void journal_encode(struct hd_buf *out, const struct hd_uuid *id, Hodei__V1__JournalRecord__Kind kind, const void *data,
                    size_t len) {
    Hodei__V1__JournalRecord record = HODEI__V1__JOURNAL_RECORD__INIT;
    char text[HD_UUID_TEXT];
    hd_uuid_format(*id, text);
    record.attempt = text;
    record.kind = kind;
    ProtobufCBinaryData *field =
        kind == HODEI__V1__JOURNAL_RECORD__KIND__KIND_ENDED ? &record.report : &record.assignment;
    field->data = (uint8_t *)(uintptr_t)data;
    field->len = len;
    add(out, &record);
}

void journal_encode_taken(struct hd_buf *out, const struct hd_uuid *id, uint64_t shim, const void *assignment,
                          size_t len) {
    Hodei__V1__JournalRecord record = HODEI__V1__JOURNAL_RECORD__INIT;
    char text[HD_UUID_TEXT];
    hd_uuid_format(*id, text);
    record.attempt = text;
    record.kind = HODEI__V1__JOURNAL_RECORD__KIND__KIND_TAKEN;
    record.shim = shim;
    record.assignment = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)assignment};
    add(out, &record);
}

void journal_encode_floor(struct hd_buf *out, int64_t floor_ms) {
    Hodei__V1__JournalRecord record = HODEI__V1__JOURNAL_RECORD__INIT;
    record.kind = HODEI__V1__JOURNAL_RECORD__KIND__KIND_FLOOR;
    record.floor_ms = floor_ms;
    add(out, &record);
}

size_t journal_decode(struct hd_arena *arena, const uint8_t *data, size_t len,
                      void (*each)(void *arg, const Hodei__V1__JournalRecord *record), void *arg) {
    size_t used = 0;
    while (len - used >= HEADER) {
        uint32_t size = get_u32(data + used);
        ProtobufCMessage *msg = NULL;
        if (size == 0 || size > JOURNAL_RECORD_MAX || size > len - used - HEADER ||
            get_u32(data + used + 4) != checksum(data + used + HEADER, size))
            break;
        hd_arena_reset(arena);
        if (hd_pb_unpack(arena, &hodei__v1__journal_record__descriptor, data + used + HEADER, size, NULL, &msg) !=
            HD_OK)
            break;
        each(arg, (const Hodei__V1__JournalRecord *)msg);
        used += HEADER + size;
    }
    return used;
}

// --- the file --------------------------------------------------------------------------------------------------------

static enum hd_status failed(struct hd_err *err, const char *what) {
    return hd_err_set(err, HD_UNAVAILABLE, "journal: %s: %s", what, strerror(errno));
}

static enum hd_status read_all(int fd, size_t size, uint8_t *data, struct hd_err *err) {
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, data + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return failed(err, "cannot be read");
        done += (size_t)n;
    }
    return HD_OK;
}

static enum hd_status write_all(int fd, const void *data, size_t len, struct hd_err *err) {
    for (const char *p = data; len;) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(err, "cannot be written");
        p += n;
        len -= (size_t)n;
    }
    return HD_OK;
}

static void set_rewrite_at(struct journal *journal) {
    journal->rewrite_at =
        journal->bytes * 2 > JOURNAL_REWRITE_BYTES ? journal->bytes * 2 : (uint64_t)JOURNAL_REWRITE_BYTES;
}

enum hd_status journal_open(struct journal *journal, int dir_fd, struct hd_arena *arena,
                            void (*each)(void *arg, const Hodei__V1__JournalRecord *record), void *arg,
                            struct hd_err *err, bool *ret_damaged) {
    struct stat st;
    HD_AUTO_FD int fd = openat(dir_fd, FILE_NAME, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(fd, &st) != 0)
        return failed(err, "cannot be opened");
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)JOURNAL_FILE_MAX)
        return hd_err_set(err, HD_INVALID, "journal: not a file of at most %u bytes", JOURNAL_FILE_MAX);
    size_t size = (size_t)st.st_size;
    HD_AUTO_FREE uint8_t *data = hd_calloc(1, size);
    HD_TRY(read_all(fd, size, data, err));
    size_t used = journal_decode(arena, data, size, each, arg);
    if (used < size && ftruncate(fd, (off_t)used) != 0)
        return failed(err, "its damaged end cannot be cut off");
    if (fsync(dir_fd) != 0)
        return failed(err, "its folder cannot be synced");
    *journal = (struct journal){.dir_fd = dir_fd, .fd = fd, .bytes = used};
    set_rewrite_at(journal);
    *ret_damaged = used < size;
    fd = -1;
    return HD_OK;
}

void journal_close(struct journal *journal) {
    hd_close_fd(&journal->fd);
}

enum hd_status journal_append(struct journal *journal, const void *data, size_t len, bool sync, struct hd_err *err) {
    enum hd_status status = write_all(journal->fd, data, len, err);
    if (status == HD_OK && sync && fdatasync(journal->fd) != 0)
        status = failed(err, "cannot be synced");
    if (status == HD_OK) {
        journal->bytes += len;
        return HD_OK;
    }
    (void)!ftruncate(journal->fd, (off_t)journal->bytes); // should that fail too, the next start cuts the torn end off
    return status;
}

bool journal_large(const struct journal *journal) {
    return journal->bytes >= journal->rewrite_at;
}

enum hd_status journal_rewrite(struct journal *journal, const void *data, size_t len, struct hd_err *err) {
    HD_AUTO_FD int fd =
        openat(journal->dir_fd, FILE_NEW, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    journal->rewrite_at = journal->bytes + JOURNAL_REWRITE_BYTES; // after a failure, not with every batch
    if (fd < 0)
        return failed(err, "a new one cannot be made");
    HD_TRY(write_all(fd, data, len, err));
    if (fdatasync(fd) != 0)
        return failed(err, "a new one cannot be synced");
    if (renameat(journal->dir_fd, FILE_NEW, journal->dir_fd, FILE_NAME) != 0 || fsync(journal->dir_fd) != 0)
        return failed(err, "a new one cannot be put in its place");
    close(journal->fd);
    journal->fd = fd;
    fd = -1;
    journal->bytes = len;
    set_rewrite_at(journal);
    return HD_OK;
}
