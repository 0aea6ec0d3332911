// The difference of two definitions.
#include "tests/unit/test.h"

#include "base/buf.h"
#include "base/uuid.h"
#include "services/pipelines/diff.h"

static struct hd_arena arena;

static const char *diff(const char *from, const char *to) {
    bool truncated;
    struct pip_side a = {"old", from}, b = {"new", to};
    const char *text = pip_diff_text(&arena, &a, &b, &truncated);
    CHECK(!truncated);
    return text;
}

TEST(a_change_stands_with_what_is_around_it) {
    hd_arena_init(&arena);
    CHECK_STR(diff("a\nb\n", "a\nb\n"), "");
    CHECK_STR(diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nfive\n6\n7\n8\n"),
              "--- old\n+++ new\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
    CHECK_STR(diff("", "a\nb\n"), "--- old\n+++ new\n@@ -0,0 +1,2 @@\n+a\n+b\n");
    CHECK_STR(diff("a\n", ""), "--- old\n+++ new\n@@ -1 +0,0 @@\n-a\n");
    CHECK_STR(diff("a\nb", "a\nb\n"), "--- old\n+++ new\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n");
    // Two that are near share a hunk, two that are far do not.
    CHECK_STR(diff("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n"),
              "--- old\n+++ new\n@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n");
    CHECK_STR(diff("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n"),
              "--- old\n+++ new\n@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n");
    hd_arena_release(&arena);
}

// What a reader of the format makes of it: the old text becomes the new one.
static void patch(const char *old, const char *text, struct hd_buf *out) {
    const char *at = old;
    size_t line = 1;
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n") + 1;
        if (strncmp(p, "@@ -", 4) == 0) {
            char *end;
            size_t start = strtoul(p + 4, &end, 10), n = *end == ',' ? strtoul(end + 1, NULL, 10) : 1;
            for (start += n == 0; line < start; line++) { // what stands between the hunks
                size_t plain = strcspn(at, "\n") + 1;
                hd_buf_add(out, at, plain);
                at += plain;
            }
        } else if (*p == '+' && strncmp(p, "+++ ", 4) != 0) {
            hd_buf_add(out, p + 1, len - 1);
        } else if (*p == ' ' || (*p == '-' && strncmp(p, "--- ", 4) != 0)) {
            CHECK(strncmp(at, p + 1, len - 1) == 0);
            if (*p == ' ')
                hd_buf_add(out, p + 1, len - 1);
            at += len - 1;
            line++;
        }
        p += len;
    }
    hd_buf_adds(out, at);
}

static size_t count(const char *text, char sign) {
    size_t n = 0;
    for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
        n += *p == sign && strncmp(p, "--- ", 4) != 0 && strncmp(p, "+++ ", 4) != 0;
    return n;
}

// The least number of edits, by the textbook's table.
static size_t least(const char *a, size_t n, const char *b, size_t m) {
    static size_t table[64][64];
    for (size_t i = 0; i <= n; i++)
        for (size_t k = 0; k <= m; k++)
            table[i][k] = !i   ? k
                          : !k ? i
                          : a[2 * (i - 1)] == b[2 * (k - 1)]
                              ? table[i - 1][k - 1]
                              : 1 + (table[i - 1][k] < table[i][k - 1] ? table[i - 1][k] : table[i][k - 1]);
    return table[n][m];
}

TEST(random_texts_become_each_other_with_the_fewest_edits) {
    struct hd_rng rng;
    hd_rng_seed(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        char a[130] = "", b[130] = "";
        size_t n = hd_rng_below(&rng, 40), m = hd_rng_below(&rng, 40), letters = 1 + hd_rng_below(&rng, 6);
        HD_AUTO_BUF struct hd_buf out = {0};
        for (size_t i = 0; i < n; i++)
            memcpy(a + 2 * i, (char[]){(char)('a' + hd_rng_below(&rng, letters)), '\n', 0}, 3);
        for (size_t i = 0; i < m; i++)
            memcpy(b + 2 * i, (char[]){(char)('a' + hd_rng_below(&rng, letters)), '\n', 0}, 3);
        hd_arena_init(&arena);
        const char *text = diff(a, b);
        patch(a, text, &out);
        CHECK_STR(out.data ? out.data : "", b);
        CHECK_INT(count(text, '-') + count(text, '+'), least(a, n, b, m));
        hd_arena_release(&arena);
        if (test_failures) {
            printf("  in round %d\n", round);
            return;
        }
    }
}

