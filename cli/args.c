#include <stdio.h>

#include "base/settings.h"
#include "cli/cli.h"

static int words_of(const char *name) {
    int n = 1;

    for (; *name; name++)
        n += *name == ' ';
    return n;
}

static const struct cli_command *command_find(int argc, char **argv, int *ret_words) {
    for (size_t i = 0; i < cli_commands_len; i++) {
        HD_AUTO_BUF struct hd_buf joined = {0};
        int words = words_of(cli_commands[i].name);
        for (int k = 1; k <= words && k < argc; k++) {
            hd_buf_adds(&joined, k > 1 ? " " : "");
            hd_buf_adds(&joined, argv[k]);
        }
        if (hd_streq(joined.data, cli_commands[i].name)) {
            *ret_words = words;
            return &cli_commands[i];
        }
    }
    return NULL;
}

static const struct cli_option *option_in(const struct cli_option *options, size_t n, const char *name, size_t len,
                                          char letter) {
    for (size_t i = 0; i < n; i++)
        if (letter ? options[i].letter == letter
                   : strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

static const struct cli_option *option_find(const struct cli_command *command, const char *name, size_t len,
                                            char letter) {
    const struct cli_option *option = NULL;

    if (command)
        option = option_in(command->options, command->n_options, name, len, letter);
    return option ? option : option_in(cli_global_options, cli_global_options_len, name, len, letter);
}

static enum hd_status unknown_option(struct cli *cli, const char *word) {
    const char *best = NULL;
    unsigned distance = 4;

    for (size_t i = 0; cli->command && i < cli->command->n_options; i++) {
        unsigned d = hd_edit_distance(word + 2, cli->command->options[i].name, 3);
        if (d < distance) {
            distance = d;
            best = cli->command->options[i].name;
        }
    }
    hd_err_set(&cli->err, HD_INVALID, "unknown option %.80s", word);
    if (best)
        hd_err_hint(&cli->err, "did you mean --%s?", best);
    else
        hd_err_hint(&cli->err, "hodei %s --help lists them", cli->command ? cli->command->name : "");
    return HD_INVALID;
}

// One option at argv[*i]; takes its value from the same word or the next.
static enum hd_status option_take(struct cli *cli, int argc, char **argv, int *i) {
    const char *word = argv[*i];
    bool is_long = word[1] == '-';
    size_t len = is_long ? strcspn(word + 2, "=") : 1;
    const struct cli_option *option = option_find(cli->command, word + 2, len, is_long ? 0 : word[1]);
    const char *inline_value = is_long ? (word[2 + len] ? word + 3 + len : NULL) : (word[2] ? word + 2 : NULL);

    if (!option)
        return unknown_option(cli, word);
    if (cli->n_given == CLI_OPTIONS_MAX)
        return hd_err_set(&cli->err, HD_INVALID, "more than %d options", CLI_OPTIONS_MAX);
    if (!option->value && inline_value)
        return hd_err_set(&cli->err, HD_INVALID, "--%s takes no value", option->name);
    if (option->value && !inline_value) {
        if (*i + 1 >= argc)
            return hd_err_set(&cli->err, HD_INVALID, "--%s needs a value: %s", option->name, option->value);
        inline_value = argv[++*i];
    }
    cli->given[cli->n_given].name = option->name;
    cli->given[cli->n_given++].value = inline_value ? inline_value : "";
    return HD_OK;
}

static enum hd_status unknown_command(struct cli *cli, int argc, char **argv) {
    char joined[160];
    const char *best = NULL;
    unsigned distance = 5;

    snprintf(joined, sizeof(joined), "%.60s%s%.60s", argv[1], argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
    for (size_t i = 0; i < cli_commands_len; i++) {
        const char *name = cli_commands[i].name;
        unsigned d = hd_edit_distance(strchr(name, ' ') ? joined : argv[1], name, 4);
        if (d < distance) {
            distance = d;
            best = name;
        }
    }
    hd_err_set(&cli->err, HD_INVALID, "unknown command: %s", joined);
    if (best)
        hd_err_hint(&cli->err, "did you mean hodei %s?", best);
    else
        hd_err_hint(&cli->err, "hodei --help lists them");
    return HD_INVALID;
}

static bool asks_help(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (hd_streq(argv[i], "--help") || hd_streq(argv[i], "-h"))
            return true;
    return argc < 2 || hd_streq(argv[1], "help");
}

static bool is_group(const char *word) {
    size_t len = strlen(word);

    for (size_t i = 0; i < cli_commands_len; i++)
        if (hd_starts_with(cli_commands[i].name, word) && cli_commands[i].name[len] == ' ')
            return true;
    return false;
}

// What these print is no answer of the API.
static bool has_own_output(const struct cli_command *command) {
    static const char *const words[] = {"login", "logs", "lint", "render", "schema", "admin", "completion", "version"};
    size_t len = strcspn(command->name, " ");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strlen(words[i]) == len && strncmp(words[i], command->name, len) == 0)
            return true;
    return false;
}

static enum hd_status take_format(struct cli *cli, const char *output) {
    static const char *const formats[] = {
        [CLI_TEXT] = "text", [CLI_JSON] = "json", [CLI_YAML] = "yaml", [CLI_NAME] = "name"};
    bool own = has_own_output(cli->command);
    for (int i = CLI_TEXT; i <= (own ? CLI_JSON : CLI_NAME); i++) {
        if (!hd_streq(output, formats[i]))
            continue;
        cli->format = (enum cli_format)i;
        cli->json = i != CLI_TEXT;
        return HD_OK;
    }
    return hd_err_set(&cli->err, HD_INVALID, "output \"%.40s\" is not known%s: use text%s json", output,
                      own ? " to this command" : "", own ? " or" : ", yaml, name or");
}

static enum hd_status check_args(struct cli *cli) {
    const struct cli_command *command = cli->command;
    const char *output = cli_option(cli, "output");

    if (cli->n_args < command->min_args || cli->n_args > command->max_args) {
        if (cli->n_args < command->min_args)
            hd_err_set(&cli->err, HD_INVALID, "hodei %s needs %s", command->name, command->args);
        else
            hd_err_set(&cli->err, HD_INVALID, "hodei %s does not take \"%.80s\"", command->name,
                       cli->args[command->max_args]);
        hd_err_hint(&cli->err, "hodei %s --help", command->name);
        return HD_INVALID;
    }
    return take_format(cli, output ? output : "text");
}

enum hd_status cli_parse(struct cli *cli, int argc, char **argv, bool *ret_help) {
    int words = 0;

    cli->command = command_find(argc, argv, &words);
    *ret_help = asks_help(argc, argv) || (!cli->command && argc == 2 && is_group(argv[1]));
    if (*ret_help)
        return HD_OK;
    if (!cli->command)
        return unknown_command(cli, argc, argv);
    cli->args = (char **)hd_arena_alloc_array(&cli->arena, (size_t)argc, sizeof(char *));
    bool only_args = false;
    for (int i = 1 + words; i < argc; i++) {
        if (!only_args && hd_streq(argv[i], "--"))
            only_args = true;
        else if (!only_args && argv[i][0] == '-' && argv[i][1])
            HD_TRY(option_take(cli, argc, argv, &i));
        else
            cli->args[cli->n_args++] = argv[i];
    }
    return check_args(cli);
}

static void help_options(const char *title, const struct cli_option *options, size_t n) {
    if (n)
        printf("\n%s\n", title);
    for (size_t i = 0; i < n; i++) {
        char left[64], letter[8] = "    ";
        if (options[i].letter)
            snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-30s %s\n", left, options[i].help);
    }
}

static void help_command(const struct cli_command *command) {
    printf("hodei %s: %s\n\nUsage: hodei %s%s%s [options]\n", command->name, command->about, command->name,
           command->args[0] ? " " : "", command->args);
    help_options("Options", command->options, command->n_options);
    help_options("Everywhere", cli_global_options, cli_global_options_len);
    printf("\nExamples\n");
    for (const char *p = command->examples; *p;) {
        size_t len = strcspn(p, "\n");
        printf("  %.*s\n", (int)len, p);
        p += len + (p[len] == '\n');
    }
}

void cli_help(const struct cli_command *command, const char *prefix) {
    if (command) {
        help_command(command);
        return;
    }
    printf("Hodei Pipelines " HD_VERSION "\n\nUsage: hodei <command> [arguments] [options]\n\nCommands\n");
    for (size_t i = 0; i < cli_commands_len; i++)
        if (!prefix || hd_starts_with(cli_commands[i].name, prefix)) {
            char left[64];
            snprintf(left, sizeof(left), "%s %s", cli_commands[i].name, cli_commands[i].args);
            printf("  %-26s %s\n", left, cli_commands[i].about);
        }
    help_options("Everywhere", cli_global_options, cli_global_options_len);
    printf("\nExamples\n  hodei dev\n  hodei pipeline apply hodei.yml\n  hodei run start build-and-test --watch\n"
           "  hodei <command> --help\n");
}

const char *cli_option(const struct cli *cli, const char *name) {
    for (size_t i = cli->n_given; i-- > 0;)
        if (hd_streq(cli->given[i].name, name))
            return cli->given[i].value;
    return NULL;
}

enum hd_status cli_option_duration(struct cli *cli, const char *name, int64_t usual_ms, int64_t *ret_ms) {
    const char *text = cli_option(cli, name);
    *ret_ms = usual_ms;
    if (!text || (hd_duration_parse(text, ret_ms) == HD_OK && *ret_ms >= 0))
        return HD_OK;
    hd_err_set(&cli->err, HD_INVALID, "--%s \"%.40s\" is not a duration", name, text);
    hd_err_hint(&cli->err, "for example 30m, 12h or 90d");
    return HD_INVALID;
}

enum hd_status cli_option_int(struct cli *cli, const char *name, int64_t min, int64_t max, int64_t fallback,
                              int64_t *ret) {
    const char *text = cli_option(cli, name);
    int64_t value = fallback;

    if (text && (hd_parse_i64(text, &value) != HD_OK || value < min || value > max))
        return hd_err_set(&cli->err, HD_INVALID, "--%s: \"%.40s\" is not a number in %lld..%lld", name, text,
                          (long long)min, (long long)max);
    *ret = value;
    return HD_OK;
}

int cli_failed(const struct cli *cli) {
    return hd_status_info(cli->err.status == HD_OK ? HD_INTERNAL : cli->err.status)->exit_code;
}
