#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cli/cli.h"

const char *cli_time(struct cli *cli, int64_t wall_ms) {
    time_t seconds = wall_ms / 1000;
    struct tm tm;
    char text[32];

    if (wall_ms == 0 || !localtime_r(&seconds, &tm))
        return "-";
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
    return hd_arena_strdup(&cli->arena, text);
}

const char *cli_duration(struct cli *cli, int64_t ms) {
    if (ms < 0)
        return "-";
    if (ms < 1000)
        return hd_arena_printf(&cli->arena, "%" PRId64 "ms", ms);
    if (ms < 60000)
        return hd_arena_printf(&cli->arena, "%" PRId64 ".%" PRId64 "s", ms / 1000, ms % 1000 / 100);
    if (ms < 3600000)
        return hd_arena_printf(&cli->arena, "%" PRId64 "m%02" PRId64 "s", ms / 60000, ms / 1000 % 60);
    return hd_arena_printf(&cli->arena, "%" PRId64 "h%02" PRId64 "m", ms / 3600000, ms / 60000 % 60);
}

const char *cli_colour(const struct cli *cli, const char *state) {
    static const struct {
        const char *state, *escape;
    } colours[] = {
        {"succeeded", "\033[32m"}, {"online", "\033[32m"},  {"failed", "\033[31m"},  {"timed_out", "\033[31m"},
        {"lost", "\033[31m"},      {"active", "\033[36m"},  {"running", "\033[36m"}, {"cancelling", "\033[33m"},
        {"cancelled", "\033[33m"}, {"suspect", "\033[33m"}, {"skipped", "\033[90m"}, {"waiting", "\033[90m"},
        {"queued", "\033[90m"},    {"ready", "\033[90m"},
    };
    for (size_t i = 0; cli->colour && i < sizeof(colours) / sizeof(colours[0]); i++)
        if (hd_streq(colours[i].state, state))
            return colours[i].escape;
    return "";
}

void table_init(struct table *table, struct hd_arena *arena, const char *headings) {
    *table = (struct table){.arena = arena};
    for (const char *p = headings; *p && table->columns < 12;) {
        size_t len = strcspn(p, "|");
        bool right = len && p[len - 1] == '>';
        table->headings[table->columns] = hd_arena_strndup(arena, p, len - right);
        table->right[table->columns++] = right;
        p += len + (p[len] == '|');
    }
}

void table_cell(struct table *table, const char *text) {
    HD_GROW(table->arena, table->cells, table->n, table->cap);
    table->cells[table->n++] = text;
}

// Code points, which is columns for what we print.
static size_t width(const char *text) {
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void format_cell(struct hd_buf *out, const char *text, size_t w, bool right, bool last, const struct cli *cli) {
    const char *colour = cli_colour(cli, text);
    size_t pad = w - width(text);

    if (right)
        hd_buf_addf(out, "%*s", (int)pad, "");
    hd_buf_addf(out, "%s%s%s", colour, text, colour[0] ? CLI_RESET(cli) : "");
    if (!right && !last)
        hd_buf_addf(out, "%*s", (int)pad, "");
    hd_buf_adds(out, last ? "\n" : "  ");
}

void table_format(const struct table *table, const struct cli *cli, struct hd_buf *out) {
    size_t widths[12] = {0}, columns = table->columns;
    struct cli plain = {.colour = false};

    assert(columns > 0);
    for (size_t c = 0; c < columns; c++)
        widths[c] = width(table->headings[c]);
    for (size_t i = 0; i < table->n; i++)
        if (width(table->cells[i]) > widths[i % columns])
            widths[i % columns] = width(table->cells[i]);
    for (size_t c = 0; c < columns; c++)
        format_cell(out, table->headings[c], widths[c], table->right[c], c + 1 == columns, &plain);
    for (size_t i = 0; i < table->n; i++)
        format_cell(out, table->cells[i], widths[i % columns], table->right[i % columns], i % columns + 1 == columns,
                    cli);
}

void table_print(const struct table *table, const struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};

    table_format(table, cli, &out);
    fwrite(out.data, 1, out.len, stdout);
}
