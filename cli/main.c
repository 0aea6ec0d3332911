#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <curl/curl.h>

#include "cli/cli.h"

static void print_error(const struct cli *cli) {
    bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");

    fprintf(stderr, "%serror:%s %s\n", colour ? "\033[31m" : "", colour ? "\033[0m" : "", cli->err.text);
    if (cli->err.line)
        fprintf(stderr, "   at: line %u, column %u\n", cli->err.line, cli->err.column);
    if (cli->err.field[0])
        fprintf(stderr, "   in: %s\n", cli->err.field);
    if (cli->err.hint[0])
        fprintf(stderr, " hint: %s\n", cli->err.hint);
}

static int run(struct cli *cli, int argc, char **argv) {
    bool help = false;

    if (cli_parse(cli, argc, argv, &help) != HD_OK)
        return cli_failed(cli);
    if (help) {
        const char *prefix = argc > 1 && argv[1][0] != '-' && !hd_streq(argv[1], "help") ? argv[1] : NULL;
        cli_help(cli->command, prefix);
        return 0;
    }
    return cli->command->run(cli);
}

int main(int argc, char **argv) {
    struct cli cli = {.colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};

    setlocale(LC_CTYPE, "C.UTF-8");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    hd_arena_init(&cli.arena);
    int code = run(&cli, argc, argv);
    if (cli.err.status != HD_OK)
        print_error(&cli);
    if (cli.curl)
        curl_easy_cleanup(cli.curl);
    hd_arena_release(&cli.arena);
    curl_global_cleanup();
    if (fflush(stdout) != 0 && code == 0)
        code = 1;
    return code;
}
