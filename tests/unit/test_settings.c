#include "base/settings.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "tests/unit/test.h"

static const struct hd_setting first[] = {
    {"nats", HD_SET_TEXT, "nats://127.0.0.1:4222", "server"},
    {"password", HD_SET_TEXT, NULL, "of the server", .secret = true},
};
static const struct hd_setting second[] = {
    {"slots", HD_SET_INT, "4", "jobs at once", .min = 1, .max = 100},
    {"lease-ttl", HD_SET_DURATION, "15s", "lease", .min = 1000, .max = 3600000},
    {"tls", HD_SET_BOOL, NULL, "use TLS"},
    {"unset-limit", HD_SET_INT, NULL, "not set", .min = 5, .max = 9},
};
static const struct hd_settings_table tables[] = {{first, 2}, {second, 4}};

static struct hd_err err;
static struct hd_settings *settings;
static bool done;
static char *args[12];
static int n_args;

static enum hd_status parse(const char *a, const char *b, const char *c, const char *d) {
    const char *given[] = {"prog", a, b, c, d};
    n_args = 0;
    for (size_t i = 0; i < 5 && given[i]; i++)
        args[n_args++] = (char *)(uintptr_t)given[i];
    args[n_args] = NULL;
    hd_settings_free(settings);
    settings = NULL;
    done = false;
    hd_err_clear(&err);
    return hd_settings_parse("prog: tries", tables, 2, &n_args, args, &err, &settings, &done);
}

// A file of that content; the name is good until the next call.
static const char *file_of(const char *text, size_t len) {
    static char path[64];
    if (path[0])
        unlink(path);
    hd_strlcpy(path, "/tmp/test_settings.XXXXXX", sizeof(path));
    HD_AUTO_FD int fd = mkstemp(path);
    CHECK_INT(write(fd, text, len), (int64_t)len);
    return path;
}

// What a call prints to standard output.
static char *printed(const char *flag, const char *other) {
    char path[] = "/tmp/test_settings_out.XXXXXX";
    int fd = mkstemp(path), kept = dup(STDOUT_FILENO);
    unlink(path);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    enum hd_status status = parse(flag, other, NULL, NULL);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    CHECK_INT(status, HD_OK);
    CHECK(done);
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    CHECK_INT(pread(fd, text, (size_t)len, 0), len);
    close(fd);
    return text;
}

TEST(defaults) {
    CHECK_INT(parse(NULL, NULL, NULL, NULL), HD_OK);
    CHECK_STR(hd_settings_text(settings, "nats"), "nats://127.0.0.1:4222");
    CHECK_STR(hd_settings_text(settings, "password"), "");
    CHECK_INT(hd_settings_int(settings, "slots"), 4);
    CHECK_INT(hd_settings_int(settings, "lease-ttl"), 15000);
    CHECK_INT(hd_settings_int(settings, "unset-limit"), 0);
    CHECK(!hd_settings_bool(settings, "tls"));
    CHECK(!done);
}

TEST(flags_in_both_forms_and_words_that_stay) {
    CHECK_INT(parse("--slots=7", "run", "--lease-ttl", "1m30s"), HD_OK);
    CHECK_INT(hd_settings_int(settings, "slots"), 7);
    CHECK_INT(hd_settings_int(settings, "lease-ttl"), 90000);
    CHECK_INT(n_args, 2);
    CHECK_STR(args[1], "run");
    CHECK(args[2] == NULL);
    CHECK_INT(parse("--tls", "-o", "--", "--slots=x"), HD_OK);
    CHECK(hd_settings_bool(settings, "tls"));
    CHECK_INT(n_args, 3);
    CHECK_STR(args[1], "-o");
    CHECK_STR(args[2], "--slots=x");
    CHECK_INT(parse("--tls=false", "--nats=", NULL, NULL), HD_OK);
    CHECK(!hd_settings_bool(settings, "tls"));
    CHECK_STR(hd_settings_text(settings, "nats"), "");
}

