#include "base/log.h"

#include <cjson/cJSON.h>
#include <unistd.h>

#include "base/buf.h"
#include "tests/unit/test.h"

// What hd_log writes to standard error, caught in a file.
static int caught, original;

static void catch_begin(void) {
    char path[] = "/tmp/test_log.XXXXXX";
    fflush(stderr);
    original = dup(STDERR_FILENO);
    caught = mkstemp(path);
    unlink(path);
    dup2(caught, STDERR_FILENO);
}

static char *catch_end(void) {
    dup2(original, STDERR_FILENO);
    close(original);
    off_t len = lseek(caught, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    CHECK_INT(pread(caught, text, (size_t)len, 0), len);
    close(caught);
    return text;
}

static const char *member(const cJSON *json, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

TEST(line_is_json_with_fixed_keys) {
    hd_log_setup("tester", HD_LOG_INFO);
    struct hd_log_fields fields = {.tenant = "acme", .run = "r\"1", .trace = "t"};
    catch_begin();
    hd_log(HD_LOG_WARN, &fields, "a \"b\"\n\x01 \xC3\xA9 \xFF %d", 7);
    hd_debug("not shown");
    HD_AUTO_FREE char *text = catch_end();
    size_t len = strlen(text);
    CHECK(len && text[len - 1] == '\n' && strchr(text, '\n') == text + len - 1);
    cJSON *json = cJSON_Parse(text);
    CHECK_STR(member(json, "level"), "warn");
    CHECK_STR(member(json, "service"), "tester");
    CHECK_STR(member(json, "msg"), "a \"b\"\n\x01 \xC3\xA9 \xEF\xBF\xBD 7");
    CHECK_STR(member(json, "tenant"), "acme");
    CHECK_STR(member(json, "run"), "r\"1");
    CHECK_STR(member(json, "trace"), "t");
    CHECK(!member(json, "job") && !member(json, "worker"));
    const char *time = member(json, "time");
    CHECK(time && strlen(time) == 24 && time[10] == 'T' && time[23] == 'Z');
    cJSON_Delete(json);
}

TEST(long_line_is_cut_and_stays_whole_json) {
    hd_log_setup("tester", HD_LOG_INFO);
    static const char *const units[] = {"a", "\xF0\x9F\x90\x9F", "\x01", "\""};
    char huge[9001];
    struct hd_log_fields fields = {.tenant = huge, .run = "r", .job = huge, .worker = huge, .trace = huge};
    for (size_t u = 0; u < 4; u++) {
        size_t unit = strlen(units[u]);
        for (size_t i = 0; i + unit < sizeof(huge); i += unit) {
            memcpy(huge + i, units[u], unit);
            huge[i + unit] = '\0';
        }
        catch_begin();
        hd_log(HD_LOG_INFO, &fields, "%s", huge);
        hd_log(HD_LOG_INFO, NULL, "%s", huge);
        HD_AUTO_FREE char *text = catch_end();
        size_t lines = 0;
        for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, lines++) {
            CHECK(end - at < 4096);
            cJSON *json = cJSON_ParseWithLength(at, (size_t)(end - at));
            CHECK(json != NULL);
            CHECK(json && strlen(member(json, "msg")) > 500);
            const char *message = member(json, "msg");
            CHECK(message && strcmp(message + strlen(message) - 3, "\xE2\x80\xA6") == 0); // shows that it is cut
            CHECK(message && !strstr(message, "\xEF\xBF\xBD"));                           // at a border
            CHECK(hd_utf8_valid(at, (size_t)(end - at)));
            cJSON_Delete(json);
        }
        CHECK_INT(lines, 2);
    }
}

TEST(levels) {
    enum hd_log_level level;
    CHECK(hd_log_level_parse("error", &level) == HD_OK && level == HD_LOG_ERROR);
    CHECK(hd_log_level_parse("debug", &level) == HD_OK && level == HD_LOG_DEBUG);
    CHECK(hd_log_level_parse("loud", &level) == HD_INVALID);
    CHECK(hd_log_level_parse(NULL, &level) == HD_INVALID);
}

TEST_MAIN
