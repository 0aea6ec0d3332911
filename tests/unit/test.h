// A unit test is a program: TEST(name) { … } functions and one TEST_MAIN. Each check that fails is printed with its place and
// the test goes on. The last line is "N passed, N failed", counted in tests.
#ifndef HD_TESTS_UNIT_TEST_H
#define HD_TESTS_UNIT_TEST_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};
static __attribute__((unused)) struct test *tests_head, **tests_tail = &tests_head;
static unsigned test_failures;

#define TEST(id)                                                                                                       \
    static void test_##id(void);                                                                                       \
    static struct test test_entry_##id = {#id, test_##id, NULL};                                                       \
    __attribute__((constructor)) static void test_register_##id(void) {                                                \
        *tests_tail = &test_entry_##id;                                                                                \
        tests_tail = &test_entry_##id.next;                                                                            \
    }                                                                                                                  \
    static void test_##id(void)

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            test_failures++;                                                                                           \
            printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                                                \
        }                                                                                                              \
    } while (0)
#define CHECK_INT(got, want)                                                                                           \
    do {                                                                                                               \
        int64_t got_ = (int64_t)(got), want_ = (int64_t)(want);                                                        \
        if (got_ != want_) {                                                                                           \
            test_failures++;                                                                                           \
            printf("%s:%d: %s is %" PRId64 ", not %" PRId64 "\n", __FILE__, __LINE__, #got, got_, want_);              \
        }                                                                                                              \
    } while (0)
#define CHECK_STR(got, want)                                                                                           \
    do {                                                                                                               \
        const char *got_ = (got), *want_ = (want);                                                                     \
        if (!got_ || strcmp(got_, want_) != 0) {                                                                       \
            test_failures++;                                                                                           \
            printf("%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got, got_ ? got_ : "(null)", want_);      \
        }                                                                                                              \
    } while (0)

#define TEST_MAIN                                                                                                      \
    int main(int argc, char **argv) {                                                                                  \
        unsigned passed = 0, failed = 0;                                                                               \
        for (struct test *t = tests_head; t; t = t->next) {                                                            \
            if (argc > 1 && strcmp(argv[1], t->name) != 0)                                                             \
                continue;                                                                                              \
            test_failures = 0;                                                                                         \
            t->run();                                                                                                  \
            if (test_failures) {                                                                                       \
                failed++;                                                                                              \
                printf("FAILED %s\n", t->name);                                                                        \
            } else {                                                                                                   \
                passed++;                                                                                              \
            }                                                                                                          \
        }                                                                                                              \
        printf("%u passed, %u failed\n", passed, failed);                                                              \
        return failed != 0;                                                                                            \
    }

#endif