TEST(flag_beats_environment_beats_file_beats_default) {
    const char *path = file_of("slots: 10\nnats: from-file\n# a comment\ntls: on\nlease-ttl: 20s\n", 60);
    setenv("HODEI_SLOTS", "20", 1);
    setenv("HODEI_LEASE_TTL", "30s", 1);
    CHECK_INT(parse("--slots", "30", "--config", path), HD_OK);
    CHECK_INT(hd_settings_int(settings, "slots"), 30);
    CHECK_INT(hd_settings_int(settings, "lease-ttl"), 30000);
    CHECK_STR(hd_settings_text(settings, "nats"), "from-file");
    CHECK(hd_settings_bool(settings, "tls"));
    setenv("HODEI_SLOTS", "many", 1);
    CHECK_INT(parse(NULL, NULL, NULL, NULL), HD_INVALID);
    CHECK(strstr(err.text, "HODEI_SLOTS") && strstr(err.text, "many"));
    unsetenv("HODEI_SLOTS");
    unsetenv("HODEI_LEASE_TTL");
    setenv("HODEI_CONFIG", path, 1);
    CHECK_INT(parse(NULL, NULL, NULL, NULL), HD_OK);
    CHECK_INT(hd_settings_int(settings, "slots"), 10);
    unsetenv("HODEI_CONFIG");
}

