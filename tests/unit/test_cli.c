// The command line: words to command, options and arguments; tables; durations. On a command table of its own.
#include "tests/unit/test.h"

#include "cli/args.c"
#include "cli/json.c"
#include "cli/output.c"

static int nothing(struct cli *cli) {
    (void)cli;
    return 0;
}
static const struct cli_option start_options[] = {
    {"version", "N", ""},
    {"env", "NAME=VALUE", "", 'e'},
    {"watch", NULL, "", 'w'},
};
const struct cli_option cli_global_options[] = {{"output", "text|json", "", 'o'}, {"help", NULL, "", 'h'}};
const size_t cli_global_options_len = 2;
const struct cli_command cli_commands[] = {
    {"run start", "PIPELINE", "", "", start_options, 3, 1, 1, nothing},
    {"run list", "", "", "", NULL, 0, 0, 0, nothing},
    {"logs", "RUN", "", "", NULL, 0, 1, 1, nothing},
};
const size_t cli_commands_len = 3;

static struct cli cli;
static bool help;

static enum hd_status parse(const char *line) {
    static char copy[256];
    static char *argv[32];
    char *save = NULL;
    int argc = 0;

    hd_arena_release(&cli.arena);
    cli = (struct cli){.json = false};
    hd_arena_init(&cli.arena);
    hd_strlcpy(copy, line, sizeof(copy));
    for (char *word = strtok_r(copy, " ", &save); word && argc < 31; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    return cli_parse(&cli, argc, argv, &help);
}

TEST(options_stand_anywhere_and_repeat) {
    CHECK_INT(parse("hodei run start --env A=1 build -eB=2 --version=3 -w -o json"), HD_OK);
    CHECK_STR(cli.command->name, "run start");
    CHECK_INT(cli.n_args, 1);
    CHECK_STR(cli.args[0], "build");
    CHECK_INT(cli.n_given, 5);
    CHECK_STR(cli.given[0].value, "A=1");
    CHECK_STR(cli.given[1].value, "B=2");
    CHECK_STR(cli_option(&cli, "env"), "B=2");
    CHECK_STR(cli_option(&cli, "version"), "3");
    CHECK(cli_option(&cli, "watch") != NULL);
    CHECK(cli.json);
    CHECK_INT(parse("hodei run start -- --watch"), HD_OK);
    CHECK_STR(cli.args[0], "--watch");
    CHECK_INT(parse("hodei logs -"), HD_OK);
    CHECK_STR(cli.args[0], "-");
}

static void check_refused(const char *line, const char *text, const char *hint) {
    CHECK_INT(parse(line), HD_INVALID);
    CHECK_STR(cli.err.text, text);
    if (hint)
        CHECK_STR(cli.err.hint, hint);
}

TEST(mistakes_are_named) {
    check_refused("hodei run strat x", "unknown command: run strat", "did you mean hodei run start?");
    check_refused("hodei lgs x", "unknown command: lgs x", "did you mean hodei logs?");
    check_refused("hodei run start x --wacth", "unknown option --wacth", "did you mean --watch?");
    check_refused("hodei run start x --env", "--env needs a value: NAME=VALUE", NULL);
    check_refused("hodei run start x --watch=yes", "--watch takes no value", NULL);
    check_refused("hodei run start", "hodei run start needs PIPELINE", "hodei run start --help");
    check_refused("hodei run list x", "hodei run list does not take \"x\"", NULL);
    check_refused("hodei run list -o xml", "output \"xml\" is not known: use text, yaml, name or json", NULL);
}

TEST(help_is_everywhere) {
    static const char *const lines[] = {"hodei",     "hodei --help",     "hodei help",
                                        "hodei run", "hodei run --help", "hodei run start -h"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        help = false;
        CHECK_INT(parse(lines[i]), HD_OK);
        CHECK(help);
    }
}

TEST(numbers_have_limits) {
    int64_t value = -1;

    CHECK_INT(parse("hodei run start x --version 7"), HD_OK);
    CHECK_INT(cli_option_int(&cli, "version", 1, 10, 0, &value), HD_OK);
    CHECK_INT(value, 7);
    CHECK_INT(parse("hodei run start x --version 11"), HD_OK);
    CHECK_INT(cli_option_int(&cli, "version", 1, 10, 0, &value), HD_INVALID);
    CHECK_INT(parse("hodei run start x"), HD_OK);
    CHECK_INT(cli_option_int(&cli, "version", 1, 10, 5, &value), HD_OK);
    CHECK_INT(value, 5);
}

TEST(tables_are_as_wide_as_their_cells) {
    HD_AUTO_BUF struct hd_buf out = {0};
    struct table table;

    CHECK_INT(parse("hodei run list"), HD_OK);
    table_init(&table, &cli.arena, "NAME|N>|STATE");
    table_cell(&table, "über");
    table_cell(&table, "7");
    table_cell(&table, "failed");
    table_cell(&table, "a-long-name");
    table_cell(&table, "1234");
    table_cell(&table, "ok");
    table_format(&table, &cli, &out);
    CHECK_STR(out.data, "NAME            N  STATE\n"
                        "über            7  failed\n"
                        "a-long-name  1234  ok\n");
}

TEST(durations_read_well) {
    CHECK_INT(parse("hodei run list"), HD_OK);
    CHECK_STR(cli_duration(&cli, -1), "-");
    CHECK_STR(cli_duration(&cli, 0), "0ms");
    CHECK_STR(cli_duration(&cli, 999), "999ms");
    CHECK_STR(cli_duration(&cli, 1250), "1.2s");
    CHECK_STR(cli_duration(&cli, 61000), "1m01s");
    CHECK_STR(cli_duration(&cli, 3660000), "1h01m");
}

TEST(replies_of_any_shape_are_read) {
    cJSON *reply = cJSON_Parse("{\"n\":5,\"big\":\"9007199254740993\",\"text\":\"x\",\"null\":null,\"list\":[1]}");

    CHECK_INT(j_int(reply, "n"), 5);
    CHECK_INT(j_int(reply, "big"), 9007199254740993);
    CHECK_INT(j_int(reply, "text"), 0);
    CHECK_INT(j_int(reply, "none"), 0);
    CHECK_STR(j_text(reply, "text"), "x");
    CHECK_STR(j_text(reply, "n"), "");
    CHECK_STR(j_text(reply, "null"), "");
    CHECK_STR(j_text(NULL, "x"), "");
    CHECK_INT(cJSON_GetArraySize(j_get(reply, "list")), 1);
    cJSON_Delete(reply);
}

TEST_MAIN
