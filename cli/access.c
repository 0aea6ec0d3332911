// `hodei access`: what an installation tells its own nats-server and PostgreSQL. Passwords are never in it, only the names of variables.
#include <ctype.h>
#include <stdio.h>

#include "base/doors.h"
#include "base/names.h"
#include "cli/cli.h"

static const char *variable(struct cli *cli, const char *before, const char *user, int (*to)(int)) {
    char *name = hd_arena_printf(&cli->arena, "%s%s", before, user);

    for (char *c = name; *c; c++)
        *c = (char)(isalnum((unsigned char)*c) ? to((unsigned char)*c) : *c == '-' ? '_' : *c);
    return name;
}

int cmd_access_nats(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};

    hd_buf_adds(&out, "authorization { users: [\n");
    for (size_t i = 0; i < hd_doors_len; i++) {
        const struct hd_door *door = &hd_doors[i];
        bool agent = hd_streq(door->name, "agent");
        for (size_t n = 0; n < (agent ? (size_t)cli->n_args : 1); n++) {
            const char *worker = agent ? cli->args[n] : NULL;
            if (worker && !hd_token_valid(worker)) {
                hd_err_set(&cli->err, HD_INVALID, "\"%.80s\" is no name of a worker", worker);
                hd_err_hint(&cli->err, "1 to 64 letters, digits, - and _");
                return cli_failed(cli);
            }
            const char *user = worker ? hd_arena_printf(&cli->arena, "agent_%s", worker) : door->name;
            hd_buf_adds(&out, "  ");
            hd_door_nats(&out, door, worker, variable(cli, "$HODEI_", user, toupper));
        }
    }
    hd_buf_adds(&out, "] }\n");
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}

int cmd_access_postgres(struct cli *cli) {
    HD_AUTO_BUF struct hd_buf out = {0};
    const char **passwords = HD_NEW_ARRAY(&cli->arena, hd_doors_len, const char *);

    for (size_t i = 0; i < hd_doors_len; i++)
        passwords[i] = hd_arena_printf(&cli->arena, ":'%s'", variable(cli, "", hd_doors[i].name, tolower));
    hd_doors_sql(&out, passwords);
    fwrite(out.data, 1, out.len, stdout);
    return 0;
}