TEST(unknown_and_wrong_flags) {
    CHECK_INT(parse("--slost=3", NULL, NULL, NULL), HD_INVALID);
    CHECK_STR(err.hint, "did you mean --slots?");
    CHECK_INT(parse("--zzzzzzzzzz", NULL, NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--slots", NULL, NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--slots=", "--slots=1.5", NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--slots=0", NULL, NULL, NULL), HD_INVALID);
    CHECK_STR(err.text, "slots: 0 is not from 1 to 100");
    CHECK_INT(parse("--slots=101", NULL, NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--lease-ttl=15", NULL, NULL, NULL), HD_INVALID);
    CHECK_STR(err.field, "lease-ttl");
    CHECK_INT(parse("--tls=maybe", NULL, NULL, NULL), HD_INVALID);
    CHECK(settings == NULL);
}

TEST(secrets_are_taken_from_files_and_never_from_flags) {
    CHECK_INT(parse("--password=s3cret", NULL, NULL, NULL), HD_INVALID);
    CHECK(!strstr(err.text, "s3cret") && !strstr(err.hint, "s3cret"));
    CHECK_STR(err.hint, "write it to a file for --password-file, or set HODEI_PASSWORD");
    const char *path = file_of("s3cret\n", 7);
    CHECK_INT(parse("--password-file", path, NULL, NULL), HD_OK);
    CHECK_STR(hd_settings_text(settings, "password"), "s3cret");
    setenv("HODEI_PASSWORD_FILE", path, 1);
    CHECK_INT(parse(NULL, NULL, NULL, NULL), HD_OK);
    CHECK_STR(hd_settings_text(settings, "password"), "s3cret");
    unsetenv("HODEI_PASSWORD_FILE");
    setenv("HODEI_PASSWORD", "other", 1);
    HD_AUTO_FREE char *shown = printed("--print-settings", NULL);
    CHECK(strstr(shown, "password: \"***\"  # environment\n") && !strstr(shown, "other"));
    unsetenv("HODEI_PASSWORD");
    CHECK_INT(parse("--password-file=/does/not/exist", NULL, NULL, NULL), HD_INVALID);
    CHECK(strstr(err.text, "/does/not/exist") != NULL);
    CHECK_INT(parse("--nats-file=/dev/null", NULL, NULL, NULL), HD_INVALID); // no secret
    path = file_of("a\0b", 3);
    CHECK_INT(parse("--password-file", path, NULL, NULL), HD_INVALID);
    path = file_of("password: in-yaml\n", 18);
    CHECK_INT(parse("--config", path, NULL, NULL), HD_OK);
    CHECK_STR(hd_settings_text(settings, "password"), "in-yaml");
}

TEST(files_that_are_wrong_name_line_and_column) {
    static const struct {
        const char *text;
        unsigned line, column;
    } rows[] = {
        {"slots: 4\nslost: 5\n", 2, 1},
        {"slots: 4\nslots: 5\n", 2, 1},
        {"slots: [4]\n", 1, 8},
        {"- slots\n", 1, 1},
        {"text\n", 1, 1},
        {"slots: 4\nlease-ttl: soon\n", 2, 1},
        {"slots: {a: b}\n", 1, 8},
        {"nats: &a x\npassword: *a\n", 2, 11},
        {"slots: 4\n---\nslots: 5\n", 3, 1},
        {"[a]: b\n", 1, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_INT(parse("--config", file_of(rows[i].text, strlen(rows[i].text)), NULL, NULL), HD_INVALID);
        CHECK_INT(err.line, rows[i].line);
        CHECK_INT(err.column, rows[i].column);
        CHECK(strstr(err.text, "/tmp/test_settings") != NULL);
    }
    CHECK_INT(parse("--config", file_of("slost: 1\n", 9), NULL, NULL), HD_INVALID);
    CHECK_STR(err.hint, "did you mean slots?");
    CHECK_INT(parse("--config", file_of("slots: \"4\nx", 11), NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--config", file_of("nats: \"a\\0b\"", 12), NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--config", "/does/not/exist", NULL, NULL), HD_INVALID);
    CHECK_INT(parse("--config", file_of("", 0), NULL, NULL), HD_OK);
    CHECK_INT(parse("--config", file_of("# nothing\n", 10), NULL, NULL), HD_OK);
    CHECK_INT(parse("--config", file_of("nats: ~\n", 8), NULL, NULL), HD_OK);
    CHECK_STR(hd_settings_text(settings, "nats"), "");
    char *large = malloc(2u << 20);
    memset(large, ' ', 2u << 20);
    CHECK_INT(parse("--config", file_of(large, 2u << 20), NULL, NULL), HD_INVALID);
    free(large);
    unlink(file_of("", 0));
}

TEST(help_and_print) {
    HD_AUTO_FREE char *help = printed("--help", "--config=/does/not/exist");
    CHECK(strncmp(help, "prog: tries\n", 12) == 0);
    CHECK(strstr(help, "--slots=N") && strstr(help, "(default: 4)") && strstr(help, "--password-file=FILE") &&
          strstr(help, "HODEI_PASSWORD") && strstr(help, "--lease-ttl=10s") && strstr(help, "--config=FILE"));
    HD_AUTO_FREE char *print = printed("--print-settings", "--slots=9");
    CHECK(strstr(print, "slots: 9  # flag\n") && strstr(print, "lease-ttl: 15s  # default\n") &&
          strstr(print, "nats: \"nats://127.0.0.1:4222\"  # default\n") && strstr(print, "tls: false  # default\n"));
    hd_settings_free(settings);
    settings = NULL;
    hd_settings_free(NULL);
}

TEST(durations) {
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"500ms", 500}, {"10s", 10000}, {"5m", 300000},    {"2h", 7200000}, {"1h30m", 5400000},
                {"0", 0},       {"0s", 0},      {"7d", 604800000}, {"1m1ms", 60001}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ms = -1;
        CHECK_INT(hd_duration_parse(good[i].text, &ms), HD_OK);
        CHECK_INT(ms, good[i].ms);
    }
    static const char *const bad[] = {"",
                                      "5",
                                      "s",
                                      "-5s",
                                      "5 s",
                                      "1.5h",
                                      "5x",
                                      "5sm",
                                      "5mss",
                                      "1h2",
                                      "00x",
                                      "9223372036854775807s",
                                      "106751991168d",
                                      "5S",
                                      NULL};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = -1;
        CHECK_INT(hd_duration_parse(bad[i], &ms), HD_INVALID);
        CHECK_INT(ms, -1);
    }
}

TEST_MAIN
