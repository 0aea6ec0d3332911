// What a shell may complete: words of commands, and their options. The scripts are small; what there is they ask `hodei completion words`.
#include <stdio.h>

#include "cli/cli.h"

// Words come with a colon before them, so that none is taken for an option of this command.
static const char bash_script[] = "_hodei() {\n"
                                  "  local words=(\"${COMP_WORDS[@]:1:COMP_CWORD}\") line\n"
                                  "  COMPREPLY=()\n"
                                  "  while IFS= read -r line; do\n"
                                  "    COMPREPLY+=(\"${line%%$'\\t'*}\")\n"
                                  "  done < <(\"$1\" completion words \"${words[@]/#/:}\" 2>/dev/null)\n"
                                  "}\n"
                                  "complete -o default -F _hodei hodei\n";
static const char zsh_script[] =
    "#compdef hodei\n"
    "_hodei() {\n"
    "  local -a found\n"
    "  found=(\"${(@f)$(hodei completion words \"${(@)words[2,CURRENT]/#/:}\" 2>/dev/null)}\")\n"
    "  found=(\"${(@)found//:/\\\\:}\")\n"
    "  found=(\"${(@)found/$'\\t'/:}\")\n"
    "  if [[ -n \"$found[1]\" ]]; then _describe hodei found; else _files; fi\n"
    "}\n"
    "compdef _hodei hodei\n";
static const char fish_script[] = "function __hodei\n"
                                  "  set -l words (commandline -opc)[2..-1] (commandline -ct)\n"
                                  "  hodei completion words (string replace -r '^' ':' -- $words) 2>/dev/null\n"
                                  "end\n"
                                  "complete -c hodei -n 'test -n \"$(__hodei)\"' -f -a '(__hodei)'\n";

static bool is_command(const char *name, const struct hd_buf *typed) {
    return typed->len && hd_streq(name, typed->data);
}

static void print_options(const struct cli_option *options, size_t n, const char *prefix) {
    for (size_t i = 0; i < n; i++) {
        char word[80];
        snprintf(word, sizeof(word), "--%s", options[i].name);
        if (hd_starts_with(word, prefix))
            printf("%s\t%s\n", word, options[i].help);
    }
}

// The next words of commands that begin with what is typed, each once: they stand side by side in the table, or far from each other.
static void print_commands(const struct hd_buf *typed, const char *prefix) {
    for (size_t i = 0; i < cli_commands_len; i++) {
        const char *name = cli_commands[i].name, *next = name + typed->len + (typed->len > 0);
        bool seen = false;
        if (!hd_starts_with(name, typed->len ? typed->data : "") || (typed->len && name[typed->len] != ' ') ||
            !hd_starts_with(next, prefix))
            continue;
        size_t len = strcspn(next, " ");
        for (size_t k = 0; k < i && !seen; k++) {
            const char *other = cli_commands[k].name;
            size_t head = (size_t)(next - name);
            seen = strncmp(other, name, head + len) == 0 && (other[head + len] == ' ' || !other[head + len]);
        }
        if (!seen)
            printf("%.*s\t%s\n", (int)len, next, next[len] ? "…" : cli_commands[i].about);
    }
}

int cmd_completion_words(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf typed = {0};
    const struct cli_command *command = NULL;
    const char *prefix = "";

    for (int i = 0; i < cli->n_args; i++) {
        const char *word = cli->args[i] + (cli->args[i][0] == ':');
        if (i == cli->n_args - 1)
            prefix = word;
        else if (!command && word[0] != '-')
            hd_buf_addf(&typed, "%s%s", typed.len ? " " : "", word);
        for (size_t k = 0; k < cli_commands_len && !command; k++)
            if (is_command(cli_commands[k].name, &typed))
                command = &cli_commands[k];
    }
    if (prefix[0] == '-') {
        if (command)
            print_options(command->options, command->n_options, prefix);
        print_options(cli_global_options, cli_global_options_len, prefix);
    } else if (!command) {
        print_commands(&typed, prefix);
    }
    return 0;
}

static int print_script(const char *script) {
    fputs(script, stdout);
    return 0;
}

int cmd_completion_bash(struct cli *cli) {
    (void)cli;
    return print_script(bash_script);
}

int cmd_completion_zsh(struct cli *cli) {
    (void)cli;
    return print_script(zsh_script);
}

int cmd_completion_fish(struct cli *cli) {
    (void)cli;
    return print_script(fish_script);
}