// Much that differs is shown as replaced, and what is too long is cut.
TEST(bounds) {
    HD_AUTO_BUF struct hd_buf a = {0}, b = {0}, out = {0};
    bool truncated;
    hd_arena_init(&arena);
    for (int i = 0; i < 20000; i++) {
        hd_buf_addf(&a, "%d\n", i);
        hd_buf_addf(&b, "%d\n", i % 3 ? i : -i);
    }
    patch(a.data, diff(a.data, b.data), &out);
    CHECK_STR(out.data, b.data);
    hd_buf_clear(&a);
    hd_buf_clear(&b);
    for (int i = 0; i < 100000; i++) {
        hd_buf_adds(&a, i % 2 ? "x\n" : "y\n");
        hd_buf_adds(&b, i % 3 ? "x\n" : "zz\n");
    }
    hd_buf_clear(&out);
    patch(a.data, diff(a.data, b.data), &out);
    CHECK_STR(out.data, b.data);
    hd_buf_clear(&b);
    for (int i = 0; i < 500000; i++)
        hd_buf_adds(&b, "\n");
    struct pip_side old = {"old", a.data}, new = {"new", b.data};
    const char *text = pip_diff_text(&arena, &old, &new, &truncated);
    CHECK(truncated);
    CHECK(strlen(text) <= PIP_DIFF_MAX && text[strlen(text) - 1] == '\n');
    hd_arena_release(&arena);
}

static const char *joined(char *const *names, size_t n) {
    HD_AUTO_BUF struct hd_buf out = {0};
    for (size_t i = 0; i < n; i++)
        hd_buf_addf(&out, "%s%s", i ? "," : "", names[i]);
    return hd_arena_strdup(&arena, out.data);
}

TEST(what_it_means) {
    static const char old[] =
        "hodei: v1\nname: p\non: { cron: [{ expr: \"@daily\" }] }\ninputs: { a: { default: x } }\n"
        "jobs:\n  z: { run: z }\n  a: { run: a, needs: [z] }\n  b: { run: b }\n  m: { run: m }\n";
    static const char new[] =
        "hodei: v1\nname: p\non: { cron: [{ expr: \"@daily\" }] }\ninputs: { a: { default: y } }\n"
        "timeout: 1h\njobs:\n  n: { run: n }\n  z: { run: z }  # the same\n"
        "  a: { run: a, needs: [z] }\n  b: { run: b, needs: [z] }\nfinally:\n  m: { run: m }\n";
    Hodei__V1__DiffPipelineReply reply = HODEI__V1__DIFF_PIPELINE_REPLY__INIT;
    struct pip_side from = {"old", old}, to = {"new", new}, none = {"none", ""}, broken = {"broken", "jobs: ["};
    hd_arena_init(&arena);
    pip_diff(&arena, &from, &to, &reply);
    CHECK_STR(joined(reply.jobs_added, reply.n_jobs_added), "n");
    CHECK_STR(joined(reply.jobs_removed, reply.n_jobs_removed), "");
    CHECK_STR(joined(reply.jobs_changed, reply.n_jobs_changed), "b,m"); // a stays, though the place of z has moved
    CHECK_STR(joined(reply.keys_changed, reply.n_keys_changed), "inputs,timeout");
    struct pip_side cron = {"cron",
                            "hodei: v1\nname: p\non: { cron: [{ expr: \"@daily\" }] }\njobs: { a: { run: x } }\n"},
                    after = {"after",
                             "hodei: v1\nname: q\non: { cron: [{ expr: \"@daily\" }], pipeline: [{ name: b }] }\n"
                             "jobs: { a: { run: x } }\n"};
    hodei__v1__diff_pipeline_reply__init(&reply);
    pip_diff(&arena, &cron, &after, &reply);
    CHECK_STR(joined(reply.keys_changed, reply.n_keys_changed), "name,on");
    CHECK_INT(reply.n_jobs_changed, 0);
    hodei__v1__diff_pipeline_reply__init(&reply);
    pip_diff(&arena, &none, &from, &reply);
    CHECK_STR(joined(reply.jobs_added, reply.n_jobs_added), "z,a,b,m");
    hodei__v1__diff_pipeline_reply__init(&reply);
    pip_diff(&arena, &from, &broken, &reply);
    CHECK_STR(joined(reply.jobs_removed, reply.n_jobs_removed), "z,a,b,m");
    CHECK(*reply.diff);
    hd_arena_release(&arena);
}

TEST_MAIN
